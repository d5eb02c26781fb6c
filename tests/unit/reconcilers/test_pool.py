"""From credentials to a connection: what goes on being served, and what is dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.resource import LOGICAL_CLUSTERS, SECRETS
from kcpctl.errors import ServiceUnavailable

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

KEY = "root|east"
CLUSTER = "/clusters/root" + LOGICAL_CLUSTERS.path(name="cluster")


def lose_secret(world: World) -> None:
    del world.up.objects[world.path(SECRETS, "east-kubeconfig", "kcpctl-system")]


def end_workspace(world: World) -> None:
    metadata = {"name": "cluster", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    world.up.served[CLUSTER] = {"kind": "LogicalCluster", "metadata": metadata}


def is_served(world: World) -> bool:
    status = world.pool.status(KEY)
    return status is not None and status.connected


def test_who_takes_the_secret_away_ends_the_connection(workspaces: World) -> None:
    workspaces.make_ready()
    workspaces.add_path("root:tenant", "root")
    lose_secret(workspaces)
    workspaces.reconcile()
    assert not is_served(workspaces)


def test_a_secret_that_goes_with_its_workspace_leaves_the_connection(workspaces: World) -> None:
    workspaces.make_ready()
    end_workspace(workspaces)
    lose_secret(workspaces)
    workspaces.reconcile()
    assert is_served(workspaces)
    assert "does not exist" in workspaces.message("ClusterConnected")


def test_nobody_asks_about_the_workspace_while_the_secret_is_there(workspaces: World) -> None:
    workspaces.make_ready()
    workspaces.reconcile()
    assert not [call for call in workspaces.up.calls if "logicalclusters" in call]


def test_until_the_workspace_can_be_asked_about_nothing_is_dropped(workspaces: World) -> None:
    workspaces.make_ready()
    workspaces.up.errors["logicalclusters"] = ServiceUnavailable("starting")
    lose_secret(workspaces)
    with pytest.raises(ServiceUnavailable):
        workspaces.reconcile()
    assert is_served(workspaces)


def test_a_deleted_target_without_its_secret_is_cleaned_up_by_the_last_connection(
    world: World,
) -> None:
    world.make_ready()
    world.delete_target()
    lose_secret(world)
    for _ in range(10):
        world.reconcile()
    assert not world.exists()
    assert not [path for path in world.down.objects if "kcp-syncer-east" in path]
    assert world.recorder.take() == ["Normal Deleted"]


def _other_secret(world: World) -> None:
    world.change_spec(cluster="west")


def _rotating(world: World) -> None:
    status = world.pool.statuses[KEY]
    world.pool.set(KEY, status.state, status.reason, rotation="refused")


def _unused(world: World) -> None:
    world.change_spec(cluster=None, connection={})


@pytest.mark.parametrize("change", [_other_secret, _rotating, _unused])
def test_a_connection_that_is_not_of_the_missing_secret_is_never_used(
    world: World, change: Callable[[World], None]
) -> None:
    world.make_ready()
    world.delete_target()
    lose_secret(world)
    change(world)
    world.reconcile()
    world.reconcile()
    assert not is_served(world)


def test_other_credentials_count_although_the_target_is_being_deleted(world: World) -> None:
    world.make_ready()
    world.delete_target()
    world.add_secret(b"others")
    world.reconcile()
    world.reconcile()
    assert world.pool.kubeconfigs[KEY] == b"others"
