"""What a provider and a tenant apply is taken, by the embedded server and by a real kcp."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kcpctl.apis import export
from kcpctl.apis.convert import decode
from kcpctl.apis.crds import all_crds
from kcpctl.apis.export import CLAIMS, binding, resource_schemas
from kcpctl.apis.kcp import (
    API_BINDINGS,
    API_EXPORT_ENDPOINT_SLICES,
    API_EXPORTS,
    API_RESOURCE_SCHEMAS,
    APIBinding,
    APIExport,
    APIExportEndpointSlice,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.export import install_export
from kcpctl.client import AsyncClient, Client, Impersonation
from kcpctl.errors import Invalid, KcpctlError
from kcpctl.logicalcluster import ClusterName
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.real_kcp import RealKcp, missing_kcp

CONFIG = Path(__file__).parents[2] / "config"
TARGET = {"spec": {"kcpCluster": "root", "deployment": {"mode": "External"}}}

Kcp = ControlPlane | RealKcp


@pytest.fixture(scope="module", params=["embedded", "real"])
def kcp(request: pytest.FixtureRequest) -> Iterator[Kcp]:
    """Whatever has workspaces without kcpctl's kinds."""
    if request.param == "real" and (missing := missing_kcp()):
        pytest.skip(missing)
    with RealKcp() if request.param == "real" else ControlPlane(bare=True) as started:
        yield started


def bound(tenant: Client, name: str = "kcpctl") -> APIBinding:
    found = decode(tenant.resource(API_BINDINGS).get(name), APIBinding)
    assert found.is_ready
    return found


def test_kubectl_applies_what_config_has_and_a_tenant_binds_it(kcp: Kcp) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")

    def apply(what: str, workspace: str) -> list[str]:
        server = f"{kcp.config.server}/clusters/{workspace}"
        command = ["kubectl", "--server", server, "apply", "-k", str(CONFIG / what)]
        env = {**os.environ, "KUBECONFIG": str(kcp.kubeconfig)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    provider, tenant = kcp.workspace("kcpctl"), kcp.workspace("kubectl-tenant")
    assert all(line.endswith(" created") for line in apply("kcp", "root:kcpctl"))
    changed = [line for line in apply("kcp", "root:kcpctl") if not line.endswith(" unchanged")]
    assert changed == []
    apply("kcp-tenant", "root:kubectl-tenant")

    found = eventually(lambda: bound(tenant))
    applied = eventually(lambda: bound(tenant).status.applied_permission_claims)
    assert {one.group_resource for one in applied} == {one.group_resource for one in CLAIMS}
    assert not [one for one in found.status.conditions if one.status == "False"]
    slices = provider.resource(API_EXPORT_ENDPOINT_SLICES)
    eventually(lambda: decode(slices.get("kcpctl"), APIExportEndpointSlice).urls)


def test_a_bound_workspace_has_the_kinds_with_their_rules(kcp: Kcp) -> None:
    provider, tenant = kcp.workspace("rules-provider"), kcp.workspace("rules-tenant")
    install_export(provider, "kcpctl")
    tenant.resource(API_BINDINGS).create(binding("root:rules-provider"))
    eventually(lambda: bound(tenant))
    targets = tenant.resource(SYNCTARGETS)
    eventually(lambda: targets.create({"metadata": {"name": "east"}, **TARGET}))
    both = {"cluster": "a", "clusterRef": {"name": "b"}}
    with pytest.raises(Invalid, match="two forms of the same"):
        targets.create({"metadata": {"name": "bad"}, "spec": {"kcpCluster": "root", **both}})


def test_installing_again_moves_the_export_to_new_schemas_and_keeps_the_old(
    kcp: Kcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = kcp.workspace("moving")
    install_export(provider, "mine")
    install_export(provider, "mine")
    before = {one["metadata"]["name"] for one in resource_schemas()}
    crds = copy.deepcopy(all_crds())
    crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] += " More."
    monkeypatch.setattr(export, "all_crds", lambda: crds)

    install_export(provider, "mine")

    now = {one["metadata"]["name"] for one in resource_schemas()}
    there = {one["metadata"]["name"] for one in provider.resource(API_RESOURCE_SCHEMAS).list()}
    assert there == before | now
    offered = provider.resource(API_EXPORTS).get("mine")
    assert {one["schema"] for one in offered["spec"]["resources"]} == now
    claims = decode(offered, APIExport).spec.permission_claims
    assert [one.group_resource for one in claims] == [one.group_resource for one in CLAIMS]


def test_whoever_may_not_is_told_the_place_and_the_way_out(kcp: Kcp) -> None:
    kcp.workspace("closed")
    nobody = Impersonation(user="nobody", groups=("system:authenticated",))
    config = replace(kcp.config, cluster=ClusterName("root:closed"), impersonate=nobody)
    stranger = Client(AsyncClient.plain(config), kcp.client.loop)
    try:
        with pytest.raises(KcpctlError, match=r"/clusters/root:closed.* an account that may"):
            install_export(stranger, "kcpctl")
    finally:
        stranger.close()
