"""The test helper itself: what other people's tests rely on."""

from __future__ import annotations

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES, WORKSPACES
from kcpctl.client import Client
from kcpctl.errors import NotFound
from kcpctl.testing import ControlPlane, eventually


def test_each_test_gets_a_workspace_of_its_own(control_plane: ControlPlane) -> None:
    one, other = control_plane.workspace(), control_plane.workspace()
    for client in (one, other):
        client.resource(CONFIG_MAPS).create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "same", "namespace": "default"},
            }
        )
    one.resource(CONFIG_MAPS).delete("same", namespace="default")
    assert other.resource(CONFIG_MAPS).get("same", namespace="default")
    with pytest.raises(NotFound):
        one.resource(CONFIG_MAPS).get("same", namespace="default")


def test_a_workspace_has_the_default_namespace(workspace: Client) -> None:
    assert workspace.resource(NAMESPACES).get("default")["status"]["phase"] == "Active"


def test_a_restart_keeps_the_address_and_loses_the_objects() -> None:
    with ControlPlane() as plane:
        before, pid = plane.config.server, plane.process.pid
        plane.workspace("gone")
        plane.restart()
        assert plane.config.server == before
        assert plane.process.pid != pid
        names = [
            item["metadata"]["name"] for item in plane.client.resource(WORKSPACES).list().items
        ]
        assert names == []


def test_it_ends_with_close() -> None:
    plane = ControlPlane(workspaces=False).start()
    process = plane.process
    assert plane.client.resource(NAMESPACES).list().items
    plane.close()
    eventually(lambda: not process.running)
    assert not process.directory.exists()
