from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS
from kcpctl.errors import ConnectionRefused, NotFound
from kcpctl.reconcilers.synctarget.manifests import SyncerInputs, downstream_objects
from kcpctl.runtime import TaskSet
from kcpctl.syncer.authorization import VERBS, Authorization
from kcpctl.testing import FakeClock


class Reviews:
    """A cluster that allows everything but what a test forbids."""

    def __init__(self) -> None:
        self.forbidden: set[tuple[str, str]] = set()
        self.fail: Exception | None = None
        self.asked = 0

    async def create(self, obj: Unstructured) -> Unstructured:
        self.asked += 1
        if self.fail is not None:
            raise self.fail
        asked = obj["spec"]["resourceAttributes"]
        return {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.forbidden}}


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def authorization(reviews: Reviews, clock: FakeClock) -> AsyncIterator[Authorization]:
    made = Authorization(reviews, [CONFIG_MAPS, DEPLOYMENTS], clock=clock)
    tasks = TaskSet("test")
    tasks.spawn(made.run(), name="authorization")
    await asyncio.sleep(0)
    yield made
    await tasks.close()


async def later(clock: FakeClock, seconds: float) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    clock.step(seconds)
    for _ in range(3):
        await asyncio.sleep(0)


def told(authorization: Authorization) -> str:
    found = authorization.condition
    words = () if found is None else (found.status, found.severity, found.reason)
    return " ".join(filter(None, words))


async def test_what_is_allowed_is_asked_for_again_every_five_minutes(
    authorization: Authorization, reviews: Reviews, clock: FakeClock
) -> None:
    await later(clock, 299)
    assert told(authorization) == "True Authorized"
    assert reviews.asked == 3 * len(VERBS)
    await later(clock, 1)
    assert reviews.asked == 6 * len(VERBS)


async def test_what_is_missing_is_named_and_a_mere_warning(
    authorization: Authorization, reviews: Reviews, clock: FakeClock
) -> None:
    reviews.forbidden = {("create", "namespaces"), ("patch", "deployments"), ("get", "deployments")}
    await later(clock, 300)
    assert told(authorization) == "False Warning SyncerUnauthorized"
    assert authorization.condition is not None
    lacks = "namespaces (create), deployments.apps (get, patch)"
    assert authorization.condition.message.endswith(lacks)
    reviews.forbidden = set()
    await later(clock, 300)
    assert told(authorization) == "True Authorized"


async def test_a_cluster_without_reviews_leaves_it_unknown_and_is_asked_sooner(
    authorization: Authorization, reviews: Reviews, clock: FakeClock
) -> None:
    reviews.fail = NotFound("no such kind")
    await later(clock, 300)
    assert told(authorization) == "Unknown ReviewFailed"
    reviews.fail = None
    await later(clock, 60)
    assert told(authorization) == "True Authorized"


async def test_a_cluster_that_is_not_reached_leaves_what_was_known(
    authorization: Authorization, reviews: Reviews, clock: FakeClock
) -> None:
    reviews.fail = ConnectionRefused("no")
    await later(clock, 300)
    assert told(authorization) == "True Authorized"
    reviews.fail, reviews.forbidden = None, {("get", "configmaps")}
    await later(clock, 60)
    assert told(authorization) == "False Warning SyncerUnauthorized"


def test_it_asks_for_what_a_managed_syncer_is_granted() -> None:
    inputs = SyncerInputs(
        id="s", name="east", uid="u", cluster="c", namespace="n", image="x", server="https://x"
    )
    rules = [rule for obj in downstream_objects(inputs) for rule in obj.get("rules", ())]
    granted = {tuple(rule["verbs"]) for rule in rules if rule["resources"] != ["nodes"]}
    assert granted == {VERBS}
