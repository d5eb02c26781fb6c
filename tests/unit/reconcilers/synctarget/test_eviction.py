"""Cordon and eviction, against two servers in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.naming import deletion_annotation, state_label, sync_target_key
from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import ApiError, Forbidden, NotFound
from kcpctl.runtime import format_time

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

KEY = sync_target_key("root", "east")
LABEL, MARK = state_label(KEY), deletion_annotation(KEY)


def assign(world: World, resource: Resource, name: str, namespace: str = "", **labels: str) -> str:
    labels = labels or {LABEL: "Sync"}
    world.add(resource, name, namespace, metadata={"labels": labels})
    return world.path(resource, name, namespace)


def drain(world: World, seconds: float = 0.0) -> None:
    world.change_spec(unschedulable=True, evictAfter=format_time(world.clock.time() + seconds))


def marks(world: World, path: str) -> dict[str, Any]:
    return world.up.objects[path]["metadata"].get("annotations") or {}


def test_cordon_and_uncordon_are_told_once_each_and_ready_stays(world: World) -> None:
    world.make_ready()
    assert world.condition("Schedulable") == "True Schedulable"
    world.change_spec(unschedulable=True)
    world.reconcile()
    world.reconcile()
    assert world.condition("Schedulable") == "False Cordoned"
    assert world.condition("Ready") == "True Ready"
    assert world.recorder.take() == ["Normal Cordoned"]
    world.change_spec(unschedulable=False)
    world.reconcile()
    world.reconcile()
    assert world.condition("Schedulable") == "True Schedulable"
    assert world.recorder.take() == ["Normal Uncordoned"]


def test_nothing_leaves_before_evict_after_and_the_timer_is_exact(world: World) -> None:
    world.make_ready()
    path = assign(world, DEPLOYMENTS, "web", "shop")
    drain(world, 40)
    assert world.reconcile() == pytest.approx(40.0)
    assert world.condition("Schedulable") == "False Cordoned"
    assert MARK not in marks(world, path)
    assert world.recorder.take() == ["Normal Cordoned"]
    world.clock.step(40)
    world.reconcile()
    assert world.condition("Schedulable") == "False Evicting"
    assert world.recorder.take() == ["Warning EvictionStarted"]


def test_objects_and_namespaces_are_asked_to_leave_namespaces_first(world: World) -> None:
    world.make_ready()
    web = assign(world, DEPLOYMENTS, "web", "shop")
    shop = assign(world, NAMESPACES, "shop")
    other = assign(world, DEPLOYMENTS, "other", "shop", **{state_label("another"): "Sync"})
    pending = assign(world, DEPLOYMENTS, "pending", "shop", **{LABEL: ""})
    drain(world)
    assert world.reconcile() == 5.0
    stamp = format_time(world.clock.time())
    assert marks(world, web) == {MARK: stamp}
    assert marks(world, shop) == {MARK: stamp}
    assert marks(world, other) == marks(world, pending) == {}
    marked = [call for call in world.up.writes() if "synctargets" not in call]
    assert marked == [f"PATCH {shop}", f"PATCH {web}"]


def test_what_is_marked_is_not_marked_again(world: World) -> None:
    world.make_ready()
    assign(world, DEPLOYMENTS, "web", "shop")
    drain(world)
    world.reconcile()
    world.take()
    world.clock.step(5)
    assert world.reconcile() == 5.0
    assert world.up.writes() == []
    assert world.recorder.take() == []


def test_drained_is_told_once_and_costs_nothing_afterwards(world: World) -> None:
    world.make_ready()
    path = assign(world, DEPLOYMENTS, "web", "shop")
    drain(world)
    world.reconcile()
    world.take()
    del world.up.objects[path]["metadata"]["labels"]
    world.reconcile()
    assert world.condition("Schedulable") == "False Evicted"
    assert world.recorder.take() == ["Normal Drained"]
    world.take()
    assert world.reconcile() == pytest.approx(60.0)
    assert world.up.calls == []


def test_a_target_without_workloads_is_drained_at_once(world: World) -> None:
    world.make_ready()
    drain(world)
    world.reconcile()
    assert world.recorder.take() == ["Normal Cordoned", "Normal Drained"]


def test_evict_after_alone_is_allowed_with_a_warning(world: World) -> None:
    world.make_ready()
    path = assign(world, DEPLOYMENTS, "web", "shop")
    world.change_spec(evictAfter=format_time(world.clock.time()))
    world.reconcile()
    world.reconcile()
    assert world.condition("Valid") == "True Valid"
    assert world.condition("Schedulable") == "True EvictAfterIgnored"
    assert MARK not in marks(world, path)
    assert world.recorder.take() == ["Warning EvictAfterIgnored"]


def test_a_list_that_fails_is_no_drained_target(world: World) -> None:
    """The status is written all the same, and the queue backs off."""
    world.make_ready()
    drain(world)
    details = {"kind": "secrets"}
    world.up.errors["GET /api/v1/secrets"] = Forbidden("secrets is forbidden", details=details)
    world.hints["root", "secrets"] = "accept the claim"
    with pytest.raises(Forbidden):
        world.reconcile()
    assert world.condition("Schedulable") == "False Evicting"
    assert world.message("Schedulable") == (
        "Workloads cannot be asked to leave the target: secrets is forbidden; accept the claim"
    )


@pytest.mark.parametrize("error", [NotFound("no such kind"), Forbidden("not claimed")])
def test_a_kind_that_the_workspace_does_not_have_is_none_that_is_assigned(
    world: World, error: ApiError
) -> None:
    """A kcp has no Deployments of its own, and an export has what it exports and claims."""
    world.make_ready()
    path = assign(world, NAMESPACES, "web")
    drain(world)
    world.up.unserved.add("deployments")
    world.up.errors["GET /apis/apps/v1/deployments"] = error
    world.reconcile()
    assert MARK in marks(world, path)
    world.up.objects.pop(path)
    world.reconcile()
    assert world.condition("Schedulable") == "False Evicted"


def test_another_workspace_with_the_same_names_is_left_alone(workspaces: World) -> None:
    for cluster in ("a", "b"):
        workspaces.make_ready(cluster=cluster)
    key = state_label(sync_target_key("a", "east"))
    for cluster in ("a", "b"):
        labels = {"labels": {key: "Sync"}}
        workspaces.add(DEPLOYMENTS, "web", "shop", cluster, metadata=labels)
    path = workspaces.path(DEPLOYMENTS, "web", "shop", "b")
    target = workspaces.up.objects["/clusters/a/apis/workload.kcp.io/v1alpha1/synctargets/east"]
    target["spec"].update(unschedulable=True, evictAfter=format_time(workspaces.clock.time()))
    target["metadata"]["generation"] += 1
    workspaces.take()
    workspaces.reconcile(cluster="a")
    assert workspaces.condition("Schedulable", cluster="a") == "False Evicting"
    assert all(call.split()[1].startswith("/clusters/a/") for call in workspaces.up.calls)
    assert "deletion.internal" not in str(workspaces.up.objects[path])


def test_a_time_that_nobody_can_read_is_an_invalid_spec(world: World) -> None:
    world.make_ready()
    world.change_spec(unschedulable=True, evictAfter="tomorrow")
    world.reconcile()
    assert world.condition("Valid") == "False ValidationFailed"
    assert "spec.evictAfter" in world.message("Valid")


def test_what_is_assigned_to_an_evicted_target_by_hand_is_asked_to_leave_too(world: World) -> None:
    """The syncer's count of its copies is what tells of it."""
    world.make_ready()
    drain(world)
    world.reconcile()
    assert world.condition("Schedulable") == "False Evicted"
    path = assign(world, DEPLOYMENTS, "web", "shop")
    world.take()
    world.reconcile()
    assert marks(world, path) == {}
    target = world.up.objects[world.path(SYNCTARGETS, "east")]
    target["status"]["resourceCount"] = 1
    assert world.reconcile() == 5.0
    assert MARK in marks(world, path)
    assert world.condition("Schedulable") == "False Evicting"
    assert world.recorder.take() == ["Warning EvictionStarted"]
