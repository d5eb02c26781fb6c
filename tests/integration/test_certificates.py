"""Certificates that are signed in a workspace, over real sockets."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS, SECRETS
from kcpctl.client import AsyncClient, Client
from kcpctl.errors import Forbidden
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.certificates import signing_request

RBAC = "rbac.authorization.k8s.io"


def make_admin(workspace: Client, user: str) -> None:
    workspace.resource(CLUSTER_ROLE_BINDINGS).create(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
        }
    )


def certified(plane: ControlPlane, workspace: Client, user: str, *groups: str) -> Client:
    """Have a certificate signed in a workspace; return a client of all of them that has it."""
    requests = workspace.resource(CERTIFICATE_SIGNING_REQUESTS)
    body, key = signing_request("login", user, *groups)
    made = requests.create(body)
    made["status"]["conditions"] = [{"type": "Approved", "status": "True"}]
    requests.update(made, subresource="approval")
    text = eventually(lambda: requests.get("login")["status"].get("certificate"))
    config = replace(plane.config, client_cert=base64.b64decode(text), client_key=key)
    return Client(AsyncClient.workspaces(config), plane.loop)


def test_who_may_approve_in_one_workspace_becomes_nobody_in_another(
    control_plane: ControlPlane,
) -> None:
    home, other = control_plane.workspace(), control_plane.workspace()
    for workspace in (home, other, control_plane.client):
        make_admin(workspace, "boss")
    boss = certified(control_plane, home, "boss", f"system:cluster:{other.cluster_name}")
    assert boss.cluster(home.cluster_name).resource(SECRETS).list() is not None
    for name in (other.cluster_name, "root", "*"):
        with pytest.raises(Forbidden, match='User "system:anonymous" cannot list'):
            boss.cluster(name).resource(SECRETS).list()
    boss.close()
    control_plane.client.resource(CLUSTER_ROLE_BINDINGS).delete("boss")
