from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.directory import Place
from kcpctl.embedded.http.export_access import ExportAccess
from kcpctl.embedded.http.export_paths import ExportPath
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import Attributes, Decision, UserInfo
from tests.unit.embedded.exports.conftest import World, world

__all__ = ["world"]

Json = dict[str, Any]
JANE = UserInfo("jane")
MASTER = UserInfo("admin", groups=("system:masters",))
CLAIM: Json = {"resource": "secrets", "verbs": ["get"]}


class Rules:
    """An authorizer that allows what it is told to, and notes what it was asked."""

    def __init__(self, *verbs: str) -> None:
        self.verbs = set(verbs)
        self.asked: list[Attributes] = []

    def authorize(self, user: UserInfo, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(attributes.verb in self.verbs)


class Door:
    """One export's virtual workspace."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = Rules("access", "get", "list", "update")
        self.access = ExportAccess(self.rules, world.registry.exports)
        world.schema()
        world.export(permissionClaims=[CLAIM])

    def code(
        self,
        verb: str,
        group: str = "example.com",
        resource: str = "widgets",
        *,
        consumer: str = "",
        user: UserInfo = JANE,
        export: str = "widgets",
        cluster: str = "",
    ) -> int:
        place = Place(cluster or self.world.provider, export)
        path = ExportPath(place, consumer or self.world.tenant, "/")
        attributes = Attributes(verb, group=group, resource=resource, path="/apis")
        try:
            self.access.check(user, path, attributes, "/uri")
        except StatusError as error:
            return error.code
        return 200


@pytest.fixture
def door(world: World) -> Door:
    return Door(world)


def test_a_workspace_without_a_binding_is_closed(door: Door) -> None:
    assert door.code("get") == 403
    door.world.bind()
    assert door.code("get") == 200


def test_a_claim_that_is_not_accepted_is_closed(door: Door) -> None:
    door.world.bind()
    assert door.code("get", "", "secrets") == 403


def test_an_accepted_claim_allows_its_verbs(door: Door) -> None:
    accepted = {**CLAIM, "state": "Accepted", "selector": {"matchAll": True}}
    door.world.bind(claims=[accepted])
    assert door.code("get", "", "secrets") == 200
    assert door.code("list", "", "secrets") == 403


def test_bindings_can_be_read_only(door: Door) -> None:
    door.world.bind()
    assert door.code("list", "apis.kcp.io", "apibindings") == 200
    assert door.code("update", "apis.kcp.io", "apibindings") == 403


def test_all_consumers_and_paths_need_no_binding(door: Door) -> None:
    assert door.code("list", consumer="*") == 200
    assert door.code("get", "", "") == 200


def test_the_right_is_asked_for_in_the_workspace_of_the_export(door: Door) -> None:
    door.world.bind()
    assert door.code("delete") == 403
    access, content = door.rules.asked
    assert (access.verb, access.path, access.cluster) == ("access", "/", door.world.provider)
    assert content == Attributes(
        "delete",
        group="apis.kcp.io",
        version="v1alpha1",
        resource="apiexports",
        subresource="content",
        name="widgets",
        cluster=door.world.provider,
    )


def test_who_has_no_access_to_the_workspace_is_refused(door: Door) -> None:
    door.rules.verbs.remove("access")
    assert door.code("list", consumer="*") == 403
    own = UserInfo("system:serviceaccount:default:controllers")
    assert door.code("list", consumer="*", user=own) == 200


def test_masters_are_not_asked(door: Door) -> None:
    assert door.code("delete", user=MASTER) == 200
    assert door.rules.asked == []


def test_a_missing_export_is_an_error_for_those_who_may(door: Door) -> None:
    assert door.code("list", consumer="*", export="lost") == 500
    assert door.code("list", export="lost") == 500
    assert door.code("delete", consumer="*", export="lost") == 403
    assert door.code("list", consumer="*", cluster="nowhere") == 403
    assert all(asked.cluster != "nowhere" for asked in door.rules.asked)
