from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from kcpctl.client import AsyncClient
from kcpctl.errors import CertificateInvalid, ConnectionRefused, Unauthorized
from kcpctl.runtime import TaskSet
from kcpctl.syncer.reachability import PROBE_SECONDS, Reachability
from kcpctl.testing import FakeClock


class Cluster:
    """A cluster that answers, fails, or hangs."""

    server = "https://east"

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.hangs = False
        self.synced = True
        self.probes = 0

    async def request(self, method: str, path: str, **options: Any) -> None:
        self.probes += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fail is not None:
            raise self.fail


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def reach(cluster: Cluster, clock: FakeClock) -> AsyncIterator[Reachability]:
    made = Reachability(cast(AsyncClient, cluster), lambda: cluster.synced, clock=clock)
    tasks = TaskSet("test")
    tasks.spawn(made.run(), name="probe")
    yield made
    await tasks.close()


async def run(clock: FakeClock, seconds: float = 0) -> None:
    """Let the time pass in steps that no timeout is lost in."""
    for _ in range(int(seconds / 5) + 1):
        for _ in range(10):
            await asyncio.sleep(0)
        clock.step(5 if seconds else 0)
    for _ in range(10):
        await asyncio.sleep(0)


def connected(reach: Reachability) -> str:
    found = reach.connected
    words = () if found is None else (found.status, found.severity, found.reason)
    return " ".join(filter(None, words))


def test_nothing_is_said_before_the_first_answer(cluster: Cluster, clock: FakeClock) -> None:
    reach = Reachability(cast(AsyncClient, cluster), lambda: False, clock=clock)
    assert (reach.problem, connected(reach)) == ("", "")


async def test_an_answer_is_a_connection(
    reach: Reachability, cluster: Cluster, clock: FakeClock
) -> None:
    await run(clock)
    assert (reach.problem, connected(reach)) == ("", "True Connected")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefused("no"), "ConnectionFailed"),
        (Unauthorized("who"), "Unauthorized"),
        (CertificateInvalid("whose"), "CertificateInvalid"),
    ],
)
async def test_five_failures_in_a_row_are_a_loss_and_one_answer_ends_it(
    reach: Reachability, cluster: Cluster, clock: FakeClock, error: Exception, reason: str
) -> None:
    await run(clock)
    cluster.fail = error
    await run(clock, 4 * PROBE_SECONDS)
    assert cluster.probes == 5
    assert (reach.problem, connected(reach)) == ("", "True Connected")
    await run(clock, PROBE_SECONDS)
    assert str(error) in reach.problem
    assert connected(reach) == f"False Error {reason}"
    cluster.fail = None
    await run(clock, PROBE_SECONDS)
    assert (reach.problem, connected(reach)) == ("", "True Connected")
    cluster.fail = error
    await run(clock, PROBE_SECONDS)
    assert (reach.problem, connected(reach)) == ("", "True Connected")


async def test_a_cluster_that_hangs_fails(
    reach: Reachability, cluster: Cluster, clock: FakeClock
) -> None:
    cluster.hangs = True
    await run(clock, 5 * (PROBE_SECONDS + 5))
    assert connected(reach) == "False Error ConnectionFailed"


async def test_words_that_vary_are_no_news(
    reach: Reachability, cluster: Cluster, clock: FakeClock
) -> None:
    cluster.fail = ConnectionRefused("in one way")
    await run(clock, 6 * PROBE_SECONDS)
    before = reach.connected
    cluster.fail = ConnectionRefused("in another")
    await run(clock, 2 * PROBE_SECONDS)
    assert reach.connected == before
    cluster.fail = Unauthorized("who")
    await run(clock, PROBE_SECONDS)
    assert connected(reach) == "False Error Unauthorized"


async def test_caches_that_do_not_sync_within_30_seconds_are_a_problem_until_they_do(
    reach: Reachability, cluster: Cluster, clock: FakeClock
) -> None:
    cluster.synced = False
    await run(clock, 20)
    assert reach.problem == ""
    await run(clock, 10)
    assert "could not be read" in reach.problem
    assert connected(reach) == "True Connected"
    cluster.synced = True
    assert reach.problem == ""
