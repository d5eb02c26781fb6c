"""Eviction of targets whose syncers are silent, by the controller's own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcpctl.apis.naming import deletion_annotation, state_label, sync_target_key
from kcpctl.apis.resource import DEPLOYMENTS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import ServiceUnavailable
from tests.unit.reconcilers.conftest import World

if TYPE_CHECKING:
    from kcpctl.runtime import IOLoop

KEY = sync_target_key("root", "east")
LABEL, MARK = state_label(KEY), deletion_annotation(KEY)


def start(world: World, grace: str | None = "10m") -> str:
    """Have a target in External mode, with a heartbeat and a Deployment; return its path."""
    spec = {} if grace is None else {"evictionGracePeriod": grace}
    world.add_target(kcpCluster="root", **spec)
    world.reconcile()
    world.reconcile()
    world.beat()
    world.add(DEPLOYMENTS, "web", "shop", metadata={"labels": {LABEL: "Sync"}})
    settle(world)
    assert world.condition("Ready") == "True Ready"
    world.take()
    return world.path(DEPLOYMENTS, "web", "shop")


def settle(world: World) -> float | None:
    """Reconcile until nothing is written; return the seconds until the next look."""
    for _ in range(5):
        world.up.calls.clear()
        after = world.reconcile()
        if not world.up.writes():
            return after
    raise AssertionError("every pass writes")


def live(world: World, seconds: float) -> None:
    """Let time pass, with a look whenever one is due."""
    while True:
        after = settle(world)
        step = seconds if after is None else min(after, seconds)
        world.clock.step(step)
        seconds -= step
        if seconds <= 0:
            settle(world)
            return


def is_marked(world: World, path: str) -> bool:
    return MARK in (world.up.objects[path]["metadata"].get("annotations") or {})


def test_each_look_is_exactly_when_something_changes(world: World) -> None:
    path = start(world)
    world.clock.step(300)
    assert world.reconcile() == 600.0
    assert world.condition("Ready") == "False Unhealthy"
    assert world.condition("Schedulable") == "True Schedulable"
    world.take()
    world.clock.step(599)
    assert world.reconcile() == pytest.approx(1.0)
    assert world.up.writes() == []
    world.clock.step(1)
    assert world.reconcile() == 60.0
    assert world.condition("Schedulable") == "False Evicting"
    assert "spec.evictionGracePeriod" not in world.message("Schedulable")
    assert "silent for 10m" in world.message("Schedulable")
    assert is_marked(world, path)
    assert world.recorder.take() == ["Normal Cordoned", "Warning EvictionStarted"]
    world.take()
    assert world.reconcile() == 60.0
    assert world.up.writes() == world.recorder.take() == []


def test_by_default_the_target_is_closed_and_its_workloads_stay(world: World) -> None:
    path = start(world, None)
    live(world, 599)
    assert world.condition("Schedulable") == "True Schedulable"
    live(world, 1)
    assert world.condition("Schedulable") == "False Evicting"
    assert "stays until somebody moves it" in world.message("Schedulable")
    live(world, 86_400)
    assert not is_marked(world, path)
    assert world.reconcile() is None
    assert world.up.calls == []


def test_zero_is_never(world: World) -> None:
    path = start(world, "0h")
    live(world, 86_400)
    assert world.condition("Schedulable") == "True Schedulable"
    assert not is_marked(world, path)


def test_a_heartbeat_opens_the_target_and_what_was_asked_goes(world: World) -> None:
    path = start(world)
    live(world, 900)
    assert is_marked(world, path)
    world.take()
    world.beat()
    world.reconcile()
    assert world.condition("Schedulable") == "True Schedulable"
    assert world.recorder.take() == ["Normal HeartbeatResumed", "Normal Uncordoned", "Normal Ready"]
    assert is_marked(world, path)


def test_evicted_is_said_when_nothing_is_assigned_any_more(world: World) -> None:
    path = start(world)
    live(world, 900)
    del world.up.objects[path]["metadata"]["labels"]
    world.recorder.take()
    live(world, 60)
    assert world.condition("Schedulable") == "False Evicted"
    assert world.recorder.take() == ["Normal Drained"]
    world.take()
    assert world.reconcile() is None
    assert world.up.calls == []


def test_a_controller_that_finds_it_unhealthy_trusts_the_status(world: World) -> None:
    start(world)
    live(world, 400)
    world.reconciler = world.new_reconciler()
    assert world.reconcile() == pytest.approx(500.0, abs=1.0)
    world.clock.step(500)
    world.reconcile()
    assert world.condition("Schedulable") == "False Evicting"


@pytest.mark.parametrize("seen", [0.0, 100.0])
def test_silence_that_nobody_saw_counts_from_when_it_is_told(world: World, seen: float) -> None:
    """After an outage of the API server it was that, and not the syncers, that was away."""
    path = start(world)
    live(world, seen)
    world.clock.step(86_400)
    world.reconciler = world.new_reconciler()
    if not seen:  # what was healthy may send a heartbeat yet
        assert world.reconcile() == 60.0
        world.clock.step(60)
    assert world.reconcile() == 600.0
    assert world.condition("Ready") == "False Unhealthy"
    live(world, 599)
    assert not is_marked(world, path)


def test_while_the_status_cannot_be_written_the_grace_does_not_run(world: World) -> None:
    path = start(world)
    world.up.errors["PATCH"] = ServiceUnavailable("away")
    for _ in range(20):
        world.clock.step(300)
        with pytest.raises(ServiceUnavailable):
            world.reconcile()
    world.up.errors.clear()
    assert world.reconcile() == 600.0
    assert not is_marked(world, path)


def test_a_cluster_that_is_away_as_well_has_the_same_grace(world: World) -> None:
    """Ready has another reason then, before it is Unhealthy and also afterwards."""
    world.make_ready()
    world.change_spec(evictionGracePeriod="10m")
    world.add(DEPLOYMENTS, "web", "shop", metadata={"labels": {LABEL: "Sync"}})
    path = world.path(DEPLOYMENTS, "web", "shop")
    world.clock.step(200)
    world.disconnect()
    settle(world)
    assert world.condition("Ready") == "False ConnectionFailed"
    live(world, 699)
    assert not is_marked(world, path)
    live(world, 1)
    assert world.condition("Schedulable") == "False Evicting"
    assert is_marked(world, path)


def test_a_syncer_that_never_came_is_silent_from_the_end_of_its_start_up(world: World) -> None:
    world.add_target(kcpCluster="root", evictionGracePeriod="1m")
    live(world, 119)
    assert world.condition("Ready") == "False Unhealthy"
    assert world.condition("Schedulable") == "True Schedulable"
    live(world, 1)
    assert world.condition("Schedulable") == "False Evicted"


def test_a_stamp_that_somebody_spoilt_evicts_nothing(world: World) -> None:
    path = start(world)
    live(world, 310)
    for one in world.up.objects[world.path(SYNCTARGETS, "east")]["status"]["conditions"]:
        if one["type"] == "HeartbeatHealthy":
            one["lastTransitionTime"] = "0000-00-00T00:00:00Z"
    live(world, 3600)
    assert not is_marked(world, path)


steps = st.tuples(st.just("step"), st.sampled_from([1.0, 59.0, 60.0, 240.0, 299.0, 300.0, 400.0]))
beats = st.tuples(st.just("beat"), st.just(0.0))
restarts = st.tuples(st.just("restart"), st.just(0.0))
jumps = st.tuples(st.just("jump"), st.sampled_from([-1e6, -300.0, 300.0, 1e6]))
outages = st.tuples(st.just("outage"), st.sampled_from([30.0, 400.0, 2000.0]))
# Whoever starts has nothing but stamps to go by, so there the wall clock has to be right.
orders = st.lists(steps | beats | restarts | outages, max_size=10) | st.lists(
    steps | beats | jumps | outages, max_size=10
)


@given(orders)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_in_any_order_nothing_leaves_early_and_nothing_stays_late(
    io_loop: IOLoop, order: list[tuple[str, float]]
) -> None:
    world = World(io_loop)
    path = start(world, "10m")
    silent, told = 0.0, 0.0  # since the last heartbeat; and of that, while statuses are written
    for what, seconds in order:
        if what == "beat":
            world.beat(at=world.clock.time())
            silent = told = 0.0
            world.up.objects[path]["metadata"].pop("annotations", None)
        elif what == "restart":
            world.reconciler = world.new_reconciler()
        elif what == "jump":
            world.clock.jump(seconds)
        elif what == "outage":
            world.clock.step(seconds)
            silent += seconds
        else:
            live(world, seconds)
            silent += seconds
            told += seconds
        settle(world)
        assert silent >= 900 or not is_marked(world, path)
        assert is_marked(world, path) == (world.condition("Schedulable") == "False Evicting")
        assert told < 900 or is_marked(world, path)
        assert silent > 0 or world.condition("Schedulable") == "True Schedulable"
