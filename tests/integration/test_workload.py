"""``kcpctl workload``, as a person uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.naming import STATE_LABEL_PREFIX, sync_target_key
from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.main import main
from kcpctl.client import Client
from kcpctl.testing import ControlPlane


@pytest.fixture
def kubeconfig(control_plane: ControlPlane, workspace: Client, tmp_path: Path) -> Path:
    """A kubeconfig whose current context is the test's workspace."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = workspace.url
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def made(workspace: Client) -> dict[str, Any]:
    workspace.resource(SYNCTARGETS).create(
        {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": "SyncTarget",
            "metadata": {"name": "east"},
            "spec": {"kcpCluster": "root"},
        }
    )
    return workspace.resource(CONFIG_MAPS).create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default", "labels": {"app": "web"}},
        }
    )


def labels(workspace: Client) -> dict[str, str]:
    found = workspace.resource(CONFIG_MAPS).get("settings", namespace="default")
    return dict(found["metadata"]["labels"])


def test_assign_sets_the_state_label_and_unassign_takes_it_away(
    workspace: Client,
    made: dict[str, Any],
    kubeconfig: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = made["metadata"]["annotations"]["kcp.io/cluster"]
    label = STATE_LABEL_PREFIX + sync_target_key(cluster, "east")
    options = ["--target", "east", "--kubeconfig", str(kubeconfig)]
    assert main(["workload", "assign", "cm/settings", *options]) == 0
    assert labels(workspace) == {"app": "web", label: "Sync"}
    assert main(["workload", "assign", "cm/settings", *options]) == 0
    assert main(["workload", "unassign", "cm/settings", *options]) == 0
    assert labels(workspace) == {"app": "web"}
    assert capsys.readouterr().out.splitlines() == [
        "configmap/settings assigned to east",
        "configmap/settings assigned to east",
        "configmap/settings no longer assigned to east",
    ]


def test_an_unknown_target_names_the_server_and_the_way_out(
    workspace: Client, made: dict[str, Any], kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target", "north", "--kubeconfig", str(kubeconfig)]
    assert main(["workload", "assign", "cm/settings", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: there is no SyncTarget 'north' at {workspace.url}; ")
    assert "kubectl get synctargets" in error


def test_an_unknown_object_is_told(
    made: dict[str, Any], kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target", "east", "--kubeconfig", str(kubeconfig)]
    assert main(["workload", "assign", "cm/nothing", *options]) == 1
    assert 'configmaps "nothing" not found' in capsys.readouterr().err


def test_an_assignment_to_an_evicted_target_is_made_with_a_warning(
    workspace: Client,
    made: dict[str, Any],
    kubeconfig: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = {"type": "Schedulable", "status": "False", "reason": "Evicted", "message": "left"}
    east = workspace.resource(SYNCTARGETS).get("east")
    workspace.resource(SYNCTARGETS).update_status({**east, "status": {"conditions": [message]}})
    flags = ["cm/settings", "--target=east", f"--kubeconfig={kubeconfig}"]
    assert main(["workload", "assign", *flags]) == 0
    assert capsys.readouterr().err == "warning: east is Evicted: left\n"
    assert main(["workload", "unassign", *flags]) == 0
    assert capsys.readouterr().err == ""
