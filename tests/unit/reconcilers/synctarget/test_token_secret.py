"""The token of a workspace that is reached through an export."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import LOGICAL_CLUSTERS, SECRETS
from kcpctl.errors import NotFound, ServiceUnavailable
from kcpctl.reconcilers.synctarget.installation import with_token
from kcpctl.reconcilers.synctarget.manifests import SyncerInputs
from kcpctl.runtime import format_time
from kcpctl.testing.clock import FakeClock

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

INPUTS = SyncerInputs(
    id="kcp-syncer-east",
    name="east",
    uid="u1",
    cluster="root",
    namespace="kcp-syncer-east",
    image="x",
    server="https://x",
)
PATH = SECRETS.path(namespace="kcpctl-system", name="kcp-syncer-east-token")


class Filling(FakeClock):
    """A clock while which sleeps a server fills the Secret, after ``sleeps`` of them."""

    def __init__(self, world: World, sleeps: int) -> None:
        super().__init__()
        self._world = world
        self._left = sleeps

    def sleep(self, seconds: float) -> None:
        self.step(seconds)
        self._left -= 1
        if self._left == 0:
            found: Unstructured = self._world.up.objects[PATH]
            token = base64.b64encode(b"never-ends").decode()
            self._world.up.put(PATH, {**found, "data": {"token": token}})


@pytest.fixture
def exported(world: World) -> World:
    """A workspace that says of every account that it is not there, when asked for a token."""
    world.up.errors["/token"] = NotFound('serviceaccounts "kcp-syncer-east" not found')
    return world


def test_the_token_is_the_one_that_the_server_puts_into_a_secret(exported: World) -> None:
    clock = Filling(exported, sleeps=2)
    inputs, life = with_token(exported.client, INPUTS, "kcpctl-system", seconds=1000, clock=clock)
    assert inputs.token == "never-ends"
    assert inputs.token_secret_uid == exported.up.objects[PATH]["metadata"]["uid"]
    assert (life, inputs.token_renew_at) == (1000.0, format_time(clock.time() + 800))
    made = exported.up.objects[PATH]
    assert made["type"] == "kubernetes.io/service-account-token"
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/service-account.name": "kcp-syncer-east"
    }


def test_a_secret_that_stays_empty_is_waited_for_later(exported: World) -> None:
    with pytest.raises(ServiceUnavailable, match="kcp-syncer-east-token in the workspace has got"):
        with_token(
            exported.client,
            INPUTS,
            "kcpctl-system",
            seconds=1000,
            clock=Filling(exported, sleeps=1000),
        )


def test_where_there_are_token_requests_no_secret_is_made(world: World) -> None:
    accounts = "/api/v1/namespaces/kcpctl-system/serviceaccounts/kcp-syncer-east"
    world.up.put(accounts, {"metadata": {"name": "kcp-syncer-east"}})
    inputs, _ = with_token(world.client, INPUTS, "kcpctl-system", seconds=1000, clock=world.clock)
    assert inputs.token.startswith("token-")
    assert inputs.token_secret_uid == ""
    assert PATH not in world.up.objects


def fill_at_once(world: World) -> None:
    """Let the server fill such Secrets as soon as they are there, each with a token of its own."""
    put = world.up.put

    def fill(path: str, obj: Any) -> Unstructured:
        if obj.get("type") == "kubernetes.io/service-account-token":
            token = base64.b64encode(f"token-{world.up.version}".encode()).decode()
            found = world.up.objects.get(path, {})
            obj = {**obj, "data": found.get("data") or {"token": token}}
        return put(path, obj)

    world.up.put = fill  # type: ignore[method-assign]


def secret_downstream(world: World) -> Unstructured:
    [path] = [path for path in world.down.objects if "/secrets/" in path]
    return world.down.objects[path]


def tokens(world: World) -> str:
    [path] = [path for path in world.up.objects if path.endswith("-token")]
    return path


@pytest.fixture
def deployed(exported: World) -> World:
    fill_at_once(exported)
    exported.make_ready()
    return exported


def test_the_cluster_remembers_which_secret_the_token_is_of(deployed: World) -> None:
    uid = deployed.up.objects[tokens(deployed)]["metadata"]["uid"]
    marks = secret_downstream(deployed)["metadata"]["annotations"]
    assert marks["workload.kcp.io/token-secret-uid"] == uid


def test_as_long_as_its_secret_is_there_a_token_costs_no_request(deployed: World) -> None:
    deployed.reconcile()
    assert deployed.up.calls == deployed.down.calls == []


def _deleted(world: World) -> None:
    del world.up.objects[tokens(world)]


def _replaced(world: World) -> None:
    path = tokens(world)
    found = world.up.objects.pop(path)
    found["metadata"].pop("uid")
    world.up.put(path, {**found, "data": {}})


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("end", [_deleted, _replaced])
def test_a_token_whose_secret_was_deleted_is_replaced_at_once(
    deployed: World, end: Callable[[World], None], restarted: bool
) -> None:
    before = secret_downstream(deployed)["data"]
    end(deployed)
    if restarted:
        deployed.reconciler = deployed.new_reconciler()
    deployed.reconcile()
    assert secret_downstream(deployed)["data"] != before
    deployed.take()
    deployed.reconcile()
    assert deployed.up.calls == deployed.down.calls == []


def test_in_a_workspace_that_is_being_deleted_no_token_is_made_anew(workspaces: World) -> None:
    workspaces.up.errors["/token"] = NotFound("no token requests here")
    fill_at_once(workspaces)
    workspaces.make_ready()
    metadata = {"name": "cluster", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    where = "/clusters/root" + LOGICAL_CLUSTERS.path(name="cluster")
    workspaces.up.served[where] = {"kind": "LogicalCluster", "metadata": metadata}
    _deleted(workspaces)
    workspaces.reconcile()
    assert workspaces.up.writes() == workspaces.down.writes() == []
