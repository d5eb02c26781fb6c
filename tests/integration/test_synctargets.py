"""The public interface of SyncTargets over real sockets, and the example built on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.conditions import true
from kcpctl.apis.naming import state_label, sync_target_key
from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, SECRETS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client, WriteGate
from kcpctl.errors import Conflict, NotConnected, NotFound, NotLeading
from kcpctl.manager import Manager
from kcpctl.synctargets import SyncTargets
from kcpctl.testing import ControlPlane, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "quota_controller.py"


def add_target(client: Client, name: str = "east", **status: Any) -> None:
    targets = client.resource(SYNCTARGETS)
    spec = {"cluster": name, "cells": {"location": name}}
    targets.create(
        {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": SYNCTARGETS.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
    )
    if status:
        targets.patch(name, {"status": status}, subresource="status")


def add_credentials(client: Client, kubeconfig: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kcpctl-system"}}
    client.resource(NAMESPACES).create(namespace)
    client.resource(SECRETS).create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "east-kubeconfig", "namespace": "kcpctl-system"},
            "stringData": {"kubeconfig": kubeconfig},
        }
    )


READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}


class Rig:
    """A manager over all logical clusters, with the interface."""

    def __init__(self, plane: ControlPlane) -> None:
        self.manager = Manager(plane.all_clusters)
        self.targets = SyncTargets(self.manager, connections=True)
        self.heard: list[str] = []
        self.news = threading.Condition()
        self.leave = self.targets.subscribe(self.hear)
        self.manager.start()

    def hear(self, key: str) -> None:
        with self.news:
            self.heard.append(key)
            self.news.notify_all()


@pytest.fixture
def rig(control_plane: ControlPlane) -> Iterator[Rig]:
    rig = Rig(control_plane)
    yield rig
    rig.manager.stop()


def test_ready_ones_are_found_by_logical_cluster(rig: Rig, control_plane: ControlPlane) -> None:
    one, two = control_plane.workspace(), control_plane.workspace()
    for client in (one, two):
        add_target(client, "ready", **READY)
        add_target(client, "waiting")
    first, second = one.logical_cluster_name(), two.logical_cluster_name()

    eventually(lambda: f"{first}|ready" in rig.targets.ready(first))
    eventually(lambda: f"{second}|ready" in rig.targets.ready(second))

    assert rig.targets.ready(first) == [f"{first}|ready"]
    assert {f"{first}|ready", f"{second}|ready"} <= set(rig.targets.ready())


def test_changes_are_told_until_the_end_of_the_subscription(
    rig: Rig, control_plane: ControlPlane
) -> None:
    client = control_plane.workspace()
    cluster = client.logical_cluster_name()
    add_target(client, "first")
    eventually(lambda: f"{cluster}|first" in rig.heard)

    rig.leave()
    add_target(client, "second")
    eventually(lambda: rig.targets.informer.lister.cached(f"{cluster}|second"))

    assert f"{cluster}|second" not in rig.heard


def test_usage_is_written_back_and_nothing_else_is_touched(
    rig: Rig, control_plane: ControlPlane
) -> None:
    client = control_plane.workspace()
    key = f"{client.logical_cluster_name()}|east"
    add_target(client, **READY, phase="Ready", capacity={"cpu": "8"})
    eventually(lambda: rig.targets.get(key).status.phase)
    condition = true("ResourcesAvailable", "Available", "There is room")

    assert rig.targets.report(key, allocated={"cpu": "2"}, conditions=[condition])

    eventually(lambda: rig.targets.get(key).status.allocated)
    status = rig.targets.get(key).status
    assert status.allocated == {"cpu": "2"}
    assert status.capacity == {"cpu": "8"}
    assert [one.type for one in status.conditions] == ["Ready", "ResourcesAvailable"]
    assert not rig.targets.report(key, allocated={"cpu": "2"}, conditions=[condition])


def test_a_report_on_an_old_state_is_a_conflict(
    rig: Rig, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = control_plane.workspace()
    key = f"{client.logical_cluster_name()}|east"
    add_target(client, **READY)
    eventually(lambda: rig.targets.get(key).status.conditions)
    old = rig.targets.get(key)
    client.resource(SYNCTARGETS).patch("east", {"metadata": {"labels": {"a": "b"}}})
    monkeypatch.setattr(rig.targets, "get", lambda key: old)

    with pytest.raises(Conflict):
        rig.targets.report(key, allocated={"cpu": "2"})


def test_its_cluster_is_reached_when_the_credentials_are_there(
    rig: Rig, control_plane: ControlPlane, plain_cluster: ControlPlane
) -> None:
    client = control_plane.workspace()
    key = f"{client.logical_cluster_name()}|east"
    add_target(client)
    eventually(lambda: rig.targets.informer.lister.cached(key))
    with pytest.raises(NotConnected, match=r"Secret kcpctl-system/east-kubeconfig .* not exist"):
        rig.targets.connection(key)

    add_credentials(client, plain_cluster.kubeconfig.read_text())
    before = len(rig.heard)

    found = eventually(lambda: rig.targets.connection(key))

    assert found.resource(NAMESPACES).get("default")
    assert key in rig.heard[before:]
    (pool,) = rig.manager._pools
    assert pool.status(key)
    client.resource(SYNCTARGETS).delete("east")
    eventually(lambda: pool.status(key) is None)


def test_its_cluster_is_written_to_by_who_leads_alone(
    control_plane: ControlPlane, plain_cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = WriteGate()
    monkeypatch.setattr(Manager, "write_gate", gate)
    client = control_plane.workspace()
    key = f"{client.logical_cluster_name()}|east"
    add_credentials(client, plain_cluster.kubeconfig.read_text())
    add_target(client)
    rig = Rig(control_plane)
    try:
        found = eventually(lambda: rig.targets.connection(key))
        with pytest.raises(NotLeading):
            found.resource(NAMESPACES).delete("nothing")
    finally:
        rig.manager.stop()


def test_a_kubeconfig_that_is_no_use_is_no_connection(
    rig: Rig, control_plane: ControlPlane
) -> None:
    client = control_plane.workspace()
    key = f"{client.logical_cluster_name()}|east"
    add_credentials(client, "{nonsense")
    add_target(client)
    eventually(lambda: rig.targets.informer.lister.cached(key))

    def why_not() -> str:
        with pytest.raises(NotConnected) as caught:
            rig.targets.connection(key)
        return str(caught.value)

    eventually(lambda: "correct the kubeconfig there" in why_not())


def test_one_that_there_is_not_is_not_found(rig: Rig) -> None:
    with pytest.raises(NotFound, match="nobody"):
        rig.targets.connection("root|nobody")


# The example.


@pytest.fixture
def workspace_kubeconfig(control_plane: ControlPlane, tmp_path: Path) -> tuple[Client, Path]:
    workspace = control_plane.workspace()
    config: dict[str, Any] = yaml.safe_load(control_plane.kubeconfig.read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = workspace.url
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return workspace, file


def test_the_example_adds_up_what_is_assigned(workspace_kubeconfig: tuple[Client, Path]) -> None:
    client, kubeconfig = workspace_kubeconfig
    add_target(client, **READY, allocatable={"cpu": "4", "memory": "8Gi"})
    # What --cluster-name or the URL calls it, since the example has no name to go by.
    cluster = client.url.rpartition("/")[2]
    client.resource(DEPLOYMENTS).create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "web",
                "namespace": "default",
                "labels": {state_label(sync_target_key(cluster, "east")): "Sync"},
            },
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [
                            {
                                "name": "web",
                                "image": "nginx",
                                "resources": {"requests": {"cpu": "1250m", "memory": "1Gi"}},
                            }
                        ]
                    },
                },
            },
        }
    )
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    targets = client.resource(SYNCTARGETS)
    with subprocess.Popen([sys.executable, str(EXAMPLE)], env=environment) as process:
        try:
            status = eventually(
                lambda: (found := targets.get("east")["status"]).get("allocated") and found
            )
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert status["allocated"] == {"cpu": "3750m", "memory": "3Gi"}
    assert status["available"] == {"cpu": "250m", "memory": str(5 * 1024**3)}
    [crowded] = [one for one in status["conditions"] if one["type"] == "ResourcesAvailable"]
    assert (crowded["status"], crowded["reason"]) == ("False", "HighUtilization")
    assert crowded["message"].endswith("asked for of: cpu")
