"""The library example against the embedded control plane, and a real server if one is at hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.resource import CRDS, EVENTS, Resource
from kcpctl.client import AsyncClient, Client, load_config
from kcpctl.runtime import IOLoop
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.real import RealCluster, missing_binaries

EXAMPLES = Path(__file__).parents[2] / "examples"
GREETINGS = Resource("example.com", "v1", "greetings", "Greeting")


@pytest.fixture(params=["embedded"] if missing_binaries() else ["embedded", "real"])
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "real":
        with RealCluster() as cluster:
            yield cluster.kubeconfig
        return
    control_plane: ControlPlane = request.getfixturevalue("control_plane")
    workspace = control_plane.workspace()
    config: dict[str, Any] = yaml.safe_load(control_plane.kubeconfig.read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = workspace.url
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    yield file


@pytest.fixture
def client(kubeconfig: Path) -> Iterator[Client]:
    with IOLoop("test-io") as loop:
        made = Client(AsyncClient.plain(load_config(kubeconfig)), loop)
        try:
            crd = yaml.safe_load((EXAMPLES / "greetings_crd.yaml").read_text())
            made.resource(CRDS).create(crd)
            eventually(lambda: made.has_resource(GREETINGS))
            yield made
        finally:
            made.close()


@pytest.fixture
def controller(kubeconfig: Path, client: Client) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(EXAMPLES / "my_controller.py")]
    with subprocess.Popen(command, env={**os.environ, "KUBECONFIG": str(kubeconfig)}) as process:
        yield process
        process.kill()


def greet(client: Client, name: str, to: str) -> None:
    client.resource(GREETINGS).create(
        {
            "apiVersion": GREETINGS.api_version,
            "kind": GREETINGS.kind,
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"to": to},
        }
    )


def answer(client: Client, name: str) -> str:
    greeting = client.resource(GREETINGS).get(name, namespace="default")
    return str(greeting.get("status", {}).get("answer", ""))


def test_greetings_are_answered_now_and_when_they_change(
    client: Client, controller: subprocess.Popen[bytes]
) -> None:
    greet(client, "first", "world")
    assert eventually(lambda: answer(client, "first")) == "Hello, world!"

    def notes() -> list[str]:
        return [
            event["note"]
            for event in client.resource(EVENTS).list(namespace="default")
            if event["reportingController"] == "greeter"
        ]

    assert eventually(notes) == ["Hello, world!"]
    client.resource(GREETINGS).patch("first", {"spec": {"to": "moon"}}, namespace="default")
    eventually(lambda: answer(client, "first") == "Hello, moon!")
    client.resource(GREETINGS).delete("first", namespace="default")
    greet(client, "second", "sun")
    assert eventually(lambda: answer(client, "second")) == "Hello, sun!"
    controller.send_signal(signal.SIGINT)
    assert controller.wait(30) == 0
