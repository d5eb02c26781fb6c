"""A SyncTarget whose credentials lead to another cluster than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kcpctl.apis.resource import NAMESPACES
from kcpctl.errors import Forbidden
from kcpctl.reconcilers.synctarget.manifests import CLUSTER_UID_ANNOTATION

if TYPE_CHECKING:
    from kcpctl.apis.meta import Unstructured
    from tests.unit.reconcilers.conftest import World


def be_cluster(world: World, uid: str) -> None:
    """Let the cluster behind the connection be this one from now on, with what was there."""
    world.add_downstream(NAMESPACES, "kube-system", metadata={"uid": uid})


def reconnect(world: World) -> None:
    """Let the connection be lost and found again."""
    world.disconnect()
    world.reconcile()
    world.connect()
    world.take()
    world.up.writes()
    world.reconcile()


def account(world: World) -> Unstructured:
    (found,) = (obj for path, obj in world.up.objects.items() if "/serviceaccounts/" in path)
    return found


def test_the_cluster_that_tokens_were_given_to_is_written_down(world: World) -> None:
    be_cluster(world, "one")
    world.make_ready()
    assert account(world)["metadata"]["annotations"] == {CLUSTER_UID_ANNOTATION: "one"}


def test_on_another_cluster_the_syncer_gets_another_identity(world: World) -> None:
    be_cluster(world, "one")
    world.make_ready()
    before = account(world)["metadata"]["uid"]
    for path in [path for path in world.down.objects if not path.endswith("kube-system")]:
        del world.down.objects[path]
    be_cluster(world, "two")
    reconnect(world)
    after = account(world)["metadata"]
    assert after["uid"] != before
    assert after["annotations"] == {CLUSTER_UID_ANNOTATION: "two"}
    assert "Warning OrphanedDownstream" in world.recorder.take()


def test_back_on_the_first_one_its_dead_token_is_replaced(world: World) -> None:
    """The syncer there is as it was left: rendered as it should be, but locked out."""
    be_cluster(world, "one")
    world.make_ready()
    account(world)["metadata"]["annotations"][CLUSTER_UID_ANNOTATION] = "two"
    before = account(world)["metadata"]["uid"]
    reconnect(world)
    assert account(world)["metadata"]["uid"] != before
    assert account(world)["metadata"]["annotations"] == {CLUSTER_UID_ANNOTATION: "one"}


def test_the_same_cluster_again_costs_no_write(world: World) -> None:
    be_cluster(world, "one")
    world.make_ready()
    world.down.writes()
    reconnect(world)
    assert [call for call in world.up.writes() if "/synctargets/" not in call] == []
    assert world.down.writes() == []


def test_an_identity_that_somebody_deleted_is_made_again(world: World) -> None:
    world.make_ready()
    (path,) = (path for path in world.up.objects if "/serviceaccounts/" in path)
    del world.up.objects[path]
    reconnect(world)
    assert path in world.up.objects


def test_a_cluster_that_may_not_be_told_apart_locks_nobody_out(world: World) -> None:
    be_cluster(world, "one")
    world.make_ready()
    before = account(world)["metadata"]["uid"]
    world.down.errors["GET /api/v1/namespaces/kube-system"] = Forbidden("no")
    reconnect(world)
    assert account(world)["metadata"]["uid"] == before


def test_a_crash_while_it_moves_loses_no_trace_of_it(world: World) -> None:
    """Deletion looks for what is on the cluster though the account is missing."""
    world.make_ready()
    (path,) = (path for path in world.up.objects if "/serviceaccounts/" in path)
    del world.up.objects[path]
    world.delete_target()
    world.reconcile()
    world.reconcile()
    assert world.condition("Deleting") == "True ResourceRemaining"
    assert "deployments" in world.message("Deleting")
