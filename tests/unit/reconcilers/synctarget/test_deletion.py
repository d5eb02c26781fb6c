"""Clean-up (2.6, row 81), against two servers in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.naming import (
    CLUSTER_LABEL,
    LOCATOR_ANNOTATION,
    NamespaceLocator,
    SyncTargetLocator,
    deletion_annotation,
    state_label,
    sync_target_key,
    syncer_finalizer,
)
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import Forbidden, ServiceUnavailable, TransportError
from kcpctl.reconcilers.synctarget.deployment import syncer_inputs
from kcpctl.reconcilers.synctarget.installation import make_identity

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

KEY = sync_target_key("root", "east")


def add_workload_namespace(world: World, name: str, uid: str) -> str:
    locator = NamespaceLocator(
        sync_target=SyncTargetLocator(cluster="root", name="east", uid=uid),
        cluster="root",
        namespace="default",
    )
    return world.add_downstream(
        NAMESPACES,
        name,
        metadata={
            "labels": {CLUSTER_LABEL: KEY},
            "annotations": {LOCATOR_ANNOTATION: locator.to_json()},
        },
    )


def begin_deletion(world: World) -> None:
    """Delete the target, and let the first pass say that nothing is placed there any more."""
    world.delete_target()
    assert world.reconcile() is None
    assert world.condition("Schedulable") == "False Terminating"


def delete_until_gone(world: World, passes: int = 10) -> list[str]:
    """Reconcile until the target is gone; return the messages of the condition on the way."""
    messages: list[str] = []
    for _ in range(passes):
        world.reconcile()
        if not world.exists():
            return messages
        messages.append(world.message("Deleting"))
    raise AssertionError(f"still there: {messages}")


def test_before_anything_goes_nothing_more_is_placed_there(world: World) -> None:
    world.make_ready()
    world.take()
    world.down.writes()
    begin_deletion(world)
    assert world.up.writes() == [f"PATCH {world.path(SYNCTARGETS, 'east')}/status"]
    assert world.down.writes() == []
    assert world.recorder.take() == []
    assert world.condition("Ready") == "False Terminating"


def test_row_81_everything_goes_in_order_and_the_finalizer_last(world: World) -> None:
    world.make_ready()
    workloads = add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    assigned = {"labels": {state_label(KEY): "Sync"}, "finalizers": [syncer_finalizer(KEY), "x"]}
    world.add(DEPLOYMENTS, "web", "default", metadata=assigned)
    web = world.path(DEPLOYMENTS, "web", "default")
    syncer = next(path for path in world.down.objects if "/deployments/" in path)
    begin_deletion(world)
    world.take()

    assert world.reconcile() == pytest.approx(2.0)
    assert world.down.writes() == []
    assert deletion_annotation(KEY) in world.up.objects[web]["metadata"]["annotations"]
    first = world.message("Deleting")
    world.let_leave()
    messages = [first, *delete_until_gone(world)]

    assert messages == [
        "Still to be removed: deployments default/web, which the syncer removes",
        "Still to be removed: namespaces of workloads kcp-1",
        "Still to be removed: deployments {0}; secrets {0}; serviceaccounts {0}; "
        "clusterrolebindings {0}; clusterroles {0}; namespaces {0}".format(
            syncer.rpartition("/")[2]
        ),
    ]
    deletes = [call for call in world.down.calls if call.startswith("DELETE")]
    assert deletes[0] == f"DELETE {workloads}"
    assert deletes[1] == f"DELETE {syncer}"
    assert world.down.objects == {}
    assert world.up.names("serviceaccounts") == []
    assert world.up.names("clusterroles") == []
    assert world.up.names("clusterrolebindings") == []
    assert world.up.objects[web]["metadata"]["finalizers"] == ["x"]
    assert world.up.writes()[-1].endswith("/synctargets/east")
    assert world.recorder.take() == ["Normal Deleted"]
    assert "root|east" in world.pool.removed


def test_while_something_remains_the_status_says_so_once(world: World) -> None:
    world.make_ready()
    path = add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    world.down.objects[path]["metadata"]["finalizers"] = ["held"]
    begin_deletion(world)
    assert world.reconcile() == pytest.approx(2.0)
    assert world.condition("Ready") == "False Terminating"
    assert world.condition("Deleting") == "True ResourceRemaining"
    assert world.target().status.phase == "Terminating"
    world.up.writes()
    assert world.reconcile() == pytest.approx(2.0)
    assert world.up.writes() == []
    assert world.down.writes().count(f"DELETE {path}") == 1


def test_nothing_of_another_target_is_touched(world: World) -> None:
    world.make_ready()
    other = add_workload_namespace(world, "kcp-other", "uid-of-a-predecessor")
    no_locator = world.add_downstream(
        NAMESPACES, "kcp-plain", metadata={"labels": {CLUSTER_LABEL: KEY}}
    )
    world.add(
        CONFIG_MAPS, "cm", "default", metadata={"finalizers": ["workload.kcp.io/syncer-other"]}
    )
    begin_deletion(world)
    delete_until_gone(world)
    assert set(world.down.objects) == {other, no_locator}
    kept = world.up.objects[world.path(CONFIG_MAPS, "cm", "default")]["metadata"]
    assert kept["finalizers"] == ["workload.kcp.io/syncer-other"]


def test_orphan_takes_the_marks_off_and_leaves_the_workloads(world: World) -> None:
    world.make_ready()
    world.change_spec(deletionPolicy="Orphan")
    path = add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    config = world.add_downstream(
        CONFIG_MAPS, "cm", "kcp-1", metadata={"labels": {CLUSTER_LABEL: KEY, "a": "b"}}
    )
    begin_deletion(world)
    delete_until_gone(world)
    assert world.down.objects[path]["metadata"]["labels"] == {}
    assert world.down.objects[path]["metadata"]["annotations"] == {}
    assert world.down.objects[config]["metadata"]["labels"] == {"a": "b"}


def test_row_81_an_unreachable_cluster_holds_the_target_until_force_time(world: World) -> None:
    world.make_ready()
    assigned = {"labels": {state_label(KEY): "Sync"}, "finalizers": [syncer_finalizer(KEY)]}
    world.add(DEPLOYMENTS, "web", "default", metadata=assigned)
    world.disconnect(message="connection refused")
    world.clock.step(60)
    begin_deletion(world)
    assert world.reconcile() == pytest.approx(600.0)
    assert "cannot be reached: connection refused" in world.message("Deleting")
    assert world.up.names("serviceaccounts") != []
    world.clock.step(599)
    assert world.reconcile() == pytest.approx(2.0)
    world.take()

    world.clock.step(1)
    world.reconcile()
    assert not world.exists()
    web = world.up.objects[world.path(DEPLOYMENTS, "web", "default")]["metadata"]
    assert web["finalizers"] == []
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_a_deletion_is_as_old_as_the_moment_in_which_it_was_seen(world: World) -> None:
    """The server's clock is an hour behind: that forces nothing."""
    world.make_ready()
    world.disconnect(message="connection refused")
    world.clock.jump(-3600)
    world.delete_target()
    world.clock.jump(3600)
    world.reconcile()
    assert world.reconcile() == pytest.approx(600.0)
    assert world.exists()


def test_a_cluster_that_refuses_holds_the_target_until_force_time_and_says_so(
    world: World,
) -> None:
    world.make_ready()
    begin_deletion(world)
    world.down.errors["DELETE"] = Forbidden("deployments is forbidden")
    assert world.reconcile() == pytest.approx(2.0)
    assert world.message("Deleting") == (
        "Still to be removed: what is on the cluster, which refuses: deployments is forbidden"
    )
    world.clock.step(600)
    world.take()
    world.reconcile()
    assert not world.exists()
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_a_workspace_that_refuses_is_told_what_to_accept_until_force_time(world: World) -> None:
    world.make_ready()
    begin_deletion(world)
    details = {"kind": "serviceaccounts", "name": "x"}
    world.up.errors["/serviceaccounts/"] = Forbidden("not for you", details=details)
    world.hints["root", "serviceaccounts"] = "accept the claim"
    with pytest.raises(Forbidden):
        world.reconcile()
    assert world.message("Deleting") == (
        "Still to be removed: what the workspace has: not for you; accept the claim"
    )
    world.clock.step(600)
    world.take()
    world.reconcile()
    assert not world.exists()
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_a_kind_that_the_workspace_does_not_have_holds_up_nothing(world: World) -> None:
    world.make_ready()
    begin_deletion(world)
    world.up.unserved.add("services")
    world.up.errors["GET /api/v1/services"] = Forbidden("not claimed")
    delete_until_gone(world)


@pytest.mark.parametrize("error", [ServiceUnavailable("later"), TransportError("not JSON")])
def test_a_cluster_that_is_busy_now_and_then_is_waited_for(world: World, error: Exception) -> None:
    world.make_ready()
    add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    begin_deletion(world)
    world.down.errors["DELETE"] = error
    world.reconcile()
    assert world.message("Deleting").endswith(f"which is busy: {error}")
    world.clock.step(700)
    world.down.errors.clear()
    world.reconcile()
    world.down.errors["DELETE"] = error
    world.reconcile()
    assert world.exists()
    world.down.errors.clear()
    delete_until_gone(world)
    assert world.down.objects == {}


@pytest.mark.parametrize("error", [ServiceUnavailable("later"), TransportError("not JSON")])
def test_a_cluster_that_was_busy_for_all_of_the_force_time_is_given_up(
    world: World, error: Exception
) -> None:
    world.make_ready()
    world.clock.step(700)
    begin_deletion(world)
    world.down.errors["DELETE"] = error
    world.reconcile()
    world.clock.step(599)
    world.reconcile()
    assert world.exists()
    world.take()
    world.clock.step(1)
    world.reconcile()
    assert not world.exists()
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_how_long_a_cluster_was_busy_is_dropped_with_its_logical_cluster(world: World) -> None:
    world.make_ready()
    begin_deletion(world)
    world.down.errors["DELETE"] = ServiceUnavailable("later")
    world.reconcile()
    world.reconciler.remove(lambda key: key.startswith("root|"))
    world.clock.step(700)
    world.reconcile()
    assert world.exists()


def test_a_cluster_that_comes_back_before_force_time_is_cleaned(world: World) -> None:
    world.make_ready()
    world.disconnect()
    begin_deletion(world)
    world.reconcile()
    world.connect()
    delete_until_gone(world)
    assert world.down.objects == {}


def test_a_target_that_was_never_deployed_goes_at_once(world: World) -> None:
    world.add_target(cluster="east")
    world.reconcile()
    world.reconcile()
    begin_deletion(world)
    world.reconcile()
    assert not world.exists()


def test_a_syncer_whose_identity_went_first_is_not_left_behind_without_a_word(
    world: World,
) -> None:
    """As when a whole workspace is deleted: kubeconfig and identity go before the target."""
    world.make_ready()
    begin_deletion(world)
    for path in [path for path in world.up.objects if "/synctargets/" not in path]:
        del world.up.objects[path]
    world.disconnect()
    world.reconcile()
    assert "which cannot be reached" in world.message("Deleting")
    world.add_secret()
    world.reconcile()
    world.connect()
    delete_until_gone(world)
    assert world.down.names("deployments") == []


def test_a_target_without_our_finalizer_is_left_to_others(world: World) -> None:
    world.add_target()
    world.delete_target()
    world.take()
    assert world.reconcile() is None
    assert world.up.calls == []


def test_an_external_target_strips_its_marks_upstream(world: World) -> None:
    """Decision 5."""
    world.add_target(kcpCluster="root:test")
    world.reconcile()
    world.add(NAMESPACES, "shop", metadata={"labels": {state_label(KEY): "Sync"}})
    begin_deletion(world)
    world.reconcile()
    assert not world.exists()
    assert world.up.objects[world.path(NAMESPACES, "shop")]["metadata"]["labels"] == {}


def test_an_external_target_goes_at_once_though_its_syncer_has_an_identity(world: World) -> None:
    """`kcpctl workload sync` makes one; there will never be a cluster to reach."""
    world.add_target(kcpCluster="root:test")
    world.reconcile()
    target = world.target()
    inputs = syncer_inputs(target, "root", world.options, world.client)
    make_identity(world.client, target, inputs, "kcpctl-system")
    begin_deletion(world)
    world.reconcile()
    assert not world.exists()
    assert world.up.names("serviceaccounts") == []
    assert world.recorder.take() == ["Warning OrphanedDownstream", "Normal Deleted"]


def test_a_syncers_namespace_that_others_use_is_let_go_of(world: World) -> None:
    """Two SyncTargets may share deployment.namespace; the one that made it may go first."""
    world.add_secret()
    world.add_target(cluster="east", cells={"a": "b"}, deployment={"namespace": "shared"})
    for _ in range(2):
        world.reconcile()
    world.connect()
    world.reconcile()
    other = world.add_downstream(DEPLOYMENTS, "another-syncer", "shared")
    begin_deletion(world)
    delete_until_gone(world)
    namespace = world.down.objects["/api/v1/namespaces/shared"]
    assert namespace["metadata"]["labels"] == {}
    assert set(world.down.objects) == {other, "/api/v1/namespaces/shared"}


def test_a_running_pod_of_the_syncer_holds_the_identity(world: World) -> None:
    world.make_ready()
    uid = world.target().metadata.uid
    pod = world.add_downstream(
        PODS, "syncer-1", "elsewhere", metadata={"labels": {"workload.kcp.io/synctarget-uid": uid}}
    )
    begin_deletion(world)
    for _ in range(3):
        world.reconcile()
    assert world.message("Deleting") == "Still to be removed: pods syncer-1"
    assert world.up.names("serviceaccounts") != []
    del world.down.objects[pod]
    delete_until_gone(world)


@pytest.mark.parametrize("number", range(40))
def test_a_pass_that_is_cut_off_anywhere_is_simply_run_again(world: World, number: int) -> None:
    """A crash between any two calls of the sequence: every point, enumerated."""
    world.make_ready()
    add_workload_namespace(world, "kcp-1", world.target().metadata.uid)
    assigned = {"labels": {state_label(KEY): "Sync"}, "finalizers": [syncer_finalizer(KEY)]}
    world.add(DEPLOYMENTS, "web", "default", metadata=assigned)
    begin_deletion(world)
    world.cut_off_call(number)
    for _ in range(12):
        if not world.exists():
            break
        try:
            world.reconcile()
            world.let_leave()
        except ServiceUnavailable:
            world.reconciler = world.new_reconciler()
    assert not world.exists()
    assert world.down.objects == {}
    assert world.up.names("serviceaccounts") == []
    web = world.up.objects[world.path(DEPLOYMENTS, "web", "default")]["metadata"]
    assert web["finalizers"] == []
    assert world.recorder.take().count("Normal Deleted") == 1
