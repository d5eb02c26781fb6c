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

BY_NAMESPACE = "spec.selector.namespaceSelector excludes it"
NO_KEY = "spec.selector.matchLabels[a b]: 'a b' cannot be the key of a label"


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


@pytest.mark.parametrize(
    ("spec", "obj", "warning"),
    [
        (
            {"supportedResourceTypes": ["deployments.apps"]},
            "cm/settings",
            "east does not take configmap/settings: its spec.supportedResourceTypes excludes it",
        ),
        ({"selector": {"matchLabels": {"app": "web"}}}, "cm/settings", ""),
        (
            {"selector": {"matchLabels": {"app": "shop"}}},
            "cm/settings",
            "east does not take configmap/settings: its spec.selector excludes it",
        ),
        (
            {"selector": {"namespaceSelector": {"matchLabels": {"a": "b"}}}},
            "cm/settings",
            "east does not take configmap/settings: its " + BY_NAMESPACE,
        ),
        (
            {"selector": {"namespaceSelector": {"matchLabels": {"a": "b"}}}},
            "ns/default",
            "east does not take namespace/default: its " + BY_NAMESPACE,
        ),
        (
            {"selector": {"matchLabels": {"a b": "c"}}},
            "cm/settings",
            f"east takes nothing until it is mended: {NO_KEY}",
        ),
    ],
)
def test_an_assignment_of_what_the_target_does_not_take_is_made_with_a_warning(
    workspace: Client,
    made: dict[str, Any],
    kubeconfig: Path,
    capsys: pytest.CaptureFixture[str],
    spec: dict[str, Any],
    obj: str,
    warning: str,
) -> None:
    workspace.resource(SYNCTARGETS).patch("east", {"spec": spec})
    flags = [obj, "--target=east", f"--kubeconfig={kubeconfig}"]
    assert main(["workload", "assign", *flags]) == 0
    assert capsys.readouterr().err == (f"warning: {warning}\n" if warning else "")
    assert main(["workload", "unassign", *flags]) == 0
    assert capsys.readouterr().err == ""
