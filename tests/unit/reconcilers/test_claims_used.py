"""The claims are what the controllers use: a whole life is recorded and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kcpctl.apis.export import CLAIMS
from kcpctl.apis.naming import state_label, sync_target_key
from kcpctl.apis.resource import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    SECRETS,
    SERVICES,
)
from kcpctl.errors import NotFound
from kcpctl.reconcilers.synctarget.token_secret import secret_token
from kcpctl.runtime import format_time
from kcpctl.testing.clock import FakeClock

if TYPE_CHECKING:
    import pytest

    from tests.unit.reconcilers.conftest import World

Right = tuple[str, str]
OWN_KINDS = {"synctargets", "clusterregistrations"}
# What a kcp has not: nothing of it is asked for unless somebody exports it.
FOREIGN_KINDS = {SERVICES.plural, DEPLOYMENTS.plural}
VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
ELSEWHERE: set[Right] = {
    # The informer of Secrets.
    ("list", SECRETS.plural),
    ("watch", SECRETS.plural),
    # The event recorder: a series is patched.
    ("create", EVENTS.plural),
    ("patch", EVENTS.plural),
    # References to other workspaces (tests/integration/test_cross_workspace.py).
    ("get", "logicalclusters"),
    ("create", "subjectaccessreviews"),
}


def right_of(line: str) -> Right | None:
    """Return verb and resource of a recorded request, None for discovery."""
    method, _, path = line.partition(" ")
    parts = path.removeprefix("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    if not rest:
        return None
    verb = VERBS.get(method) or ("list" if len(rest) == 1 else "get")
    return verb, rest[0]


def live(world: World) -> set[Right]:
    """Let a SyncTarget become Ready, be drained and be deleted; return what that took upstream."""
    used: set[Right] = set()

    def note() -> None:
        used.update(right for line, _ in world.up.bodies if (right := right_of(line)))

    forget: Callable[[], None] = world.take

    def take() -> None:
        note()
        forget()

    world.take = take  # type: ignore[method-assign]
    world.make_ready()
    key = sync_target_key("root", "east")
    marked: dict[str, Any] = {"metadata": {"labels": {state_label(key): "Sync"}}}
    world.add(NAMESPACES, "web", **marked)
    for resource in (CONFIG_MAPS, SECRETS):
        world.add(resource, "web", "web", **marked)
    world.change_spec(unschedulable=True, evictAfter=format_time(world.clock.time()))
    world.reconcile()
    world.delete_target()
    for _ in range(10):
        world.reconcile()
        world.let_leave()
        if not world.exists():
            break
    assert not world.exists()
    note()
    return used


def test_the_claims_are_what_a_whole_life_of_a_target_takes_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.up.errors["/token"] = NotFound("no TokenRequests through an export")
    world.up.unserved.update(FOREIGN_KINDS)
    for plural in FOREIGN_KINDS:
        world.up.errors[f"/{plural}"] = NotFound("no such kind")
    monkeypatch.setattr(
        "kcpctl.reconcilers.synctarget.installation.secret_token",
        lambda client, inputs, namespace, _: secret_token(
            client, inputs, namespace, _Filling(world)
        ),
    )

    used = live(world)

    claimed = {(verb, claim.resource) for claim in CLAIMS for verb in claim.verbs}
    asked = {right for right in used if right[1] not in OWN_KINDS | FOREIGN_KINDS}
    # A token that is not there is asked for on the account; a kcp answers 404 whatever is claimed.
    asked.discard(("create", "serviceaccounts"))
    # To apply is to patch, and to create what is not there.
    asked |= {("create", resource) for verb, resource in asked if verb == "patch"} & claimed
    assert asked | ELSEWHERE == claimed


class _Filling(FakeClock):
    """A clock while which sleeps a server fills the Secrets that ask for a token."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def sleep(self, seconds: float) -> None:
        self.step(seconds)
        for path, obj in list(self._world.up.objects.items()):
            if obj.get("type") == "kubernetes.io/service-account-token":
                self._world.up.put(path, {**obj, "data": {"token": "dA=="}})
