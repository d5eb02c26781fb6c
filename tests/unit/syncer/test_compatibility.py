from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from kcpctl.errors import ServiceUnavailable
from kcpctl.runtime import TaskSet
from kcpctl.syncer.compatibility import ALL_TYPES, ClusterTypes, ServedTypes
from kcpctl.syncer.side import SYNCED_RESOURCES
from kcpctl.testing import FakeClock


class Cluster:
    """A cluster with the types that a test gives it."""

    def __init__(self) -> None:
        self.groups = {
            "": {"configmaps": ["v1"], "services": ["v1"], "pods": ["v1"]},
            "apps": {"deployments": ["v1", "v1beta1"]},
        }
        self.fail: Exception | None = None
        self.asked = 0

    async def served_versions(self, group: str) -> dict[str, list[str]]:
        self.asked += 1
        if self.fail is not None:
            raise self.fail
        return self.groups.get(group, {})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def types(cluster: Cluster, clock: FakeClock) -> AsyncIterator[ClusterTypes]:
    carried = (DEPLOYMENTS, SERVICES, CONFIG_MAPS)
    made = ClusterTypes(cluster, carried, frozenset({CONFIG_MAPS, DEPLOYMENTS}), clock=clock)
    tasks = TaskSet("test")
    tasks.spawn(made.run(), name="types")
    yield made
    await tasks.close()


async def later(clock: FakeClock, seconds: float = 0) -> None:
    clock.step(seconds)
    for _ in range(10):
        await asyncio.sleep(0)


def states(types: ClusterTypes) -> list[tuple[str, str, str]]:
    found = types.fields()["syncedResources"]
    return [(one["group"], one["resource"], one["state"]) for one in found]


def test_nothing_is_told_before_a_look(cluster: Cluster) -> None:
    assert ClusterTypes(cluster, [CONFIG_MAPS], frozenset()).fields() == {}


async def test_each_type_has_a_state_in_the_order_of_group_and_name(
    types: ClusterTypes, clock: FakeClock
) -> None:
    await later(clock)
    assert states(types) == [
        ("", "configmaps", "Accepted"),
        ("", "services", "Pending"),
        ("apps", "deployments", "Accepted"),
    ]
    assert types.fields()["syncedResources"][0]["versions"] == ["v1"]
    assert types.fields()["supportedResourceVersions"] == {
        "configmaps": "v1",
        "services": "v1",
        "deployments.apps": "v1,v1beta1",
    }


@pytest.mark.parametrize("served", [{}, {"deployments": ["v2"]}])
async def test_a_type_that_the_cluster_has_not_in_that_version_is_incompatible(
    types: ClusterTypes, cluster: Cluster, clock: FakeClock, served: dict[str, list[str]]
) -> None:
    cluster.groups["apps"] = served
    await later(clock, 300)
    assert states(types)[2] == ("apps", "deployments", "Incompatible")
    versions = types.fields()["supportedResourceVersions"]
    assert versions.get("deployments.apps") == ("v2" if served else None)


async def test_it_looks_every_five_minutes_and_sooner_after_a_failure(
    types: ClusterTypes, cluster: Cluster, clock: FakeClock
) -> None:
    await later(clock)
    known = types.fields()
    await later(clock, 299)
    assert cluster.asked == 2
    cluster.fail = ServiceUnavailable("later")
    await later(clock, 1)
    assert cluster.asked == 3
    assert types.fields() == known
    cluster.fail, cluster.groups = None, {}
    await later(clock, 60)
    assert {state for _, _, state in states(types)} == {"Pending", "Incompatible"}


def test_what_both_serve_is_synced_and_more_is_more_on_either_side() -> None:
    some = ServedTypes(frozenset({CONFIG_MAPS, DEPLOYMENTS}), frozenset({CONFIG_MAPS, SERVICES}))
    assert some.both == [CONFIG_MAPS]
    assert ALL_TYPES.both == list(SYNCED_RESOURCES)
    assert ALL_TYPES.exceeds(some)
    assert not some.exceeds(ALL_TYPES)
    assert not some.exceeds(some)
