"""The token of a workspace that is reached through an export."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import SECRETS
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
    assert PATH not in world.up.objects
