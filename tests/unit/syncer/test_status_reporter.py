from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import PatchType
from kcpctl.errors import Invalid, NotFound, ServiceUnavailable, Unauthorized
from kcpctl.runtime import TaskSet, format_time
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.progress import SETTLED, Pass, Progress
from kcpctl.syncer.status_reporter import StatusReporter

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World


class Target:
    """The SyncTargets' async client, and the JSON patches that went through it."""

    def __init__(self, world: World) -> None:
        self._client = world.up_client.resource(SYNCTARGETS)
        self.patches: list[list[Unstructured]] = []
        self.fail: Exception | None = None
        self.on_get: Callable[[str], Unstructured] = self._client.get

    async def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        return self.on_get(name)

    async def patch(self, name: str, body: Any, **options: Any) -> Unstructured:
        assert options["type"] is PatchType.JSON
        assert options["subresource"] == "status"
        if self.fail is not None:
            raise self.fail
        result = self._client.patch(name, body, **options)
        self.patches.append(body)
        return result


class News:
    """What there is to tell of the cluster."""

    def __init__(self) -> None:
        self.fields: Unstructured = {}
        self.heard: list[Unstructured] = []
        self.settled = True

    def news(self) -> Unstructured:
        return self.fields

    def told(self, fields: Unstructured) -> None:
        self.heard.append(fields)


@pytest.fixture
def sync_targets(world: World) -> Target:
    return Target(world)


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def reporter(world: World, sync_targets: Target, progress: Progress, news: News) -> StatusReporter:
    return StatusReporter(
        world.gate,
        sync_targets,
        progress,
        news,
        identity="pod_abcde",
        interval_seconds=20,
        clock=world.clock,
    )


def status(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.up.expect(SYNCTARGETS, "", "east").get("status", {})
    return found


CONDITIONS = [{"type": "Ready", "status": "True"}]


async def test_row_83_a_beat_touches_only_its_fields(
    world: World, reporter: StatusReporter, sync_targets: Target
) -> None:
    world.up.expect(SYNCTARGETS, "", "east")["status"] = {"conditions": CONDITIONS, "phase": "x"}
    await reporter.beat()
    now = format_time(world.clock.time())
    assert status(world) == {
        "conditions": CONDITIONS,
        "phase": "x",
        "lastSyncerHeartbeatTime": now,
        "lastHeartbeatTime": now,
        "syncerIdentity": "pod_abcde",
    }
    await reporter.beat()
    assert [op["path"] for op in sync_targets.patches[1]] == [
        "/metadata/uid",
        "/status/lastSyncerHeartbeatTime",
        "/status/lastHeartbeatTime",
    ]


async def test_a_beat_makes_a_status_that_is_absent(
    world: World, reporter: StatusReporter, sync_targets: Target
) -> None:
    await reporter.beat()
    assert status(world)["lastHeartbeatTime"] == format_time(world.clock.time())
    paths = [(op["op"], op["path"]) for op in sync_targets.patches[0]]
    assert paths == [
        ("test", "/metadata/uid"),
        ("test", "/metadata/resourceVersion"),
        ("add", "/status"),
    ]


async def test_a_beat_goes_into_a_status_that_somebody_makes_meanwhile(
    world: World, reporter: StatusReporter, sync_targets: Target
) -> None:
    def get(name: str) -> Unstructured:
        world.up.expect(SYNCTARGETS, "", "east")["status"] = {"conditions": CONDITIONS}
        return world.up.expect(SYNCTARGETS, "", "east")

    sync_targets.on_get = get
    await reporter.beat()
    assert status(world)["conditions"] == CONDITIONS
    assert "lastHeartbeatTime" in status(world)


async def test_a_beat_that_always_loses_its_race_is_lost(
    world: World, reporter: StatusReporter, sync_targets: Target
) -> None:
    def get(name: str) -> Unstructured:
        found = world.up.expect(SYNCTARGETS, "", "east")
        world.up.put(SYNCTARGETS, found)
        return {**found, "metadata": {**found["metadata"], "resourceVersion": "before"}}

    sync_targets.on_get = get
    with pytest.raises(Invalid):
        await reporter.beat()
    assert status(world) == {}


async def test_a_successor_gets_no_beat(world: World, reporter: StatusReporter) -> None:
    world.up.put(SYNCTARGETS, {"metadata": {"name": "east", "uid": "another"}, "status": {}})
    with pytest.raises(GateClosed, match="made again"):
        await reporter.beat()
    assert status(world) == {}


async def test_a_closed_gate_beats_no_more(
    world: World, reporter: StatusReporter, sync_targets: Target
) -> None:
    world.gate.close("is gone")
    with pytest.raises(GateClosed):
        await reporter.beat()
    assert sync_targets.patches == []


async def test_row_85_last_sync_time_moves_only_after_a_complete_pass(
    world: World, reporter: StatusReporter, progress: Progress
) -> None:
    await reporter.beat()
    assert "lastSyncTime" not in status(world)
    progress.ended("a", Pass(settled=False))
    progress.ended("b", SETTLED)
    await reporter.beat()
    assert "lastSyncTime" not in status(world)
    progress.ended("a", Pass(problem="no"))
    await reporter.beat()
    assert "lastSyncTime" not in status(world)
    progress.ended("a", SETTLED)
    await reporter.beat()
    assert status(world)["lastSyncTime"] == format_time(world.clock.time())


async def test_last_sync_time_moves_at_most_once_a_minute_and_not_at_rest(
    world: World, reporter: StatusReporter, progress: Progress
) -> None:
    progress.ended("a", SETTLED)
    await reporter.beat()
    first = status(world)["lastSyncTime"]
    progress.ended("a", SETTLED)
    world.clock.step(59)
    await reporter.beat()
    assert status(world)["lastSyncTime"] == first
    world.clock.step(1)
    await reporter.beat()
    second = status(world)["lastSyncTime"]
    assert second == format_time(world.clock.time())
    world.clock.step(600)
    await reporter.beat()
    assert status(world)["lastSyncTime"] == second


async def test_a_failed_beat_loses_no_complete_pass(
    world: World, reporter: StatusReporter, progress: Progress, sync_targets: Target
) -> None:
    progress.ended("a", SETTLED)
    sync_targets.fail = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        await reporter.beat()
    sync_targets.fail = None
    await reporter.beat()
    assert "lastSyncTime" in status(world)


@pytest.fixture
async def running(reporter: StatusReporter) -> AsyncIterator[StatusReporter]:
    tasks = TaskSet("test")
    tasks.spawn(reporter.run(), name="heartbeat")
    yield reporter
    await tasks.close()


async def asleep(world: World) -> None:
    for _ in range(100):
        if world.clock.sleepers:
            return
        await asyncio.sleep(0)
    raise AssertionError("the heartbeat does not sleep")


async def step(world: World, seconds: float) -> None:
    world.clock.step(seconds)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asleep(world)


async def test_row_83_the_interval_is_respected(
    world: World, running: StatusReporter, sync_targets: Target
) -> None:
    await asleep(world)
    assert running.beats == 1
    await step(world, 19.9)
    assert running.beats == 1
    await step(world, 0.1)
    assert running.beats == 2


@pytest.mark.parametrize(
    "error", [Unauthorized("no"), ServiceUnavailable("later"), KeyError("a bug")]
)
async def test_a_failed_beat_is_tried_again_each_second(
    world: World,
    running: StatusReporter,
    sync_targets: Target,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await asleep(world)
    sync_targets.fail = error
    await step(world, 20)
    for _ in range(5):
        await step(world, 1)
    assert running.beats == 1
    assert caplog.text.count("Heartbeat failed") == 1
    sync_targets.fail = None
    await step(world, 1)
    assert running.beats == 2
    await step(world, 1)
    assert running.beats == 2


async def test_a_beat_that_finds_no_sync_target_closes_the_gate(
    world: World, running: StatusReporter, sync_targets: Target
) -> None:
    await asleep(world)
    sync_targets.fail = NotFound("no such SyncTarget", reason="NotFound")
    await step(world, 20)
    assert not world.gate.is_open
    sync_targets.fail = None
    for _ in range(3):
        world.clock.step(20)
        await asyncio.sleep(0)
    assert running.beats == 1
    assert not world.clock.sleepers


async def test_a_server_that_answers_404_to_everything_is_beaten_for_again(
    world: World, running: StatusReporter, sync_targets: Target
) -> None:
    """As a kcp that starts does, and gives no reason."""
    await asleep(world)
    sync_targets.fail = NotFound("404 page not found")
    await step(world, 20)
    assert world.gate.is_open
    sync_targets.fail = None
    await step(world, 20)
    assert running.beats == 2


async def test_news_of_the_cluster_goes_with_a_beat_and_is_told_again_when_that_failed(
    world: World, reporter: StatusReporter, sync_targets: Target, news: News
) -> None:
    news.fields = {"nodeCount": 3}
    sync_targets.fail = ServiceUnavailable("down")
    with pytest.raises(ServiceUnavailable):
        await reporter.beat()
    assert news.heard == []

    sync_targets.fail = None
    await reporter.beat()

    assert status(world)["nodeCount"] == 3
    assert news.heard == [{"nodeCount": 3}]


async def test_while_there_are_news_soon_the_next_beat_follows_at_once(
    world: World, news: News, reporter: StatusReporter
) -> None:
    news.settled = False
    tasks = TaskSet("test")
    tasks.spawn(reporter.run(), name="heartbeat")
    await asleep(world)
    news.settled = True
    await step(world, 1)
    assert reporter.beats == 2
    await step(world, 19)
    assert reporter.beats == 2
    await tasks.close()
