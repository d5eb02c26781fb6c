from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.conditions import ERROR, Condition, false, true
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import PatchType
from kcpctl.errors import NotFound, ServiceUnavailable
from kcpctl.runtime import TaskSet, format_time
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.own_conditions import OwnConditions
from tests.unit.syncer.conftest import World as AnyWorld

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World


class SyncTargets:
    """The SyncTargets' async client, and what went through it."""

    def __init__(self, world: World) -> None:
        self._client = world.up_client.resource(SYNCTARGETS)
        self.patches: list[list[Unstructured]] = []
        self.reads = 0
        self.fail: Exception | None = None
        self.meanwhile: list[Callable[[], object]] = []  # one runs after each read

    async def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        self.reads += 1
        if self.fail is not None:
            raise self.fail
        found = self._client.get(name)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return found

    async def patch(self, name: str, body: Any, **options: Any) -> Unstructured:
        assert options["type"] is PatchType.JSON
        assert options["subresource"] == "status"
        self.patches.append(body)
        return self._client.patch(name, body, **options)


@pytest.fixture
def sync_targets(world: World) -> SyncTargets:
    return SyncTargets(world)


@pytest.fixture
def conditions(world: World, sync_targets: SyncTargets) -> OwnConditions:
    return OwnConditions(world.gate, sync_targets, clock=world.clock)


READY: Unstructured = {"type": "Ready", "status": "True"}
HEARTBEAT: Unstructured = {"type": "HeartbeatHealthy", "status": "True"}
VALID: Unstructured = {"type": "Valid", "status": "True", "reason": "Valid"}
WORKS = true("SyncerReady", "SyncerConnected", "It works")
LOST = false("SyncerReady", ERROR, "SyncerDisconnected", "It is lost")


def store(world: World, *conditions: Unstructured, **status: Any) -> None:
    """Write a status as the controller would."""
    obj = world.up.expect(SYNCTARGETS, "", "east")
    world.up.put(SYNCTARGETS, {**obj, "status": {"conditions": list(conditions), **status}})


def stored(world: World) -> list[Unstructured]:
    found: list[Unstructured] = world.up.expect(SYNCTARGETS, "", "east")["status"]["conditions"]
    return found


def kept(world: World, condition: Condition = WORKS) -> Unstructured:
    result = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": format_time(world.clock.time()),
    }
    return {**result, "severity": condition.severity} if condition.severity else result


async def test_a_condition_takes_its_place_and_touches_no_other(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    store(world, READY, HEARTBEAT, VALID, phase="Ready")
    conditions.want(WORKS)
    await conditions.write()
    assert stored(world) == [READY, HEARTBEAT, kept(world), VALID]
    assert world.up.expect(SYNCTARGETS, "", "east")["status"]["phase"] == "Ready"
    paths = [(op["op"], op["path"]) for op in sync_targets.patches[0]]
    assert paths == [
        ("test", "/metadata/uid"),
        ("test", "/metadata/resourceVersion"),
        ("add", "/status/conditions/2"),
    ]


@pytest.mark.parametrize("status", [None, {}, {"phase": "Pending"}])
async def test_a_status_or_its_list_is_made_where_it_is_absent(
    world: World, conditions: OwnConditions, status: Unstructured | None
) -> None:
    if status is not None:
        world.up.expect(SYNCTARGETS, "", "east")["status"] = status
    conditions.want(WORKS)
    await conditions.write()
    assert stored(world) == [kept(world)]
    assert world.up.expect(SYNCTARGETS, "", "east")["status"].items() >= (status or {}).items()


async def test_the_time_of_transition_moves_with_the_status_alone(
    world: World, conditions: OwnConditions
) -> None:
    store(world, READY)
    for wanted in (LOST, false("SyncerReady", ERROR, "SyncerError", "Another reason")):
        conditions.want(wanted)
        await conditions.write()
        first = stored(world)[1]["lastTransitionTime"]
        world.clock.step(60)
    assert stored(world)[1]["reason"] == "SyncerError"
    assert stored(world)[1]["lastTransitionTime"] == first
    conditions.want(WORKS)
    await conditions.write()
    assert stored(world)[1] == kept(world)  # without a severity


async def test_nothing_is_written_where_nothing_differs_and_nothing_read_at_rest(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    store(world, kept(world))
    conditions.want(WORKS)
    await conditions.write()
    await conditions.write()
    conditions.want(WORKS)
    await conditions.write()
    assert (sync_targets.reads, sync_targets.patches) == (1, [])


async def test_a_lost_race_overwrites_nobody(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    store(world, READY, kept(world, LOST))
    sync_targets.meanwhile = [lambda: store(world, READY, HEARTBEAT, kept(world, LOST))]
    conditions.want(WORKS)
    await conditions.write()
    assert [one["type"] for one in stored(world)] == ["Ready", "HeartbeatHealthy", "SyncerReady"]
    assert stored(world)[1:] == [HEARTBEAT, kept(world)]
    assert sync_targets.reads == 2


async def test_a_race_that_is_lost_again_and_again_is_given_up_for_now(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    sync_targets.meanwhile = [lambda: store(world, READY)] * 100
    conditions.want(WORKS)
    with pytest.raises(Exception, match="does not fit"):
        await conditions.write()
    assert sync_targets.reads == 5
    sync_targets.meanwhile = []
    await conditions.write()
    assert stored(world) == [READY, kept(world)]


async def test_what_is_wanted_anew_during_a_write_is_written_too(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    sync_targets.meanwhile = [lambda: conditions.want(LOST)]
    conditions.want(WORKS)
    await conditions.write()
    await conditions.write()
    assert stored(world) == [kept(world, LOST)]


async def test_a_successor_gets_no_condition(world: World, conditions: OwnConditions) -> None:
    world.up.put(SYNCTARGETS, {"metadata": {"name": "east", "uid": "another"}})
    conditions.want(WORKS)
    with pytest.raises(GateClosed, match="made again"):
        await conditions.write()
    assert "status" not in world.up.expect(SYNCTARGETS, "", "east")


async def test_one_that_is_being_deleted_gets_it(world: World, conditions: OwnConditions) -> None:
    world.up.expect(SYNCTARGETS, "", "east")["metadata"] |= {
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["ours"],
    }
    conditions.want(WORKS)
    await conditions.write()
    assert stored(world) == [kept(world)]


async def test_what_others_do_to_a_condition_is_undone(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    conditions.want(WORKS)
    await conditions.write()
    conditions.look(world.up.expect(SYNCTARGETS, "", "east"))
    await conditions.write()
    assert sync_targets.reads == 1
    for change in ([READY], [READY, kept(world, LOST)]):
        store(world, *change)
        conditions.look(world.up.expect(SYNCTARGETS, "", "east"))
        await conditions.write()
        assert stored(world) == [READY, kept(world)]


CONNECTED = true("ClusterConnected", "Connected")


async def test_the_connection_is_the_controllers_where_that_manages_the_syncer(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    theirs = {"type": "ClusterConnected", "status": "False"}
    store(world, theirs)
    world.up.expect(SYNCTARGETS, "", "east")["spec"] = {"cluster": "east"}
    conditions.want(CONNECTED)
    await conditions.write()
    conditions.look(world.up.expect(SYNCTARGETS, "", "east"))
    await conditions.write()
    assert stored(world) == [theirs]
    assert (sync_targets.reads, sync_targets.patches) == (1, [])
    target = world.up.expect(SYNCTARGETS, "", "east")
    target["spec"]["deployment"] = {"mode": "External"}
    conditions.look(target)
    await conditions.write()
    assert [one["reason"] for one in stored(world)] == ["Connected"]


async def test_a_spec_that_cannot_be_read_makes_the_connection_nobodys(
    world: World, conditions: OwnConditions, sync_targets: SyncTargets
) -> None:
    world.up.expect(SYNCTARGETS, "", "east")["spec"] = {"cluster": ["east"]}
    conditions.want(CONNECTED)
    conditions.look(world.up.expect(SYNCTARGETS, "", "east"))
    await conditions.write()
    assert sync_targets.patches == []


@given(st.sets(st.sampled_from(["Ready", "Alpha", "SyncerReady", "Tau", "Zeta"])))
def test_the_order_is_kept_whatever_is_there(types: set[str]) -> None:
    world = AnyWorld()
    ordered = sorted(types, key=lambda type_: (type_ != "Ready", type_))
    store(world, *({"type": type_, "status": "Unknown"} for type_ in ordered))
    conditions = OwnConditions(world.gate, SyncTargets(world), clock=world.clock)
    conditions.want(WORKS)
    conditions.want(true("ClusterConnected", "Connected"))
    asyncio.run(conditions.write())
    after = [one["type"] for one in stored(world)]
    assert after == sorted(
        types | {"SyncerReady", "ClusterConnected"}, key=lambda type_: (type_ != "Ready", type_)
    )


@pytest.fixture
async def running(conditions: OwnConditions) -> AsyncIterator[OwnConditions]:
    tasks = TaskSet("test")
    tasks.spawn(conditions.run(), name="conditions")
    yield conditions
    await tasks.close()


async def step(world: World, seconds: float) -> None:
    world.clock.step(seconds)
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_loop_writes_what_is_wanted_within_a_second(
    world: World, running: OwnConditions, sync_targets: SyncTargets
) -> None:
    await step(world, 0)
    running.want(WORKS)
    await step(world, 1)
    assert stored(world) == [kept(world) | {"lastTransitionTime": format_time(world.clock.time())}]
    for _ in range(600):
        await step(world, 1)
    assert (sync_targets.reads, len(sync_targets.patches)) == (1, 1)


async def test_the_loop_tries_again_more_and_more_rarely_and_says_so_once(
    world: World,
    running: OwnConditions,
    sync_targets: SyncTargets,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sync_targets.fail = ServiceUnavailable("later")
    running.want(WORKS)
    for _ in range(300):
        await step(world, 1)
    assert 5 <= sync_targets.reads <= 60
    assert caplog.text.count("are not written") == 1
    sync_targets.fail = None
    await step(world, 60)
    assert stored(world)[0]["status"] == "True"
    sync_targets.fail = ServiceUnavailable("again")
    running.want(LOST)
    reads = sync_targets.reads
    for _ in range(5):
        await step(world, 1)
    assert sync_targets.reads >= reads + 2


async def test_the_loop_goes_on_where_a_server_answers_404_to_everything(
    world: World, running: OwnConditions, sync_targets: SyncTargets
) -> None:
    sync_targets.fail = NotFound("404 page not found")
    running.want(WORKS)
    await step(world, 1)
    assert world.gate.is_open


async def test_the_loop_closes_the_gate_when_there_is_no_sync_target(
    world: World, running: OwnConditions, sync_targets: SyncTargets
) -> None:
    sync_targets.fail = NotFound("no such SyncTarget", reason="NotFound")
    running.want(WORKS)
    await step(world, 1)
    assert not world.gate.is_open
    for _ in range(3):
        await step(world, 60)
    assert sync_targets.reads == 1
