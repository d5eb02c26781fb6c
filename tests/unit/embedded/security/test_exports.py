from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.kinds import EXPORT_KINDS
from kcpctl.embedded.security.exports import check_exports
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import UserInfo

World = Any
Json = dict[str, Any]
KINDS = {info.plural: info for info in EXPORT_KINDS}
NEEDS_IDENTITY = "identityHash is required for API types that are not built-in"


class Jane:
    """A user of the workspace ``tenant``, beside ``provider`` which exports widgets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._provider, self._tenant = world.workspace("provider"), world.workspace("tenant")
        export = {"metadata": {"name": "widgets"}, "spec": {}}
        world.registry.create(KINDS["apiexports"], self._provider, "", export)

    def may_bind(self) -> None:
        rule = {"verbs": ["bind"], "apiGroups": ["apis.kcp.io"], "resources": ["apiexports"]}
        role = {"metadata": {"name": "bind"}, "rules": [rule]}
        rbac = "rbac.authorization.k8s.io"
        self._world.create(rbac, "clusterroles", role, cluster=self._provider)
        jane = {"kind": "User", "name": "jane"}
        self._world.bind("bind", "bind", jane, cluster=self._provider)

    def refusal(self, plural: str, spec: Json) -> str:
        """Return why jane may not write an object, "" when she may."""
        where = (KINDS[plural], self._tenant, "")
        obj = {"metadata": {"name": "a"}, "spec": spec}
        try:
            check_exports(
                self._world.registry, self._world.authorizer, UserInfo("jane"), *where, obj
            )
        except StatusError as error:
            return error.message
        return ""


@pytest.fixture
def jane(workspaces: World) -> Jane:
    return Jane(workspaces)


def binding(path: str, name: str = "widgets") -> Json:
    return {"reference": {"export": {"path": path, "name": name}}}


def test_a_binding_needs_the_right_to_bind(jane: Jane) -> None:
    refusal = "unable to create APIBinding: no permission to bind to export root:provider:widgets"
    assert jane.refusal("apibindings", binding("root:provider")).endswith(refusal)
    jane.may_bind()
    assert jane.refusal("apibindings", binding("root:provider")) == ""


def test_a_slice_needs_the_right_to_bind(jane: Jane) -> None:
    spec = {"export": {"path": "root:provider", "name": "widgets"}}
    assert "unable to create APIExportEndpointSlice" in jane.refusal(
        "apiexportendpointslices", spec
    )
    jane.may_bind()
    assert jane.refusal("apiexportendpointslices", spec) == ""


def test_what_exists_elsewhere_is_not_given_away(jane: Jane) -> None:
    jane.may_bind()
    for path, name in (("root:provider", "lost"), ("root:nowhere", "widgets")):
        refusal = f"no permission to bind to export {path}:{name}"
        assert jane.refusal("apibindings", binding(path, name)).endswith(refusal)


def test_problems_are_a_list_but_those_of_exports(jane: Jane) -> None:
    claim = {"resource": "gadgets", "group": "", "verbs": ["get"]}
    assert jane.refusal("apiexports", {"permissionClaims": [claim, claim]}) == (
        'apiexports.apis.kcp.io "a" is forbidden: spec.permissionClaims[0].identityHash: Invalid '
        f'value: "": {NEEDS_IDENTITY}'
    )
    assert jane.refusal("apibindings", {"reference": {}}).endswith(
        "is forbidden: [spec.reference.export: Required value]"
    )
