"""Each test here runs against every API server at hand: the embedded one always, a real one where
``KUBEBUILDER_ASSETS`` names its binaries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from kcpctl.apis.resource import NAMESPACES
from kcpctl.client import AsyncClient, Client, load_config
from kcpctl.runtime import IOLoop
from kcpctl.testing import ControlPlane
from kcpctl.testing.real import RealCluster, missing_binaries

_numbers = count(1)


SERVERS = ["embedded"]
if not missing_binaries():
    SERVERS.append("real")


@pytest.fixture(scope="session", params=SERVERS)
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    if request.param == "embedded":
        with ControlPlane(workspaces=False) as server:
            yield server.kubeconfig
        return
    with RealCluster() as cluster:
        yield cluster.kubeconfig


@pytest.fixture(scope="session")
def client(kubeconfig: Path) -> Iterator[Client]:
    with IOLoop("contract-io") as loop:
        made = Client(AsyncClient.plain(load_config(kubeconfig)), loop)
        yield made
        made.close()


@pytest.fixture
def namespace(client: Client) -> str:
    name = f"contract-{next(_numbers)}"
    client.resource(NAMESPACES).create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name
