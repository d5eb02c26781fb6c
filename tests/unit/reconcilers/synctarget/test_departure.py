"""What is assigned leaves before a SyncTarget does (2.6, steps 1 and 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.conditions import INFO, false
from kcpctl.apis.naming import (
    deletion_annotation,
    soft_finalizers_annotation,
    state_label,
    sync_target_key,
    syncer_finalizer,
)
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.reconcilers.synctarget.deployment import syncer_inputs
from kcpctl.reconcilers.synctarget.installation import make_identity
from tests.unit.reconcilers.synctarget.test_deletion import (
    add_workload_namespace,
    begin_deletion,
    delete_until_gone,
)

if TYPE_CHECKING:
    from kcpctl.apis.meta import Unstructured
    from tests.unit.reconcilers.conftest import World

KEY = sync_target_key("root", "east")
SYNCED = {"labels": {state_label(KEY): "Sync"}, "finalizers": [syncer_finalizer(KEY)]}


def metadata_of_web(world: World) -> Unstructured:
    found: Unstructured = world.up.objects[world.path(DEPLOYMENTS, "web", "default")]["metadata"]
    return found


def make_external(world: World, *, beats: bool) -> None:
    world.add_target(kcpCluster="root:test")
    world.reconcile()
    if beats:
        world.beat()
    world.reconcile()


def say(world: World, reason: str) -> None:
    """As a syncer does that has seen the deletion, and then that nothing is left."""
    path = world.path(SYNCTARGETS, "east")
    obj = world.up.objects[path]
    condition = false("SyncerReady", INFO, reason, "")
    said = {
        "type": condition.type,
        "status": condition.status,
        "severity": condition.severity,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = obj["status"]
    others = [one for one in status["conditions"] if one["type"] != "SyncerReady"]
    world.up.put(path, {**obj, "status": {**status, "conditions": [*others, said]}})


def test_a_syncer_that_beats_removes_the_copies_before_the_controller_touches_anything(
    world: World,
) -> None:
    world.make_ready()
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    world.add(NAMESPACES, "shop", metadata={"labels": {state_label(KEY): "Sync"}})
    add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    begin_deletion(world)
    world.take()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.message("Deleting") == (
        "Still to be removed: deployments default/web, namespaces shop, which the syncer removes"
    )
    assert world.down.writes() == []
    assert deletion_annotation(KEY) in metadata_of_web(world)["annotations"]
    world.up.writes()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.up.writes() == []
    world.let_leave()
    delete_until_gone(world)
    assert world.down.objects == {}


def test_what_a_syncer_that_beats_never_removes_is_cleaned_after_force_time(world: World) -> None:
    world.make_ready()
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    begin_deletion(world)
    say(world, "Draining")
    for _ in range(60):
        world.beat()
        assert world.reconcile() == pytest.approx(2.0)
        world.clock.step(10)
    world.beat()
    delete_until_gone(world)
    assert world.down.objects == {}
    assert metadata_of_web(world)["finalizers"] == []


def test_a_silent_syncer_on_a_cluster_in_reach_is_not_waited_for(world: World) -> None:
    world.make_ready()
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    world.clock.step(60)
    begin_deletion(world)
    assert delete_until_gone(world)[0] == "Still to be removed: namespaces of workloads kcp-1"
    assert metadata_of_web(world)["finalizers"] == []


def test_a_syncer_that_does_not_say_that_it_has_seen_the_deletion_is_none(world: World) -> None:
    """Its last heartbeat may be fresh: it was stopped just before."""
    make_external(world, beats=True)
    begin_deletion(world)
    assert world.reconcile() == pytest.approx(2.0)
    world.clock.step(10)
    world.reconcile()
    assert not world.exists()


def test_a_controller_whose_clock_is_an_hour_ahead_still_waits_for_the_syncer(
    world: World,
) -> None:
    world.make_ready()
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    begin_deletion(world)
    say(world, "Draining")
    world.clock.jump(300)
    world.reconciler = world.new_reconciler()
    world.take()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.message("Deleting").endswith("deployments default/web, which the syncer removes")
    assert world.down.writes() == []


def test_soft_finalizers_are_waited_for_until_force_time(world: World) -> None:
    world.make_ready()
    held = {**SYNCED, "annotations": {soft_finalizers_annotation(KEY): "backup"}}
    world.add(DEPLOYMENTS, "web", "default", metadata=held)
    workloads = add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    world.clock.step(60)
    begin_deletion(world)
    assert world.reconcile() == pytest.approx(30.0)
    assert world.message("Deleting") == (
        "Still to be removed: deployments default/web, which soft finalizers hold"
    )
    assert workloads in world.down.objects
    world.clock.step(600)
    delete_until_gone(world)
    assert world.down.objects == {}


def test_orphan_asks_nothing_to_leave(world: World) -> None:
    world.make_ready()
    world.change_spec(deletionPolicy="Orphan")
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    begin_deletion(world)
    world.take()
    delete_until_gone(world)
    assert "deletionTimestamp" not in metadata_of_web(world)
    patched = [body for line, body in world.up.bodies if line.endswith("/deployments/web")]
    assert patched
    assert not [body for body in patched if body["metadata"].get("annotations")]


def test_what_a_syncer_of_somebody_else_has_on_its_cluster_is_waited_for(world: World) -> None:
    make_external(world, beats=True)
    inputs = syncer_inputs(world.target(), "root", world.options, world.client)
    make_identity(world.client, world.target(), inputs, "kcpctl-system")
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    begin_deletion(world)
    world.take()
    world.reconcile()
    assert world.message("Deleting").endswith("deployments default/web, which the syncer removes")
    world.let_leave()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.message("Deleting").endswith("what the syncer has on its cluster")
    say(world, "Drained")
    world.reconcile()
    assert not world.exists()
    assert world.up.names("serviceaccounts") == []
    assert world.recorder.take() == ["Normal Deleted"]


@pytest.mark.parametrize("labels", [SYNCED["labels"], {}], ids=["by itself", "by its namespace"])
def test_copies_that_nobody_can_remove_are_left_behind_after_force_time_with_a_warning(
    world: World, labels: dict[str, str]
) -> None:
    make_external(world, beats=False)
    world.add(DEPLOYMENTS, "web", "default", metadata={**SYNCED, "labels": labels})
    begin_deletion(world)
    assert world.reconcile() == pytest.approx(30.0)
    assert world.message("Deleting") == (
        "Still to be removed: the copies of deployments default/web, for which a syncer has to "
        "run, unless spec.deletionPolicy is set to Orphan"
    )
    world.clock.step(600)
    world.take()
    world.reconcile()
    assert not world.exists()
    assert metadata_of_web(world)["finalizers"] == []
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_what_never_had_a_copy_is_not_waited_for_once_the_rest_has_left(world: World) -> None:
    """The syncer does nothing about types that its cluster does not serve."""
    world.make_ready()
    world.add(DEPLOYMENTS, "web", "default", metadata={"labels": {state_label(KEY): "Sync"}})
    begin_deletion(world)
    world.reconcile()
    assert world.message("Deleting").endswith("deployments default/web, which the syncer removes")
    say(world, "Drained")
    delete_until_gone(world)
    assert metadata_of_web(world)["labels"] == {}


def test_a_syncer_of_somebody_else_that_comes_back_in_time_is_waited_for(world: World) -> None:
    make_external(world, beats=False)
    world.add(DEPLOYMENTS, "web", "default", metadata=SYNCED)
    begin_deletion(world)
    world.reconcile()
    world.beat()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.message("Deleting").endswith("which the syncer removes")


def test_the_policy_may_become_orphan_while_copies_are_waited_for(world: World) -> None:
    make_external(world, beats=False)
    world.add(CONFIG_MAPS, "settings", "default", metadata=SYNCED)
    begin_deletion(world)
    world.reconcile()
    world.take()
    world.change_spec(deletionPolicy="Orphan")
    world.reconcile()
    assert not world.exists()
    assert world.recorder.take() == ["Normal Deleted"]
