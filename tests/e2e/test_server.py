"""The controllers on a server by its kubeconfig, with a cluster whose Deployments run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.main import main
from kcpctl.client import AsyncClient, Client, ResourceClient, load_config
from kcpctl.errors import AlreadyExists, NotFound
from kcpctl.runtime import Child, IOLoop
from kcpctl.testing import ControlPlane, eventually

CONFIG = Path(__file__).parents[2] / "config"
LABELS = {"app": "web"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
    },
}
SYNC_TARGET = {
    "apiVersion": SYNCTARGETS.api_version,
    "kind": "SyncTarget",
    "metadata": {"name": "east"},
    "spec": {"cluster": "east", "cells": {"location": "east"}},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane(workspaces=False, kubelet=True) as running:
        yield running


def by_path(kubeconfig: Path, path: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]
    server["server"] = server["server"].rsplit("/clusters/", 1)[0] + f"/clusters/{path}"
    return config


SERVERS = ("a workspace by its path", "an ordinary server", "one called prod", "as deployed")


@pytest.fixture(params=SERVERS)
def upstream(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path: Path
) -> Iterator[tuple[Path, list[str]]]:
    """The kubeconfig of an upstream server, and the flags that belong to it."""
    path = tmp_path / "upstream"
    if request.param == "as deployed" and not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    if request.param == "a workspace by its path":
        control_plane.workspace("by-path")
        path.write_text(yaml.safe_dump(by_path(control_plane.kubeconfig, "root:by-path")))
        yield path, ["--install-crds"]
        return
    with ControlPlane(workspaces=False) as plain:
        path.write_text(plain.kubeconfig.read_text())
        if request.param == "as deployed":
            yield path, ["--leader-elect", f"--kubeconfig={as_deployed(plain, tmp_path)}"]
        else:
            name = ["--cluster-name=prod"] if request.param == "one called prod" else []
            yield path, ["--install-crds", *name]


def as_deployed(plain: ControlPlane, directory: Path) -> Path:
    """Apply config/default and return a kubeconfig of the identity that it gives controllers."""
    apply = ["kubectl", f"--kubeconfig={plain.kubeconfig}", "apply", "-k", str(CONFIG / "default")]
    subprocess.run(apply, check=True)
    token = plain.client.resource(SERVICE_ACCOUNTS).create(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        },
        namespace="kcpctl-system",
        subresource="token",
        name="kcpctl-controllers",
    )
    kubeconfig: dict[str, Any] = yaml.safe_load(plain.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token["status"]["token"]}
    path = directory / "as-deployed"
    path.write_text(yaml.safe_dump(kubeconfig))
    return path


@pytest.fixture
def client(upstream: tuple[Path, list[str]]) -> Iterator[Client]:
    with IOLoop("test-io") as loop:
        made = Client(AsyncClient.plain(load_config(upstream[0])), loop)
        yield made
        made.close()


@pytest.fixture
def controllers(upstream: tuple[Path, list[str]], tmp_path: Path) -> Iterator[Child]:
    kubeconfig, flags = upstream
    command = [sys.executable, "-m", "kcpctl", "run-controllers"]
    command += ["--kubeconfig", str(kubeconfig), "--syncer-image=kcpctl-syncer:local", *flags]
    command += ["--health-probe-bind-address=0", "--metrics-bind-address=0"]
    with (tmp_path / "log").open("wb") as output:
        child = Child(command, env=os.environ, output=output)
    yield child
    assert child.close() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def found_on_the_cluster(targets: ResourceClient[dict[str, Any]]) -> dict[str, Any]:
    """Return the status once the syncer has told of its cluster."""
    status: dict[str, Any] = targets.get("east")["status"]
    return status if "kubernetesVersion" in status and "nodeCount" in status else {}


def test_a_deployment_runs_on_the_cluster_and_leaves_it_again(
    client: Client,
    controllers: Child,
    cluster: ControlPlane,
    upstream: tuple[Path, list[str]],
) -> None:
    targets, deployments = client.resource(SYNCTARGETS), client.resource(DEPLOYMENTS)
    eventually(lambda: client.has_resource(SYNCTARGETS))
    with suppress(AlreadyExists):
        client.resource(NAMESPACES).create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kcpctl-system"}}
        )
    client.resource(SECRETS).create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "east-kubeconfig", "namespace": "kcpctl-system"},
            "stringData": {"kubeconfig": cluster.kubeconfig.read_text()},
        }
    )
    targets.create(SYNC_TARGET)
    deployments.create(DEPLOYMENT)
    eventually(lambda: targets.get("east").get("status", {}).get("phase") == "Ready")
    assign = ["deploy/web", "--target", "east", "--kubeconfig", str(upstream[0])]
    assert main(["workload", "assign", *assign]) == 0

    def available() -> int:
        found = deployments.get("web", namespace="default")
        return int(found.get("status", {}).get("availableReplicas", 0))

    assert eventually(available) == 1
    status = eventually(lambda: found_on_the_cluster(targets))
    assert status["nodeCount"] == 1
    assert status["capacity"].keys() >= {"cpu", "memory", "pods"}
    targets.delete("east")

    def gone() -> bool:
        try:
            targets.get("east")
        except NotFound:
            return True
        return False

    eventually(gone)
    assert not deployments.get("web", namespace="default")["metadata"].get("finalizers")
    left = {item["metadata"]["name"] for item in cluster.client.resource(NAMESPACES).list().items}
    assert not [name for name in left if name.startswith("kcp-")]


@pytest.mark.parametrize("upstream", ["as deployed"], indirect=True)
def test_a_registered_cluster_becomes_a_sync_target_and_goes_with_it(
    client: Client, controllers: Child, cluster: ControlPlane
) -> None:
    registrations = client.resource(CLUSTER_REGISTRATIONS)
    targets = client.resource(SYNCTARGETS)
    client.resource(SECRETS).create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "east", "namespace": "kcpctl-system"},
            "stringData": {"kubeconfig": cluster.kubeconfig.read_text()},
        }
    )
    registrations.create(
        {
            "apiVersion": CLUSTER_REGISTRATIONS.api_version,
            "kind": CLUSTER_REGISTRATIONS.kind,
            "metadata": {"name": "east"},
            "spec": {
                "location": "eu",
                "kubeconfigSecret": {"name": "east"},
                "createSyncTarget": True,
            },
        }
    )

    def phase_of(client: ResourceClient[dict[str, Any]], name: str) -> str:
        return str(client.get(name).get("status", {}).get("phase"))

    eventually(lambda: phase_of(registrations, "east") == "Ready")
    eventually(lambda: phase_of(targets, "synctarget-east") == "Ready")
    status = registrations.get("east")["status"]
    assert status["capabilities"]["nodeCount"] == 1
    assert "deployments.apps" in status["capabilities"]["availableResources"]
    assert status["capacity"]["cpu"]

    registrations.delete("east")

    eventually(lambda: not registrations.list().items)
    assert not targets.list().items
