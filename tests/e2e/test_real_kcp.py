"""Two tenants of a kcp, served through an APIExport as docs/kcp.md says it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.convert import decode
from kcpctl.apis.export import binding
from kcpctl.apis.kcp import API_BINDINGS, APIBinding
from kcpctl.apis.naming import STATE_SYNC, state_label, sync_target_key
from kcpctl.apis.resource import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    WORKSPACES,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.export import install_export
from kcpctl.client import Client
from kcpctl.errors import NotFound
from kcpctl.runtime.process import Child
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.real_kcp import RealKcp, missing_kcp

# A real kcp takes its time to start, and to establish what is bound for the first time.
pytestmark = pytest.mark.timeout(400)

PROVIDER = "root:provider"
Kcp = ControlPlane | RealKcp
Json = dict[str, Any]


@pytest.fixture(scope="module", params=["embedded", "real"])
def kcp(request: pytest.FixtureRequest) -> Iterator[Kcp]:
    """A kcp with the provider's workspace."""
    if request.param == "real" and (missing := missing_kcp()):
        pytest.skip(missing)
    with RealKcp() if request.param == "real" else ControlPlane(bare=True) as started:
        install_export(started.workspace("provider"), "kcpctl")
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane(workspaces=False, kubelet=True) as running:
        yield running


@contextmanager
def running(log: Path, *command: str) -> Iterator[None]:
    with log.open("ab") as output:
        child = Child([sys.executable, "-m", "kcpctl", *command], env=os.environ, output=output)
    try:
        yield
        assert child.poll() is None, log.read_text()
    finally:
        child.close()


def kubeconfig_of(kcp: Kcp, path: Path, cluster: str = "", token: str = "") -> Path:
    """Write a kubeconfig of the server, or of one workspace; the admin's without a token."""
    config: Json = yaml.safe_load(kcp.kubeconfig.read_text())
    context = next(one for one in config["contexts"] if one["name"] == config["current-context"])
    chosen = context["context"]["cluster"]
    server = next(one for one in config["clusters"] if one["name"] == chosen)["cluster"]
    server["server"] = kcp.config.server + (f"/clusters/{cluster}" if cluster else "")
    if token:
        config["users"] = [{"name": context["context"]["user"], "user": {"token": token}}]
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def controllers(kcp: Kcp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The controllers, with the identity that the provider gives them and no other right."""
    directory = tmp_path_factory.mktemp("controllers")
    provider = kcp.client.cluster(PROVIDER)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = eventually(
        lambda: provider.resource(SERVICE_ACCOUNTS).create(
            request, namespace="kcpctl-system", subresource="token", name="kcpctl-controllers"
        )
    )
    kubeconfig = kubeconfig_of(kcp, directory / "kubeconfig", token=made["status"]["token"])
    with running(
        directory / "log",
        "run-controllers",
        f"--kubeconfig={kubeconfig}",
        f"--apiexport={PROVIDER}:kcpctl",
        "--leader-elect",
        "--syncer-image=kcpctl-syncer:local",
        "--health-probe-bind-address=0",
        "--metrics-bind-address=0",
    ):
        yield


def bind(tenant: Client, *, without: Sequence[str] = ()) -> None:
    """Bind the export, or answer its claims anew, and wait until it is Ready."""
    wanted = binding(PROVIDER)
    for claim in wanted["spec"]["permissionClaims"]:
        claim["state"] = "Rejected" if claim["resource"] in without else "Accepted"
    bindings = tenant.resource(API_BINDINGS)
    eventually(lambda: bindings.apply(wanted, field_manager="tenant", force=True))
    eventually(lambda: decode(bindings.get("kcpctl"), APIBinding).is_ready)


def target(tenant: Client, name: str, **spec: Any) -> Json:
    made = {"metadata": {"name": name}, "spec": {"kcpCluster": "root", **spec}}
    return eventually(lambda: tenant.resource(SYNCTARGETS).create(made))


def condition(tenant: Client, name: str, type_: str) -> Json:
    status = tenant.resource(SYNCTARGETS).get(name)["status"]
    return next(one for one in status["conditions"] if one["type"] == type_)


def is_ready(tenant: Client, name: str) -> Callable[[], bool]:
    return lambda: bool(condition(tenant, name, "Ready")["status"] == "True")


def is_gone(get: Callable[[], object]) -> Callable[[], bool]:
    def gone() -> bool:
        try:
            get()
        except NotFound:
            return True
        return False

    return gone


def add_kubeconfig(tenant: Client, cluster: ControlPlane) -> None:
    tenant.resource(NAMESPACES).create({"metadata": {"name": "kcpctl-system"}})
    kubeconfig = base64.b64encode(cluster.kubeconfig.read_bytes()).decode()
    metadata = {"name": "east-kubeconfig", "namespace": "kcpctl-system"}
    tenant.resource(SECRETS).create({"metadata": metadata, "data": {"kubeconfig": kubeconfig}})


def syncers(cluster: ControlPlane) -> list[str]:
    """Return the namespaces of syncers that are on the cluster."""
    namespaces = [one["metadata"]["name"] for one in cluster.client.resource(NAMESPACES).list()]
    return [name for name in namespaces if name.startswith("kcp-syncer-east")]


@pytest.mark.usefixtures("controllers")
def test_a_syncer_by_hand_works_for_a_tenant_and_unbinding_takes_all_away(
    kcp: Kcp, cluster: ControlPlane, tmp_path: Path
) -> None:
    tenant = kcp.workspace("external")
    bind(tenant)
    made = target(tenant, "west", deployment={"mode": "External"})
    up = kubeconfig_of(kcp, tmp_path / "up", cluster=tenant.cluster_name)
    with running(
        tmp_path / "syncer.log",
        "syncer",
        "--sync-target-name=west",
        f"--sync-target-uid={made['metadata']['uid']}",
        f"--from-kubeconfig={up}",
        f"--from-cluster={tenant.cluster_name}",
        f"--to-kubeconfig={cluster.kubeconfig}",
    ):
        eventually(is_ready(tenant, "west"))
        label = state_label(sync_target_key(tenant.cluster_name, "west"))
        metadata = {"name": "settings", "namespace": "default", "labels": {label: STATE_SYNC}}
        tenant.resource(CONFIG_MAPS).create({"metadata": metadata, "data": {"a": "b"}})
        copies = cluster.client.resource(CONFIG_MAPS)
        eventually(lambda: [one for one in copies.list() if one["metadata"]["name"] == "settings"])

        tenant.resource(API_BINDINGS).delete("kcpctl")
        bindings = tenant.resource(API_BINDINGS)
        eventually(is_gone(lambda: bindings.get("kcpctl")))
        left = tenant.resource(CONFIG_MAPS).get("settings", namespace="default")
        assert not left["metadata"].get("finalizers")


@pytest.mark.usefixtures("controllers")
def test_a_cluster_in_a_secret_gets_its_syncer_once_the_claim_is_accepted(
    kcp: Kcp, cluster: ControlPlane
) -> None:
    tenant = kcp.workspace("managed")
    bind(tenant, without=["secrets"])
    add_kubeconfig(tenant, cluster)
    target(tenant, "east", cluster="east", cells={"location": "east"})

    def told() -> bool:
        said: str = condition(tenant, "east", "ClusterConnected")["message"]
        return "claim on secrets" in said and "'root:managed'" in said

    eventually(told)
    bind(tenant)
    eventually(is_ready(tenant, "east"))

    roles = tenant.resource(CLUSTER_ROLES)
    [role] = [one for one in roles.list() if one["metadata"]["name"].startswith("kcp-syncer-east")]
    tenant.resource(SYNCTARGETS).delete("east")
    eventually(is_gone(lambda: tenant.resource(SYNCTARGETS).get("east")))
    assert is_gone(lambda: roles.get(role["metadata"]["name"]))()
    assert not syncers(cluster)


@pytest.mark.usefixtures("controllers")
def test_a_workspace_that_is_deleted_with_all_it_has_leaves_nothing_on_the_cluster(
    kcp: Kcp, cluster: ControlPlane
) -> None:
    tenant = kcp.workspace("leaving")
    bind(tenant)
    add_kubeconfig(tenant, cluster)
    target(tenant, "east", cluster="east", cells={"location": "east"})
    eventually(is_ready(tenant, "east"))

    workspaces = kcp.client.cluster("root").resource(WORKSPACES)
    workspaces.delete("leaving")
    eventually(is_gone(lambda: workspaces.get("leaving")))
    assert not syncers(cluster)
