"""The consumers of an APIExport, served through its virtual workspaces, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kcpctl.apis.export import binding
from kcpctl.apis.kcp import API_BINDINGS, ExportReference
from kcpctl.apis.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, LEASES
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.export import install_export
from kcpctl.cli.main import main
from kcpctl.client import AsyncClient, Client
from kcpctl.errors import NotFound
from kcpctl.logicalcluster import ClusterName
from kcpctl.runtime import SYSTEM_CLOCK, format_micro_time
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.real_kcp import RealKcp, missing_kcp

if TYPE_CHECKING:
    from tests.integration.conftest import Controllers, Site

PLACE: dict[str, Any] = {"cluster": "east", "cells": {"location": "east"}}
# The first binding of a kind takes a kcp 5 s.
BIND_SECONDS = 60.0
NUMBERS = count(1)

Kcp = ControlPlane | RealKcp


@pytest.fixture(scope="module", params=["embedded", "real"])
def kcp(request: pytest.FixtureRequest) -> Iterator[Kcp]:
    """Whatever has workspaces without kcpctl's kinds."""
    if request.param == "real" and (missing := missing_kcp()):
        pytest.skip(missing)
    with (
        RealKcp()
        if request.param == "real"
        else ControlPlane(bare=True, keeps_objects=True) as started
    ):
        yield started


class Export:
    """An APIExport in a workspace of its own, the controllers for it, and its tenants."""

    def __init__(
        self, kcp: Kcp, downstream: ControlPlane, directory: Path, stack: ExitStack
    ) -> None:
        self.kcp = kcp
        self.number = next(NUMBERS)
        self.path = f"root:provider-{self.number}"
        self.downstream = downstream
        self.directory = directory
        self.stack = stack
        install_export(kcp.workspace(self.path.removeprefix("root:")), "kcpctl")

    @cached_property
    def controllers(self) -> Controllers:
        """The controllers in this process, from the first time that a test asks for them."""
        from tests.integration.conftest import Controllers

        export = ExportReference(path=self.path, name="kcpctl")
        config = self.kcp.config
        return self.stack.enter_context(
            Controllers(config, export=export, reference_cache_seconds=1.0, syncer_auth="external")
        )

    def endpoints(self) -> list[str]:
        assert self.controllers.fleet is not None
        return [one.state for one in self.controllers.fleet.endpoints()]

    def engaged(self) -> list[str]:
        assert self.controllers.fleet is not None
        return sorted(name for one in self.controllers.fleet.endpoints() for name in one.engaged)

    def bind(self, tenant: Client) -> None:
        tenant.resource(API_BINDINGS).create(binding(self.path))
        eventually(lambda: tenant.cluster_name in self.engaged(), timeout_seconds=BIND_SECONDS)

    def tenant(self, name: str) -> Site:
        """Return a workspace that has bound the export."""
        from tests.integration.conftest import Site

        upstream = self.kcp.workspace(f"{name}-{self.number}")
        self.bind(upstream)
        # A kcp serves a kind that was bound a moment later.
        eventually(lambda: upstream.resource(SYNCTARGETS).list() is not None)
        return Site(self.downstream, self.directory, self.stack, upstream)


@pytest.fixture
def export(kcp: Kcp, plain_cluster: ControlPlane, tmp_path: Path) -> Iterator[Export]:
    with ExitStack() as stack:
        yield Export(kcp, plain_cluster, tmp_path, stack)


def kubeconfig(export: Export) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(export.downstream.kubeconfig.read_text())
    return found


def connect(export: Export, site: Site) -> None:
    site.secret("east-kubeconfig", kubeconfig(export))
    site.target(**PLACE)
    site.await_condition("ClusterConnected", "True", "Connected", seconds=BIND_SECONDS)
    site.await_condition("Valid", "True")


def cordon(site: Site) -> None:
    """Have something to do for the controllers."""
    site.upstream.resource(SYNCTARGETS).patch("east", {"spec": {"unschedulable": True}})
    site.await_condition("Schedulable", "False", seconds=BIND_SECONDS)


def test_two_tenants_are_served_each_in_its_own_workspace(export: Export) -> None:
    assert export.endpoints() == []
    first, second = export.tenant("first"), export.tenant("second")
    assert set(export.engaged()) == {first.cluster, second.cluster}
    connect(export, second)
    first.target(**PLACE, deployment={"mode": "External"})
    first.await_condition("Valid", "True")
    now = format_micro_time(SYSTEM_CLOCK.time())
    heartbeat = {"status": {"lastSyncerHeartbeatTime": now}}
    first.upstream.resource(SYNCTARGETS).patch("east", heartbeat, subresource="status")
    first.await_condition("Ready", "True")
    assert first.condition("VirtualWorkspaceLinked")["reason"] == "Linked"
    [served] = first.get()["status"]["virtualWorkspaces"]
    endpoint, _, cluster = served["syncerURL"].rpartition("/clusters/")
    assert cluster == first.cluster
    config = replace(export.kcp.config, server=endpoint, cluster=ClusterName(cluster))
    client = Client(AsyncClient.plain(config), export.kcp.client.loop)
    try:
        assert client.resource(SYNCTARGETS).get("east")["metadata"]["name"] == "east"
    finally:
        client.close()


def test_no_tenant_reaches_another_that_has_not_said_yes(export: Export) -> None:
    owner, guest = export.tenant("owner"), export.tenant("guest")
    owner.secret("east-kubeconfig", kubeconfig(export))
    owner.upstream.resource(CLUSTER_REGISTRATIONS).create(
        {
            "apiVersion": CLUSTER_REGISTRATIONS.api_version,
            "kind": CLUSTER_REGISTRATIONS.kind,
            "metadata": {"name": "shared"},
            "spec": {"location": "eu", "kubeconfigSecret": {"name": "east-kubeconfig"}},
        }
    )
    shared = {"name": "shared", "workspace": owner.cluster}
    guest.target(clusterRef=shared, cells={"a": "b"})
    found = guest.await_condition("ClusterConnected", "False", "PermissionDenied")
    assert owner.cluster in found["message"]

    grant(owner, f"system:cluster:{guest.cluster}")
    guest.await_condition("ClusterConnected", "True", "Connected")

    guest.target("lost", clusterRef={"name": "x", "workspace": "root"}, cells={"a": "b"})
    found = guest.await_condition("Valid", "False", "ClusterRefNotFound", name="lost")
    assert "bind the export there with an APIBinding" in found["message"]

    by_path = {**shared, "workspace": f"root:owner-{export.number}"}
    guest.target("astray", clusterRef=by_path, cells={"a": "b"})
    found = guest.await_condition("Valid", "False", "ClusterRefNotFound", name="astray")
    assert "use the name of the logical cluster" in found["message"]


def grant(site: Site, group: str) -> None:
    rbac = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": ["tmc.kcp.io"], "resources": ["clusterregistrations"], "verbs": ["use"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]
    role: dict[str, Any] = {"apiGroup": rbac, "kind": "ClusterRole"}
    subjects = [{"apiGroup": rbac, "kind": "Group", "name": group}]
    access = "system:kcp:workspace:access"
    for resource, name, fields in (
        (CLUSTER_ROLES, "use-shared", {"rules": rules}),
        (
            CLUSTER_ROLE_BINDINGS,
            "use-shared",
            {"roleRef": {**role, "name": "use-shared"}, "subjects": subjects},
        ),
        (
            CLUSTER_ROLE_BINDINGS,
            "enter",
            {"roleRef": {**role, "name": access}, "subjects": subjects},
        ),
    ):
        site.upstream.resource(resource).create(
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": name},
                **fields,
            }
        )


def test_who_unbinds_is_let_go_and_the_others_lose_nothing(export: Export) -> None:
    fleet, pool = export.controllers.fleet, export.controllers.pool
    assert fleet is not None
    first, second = export.tenant("stays"), export.tenant("goes")
    for site in (first, second):
        connect(export, site)

    # Our finalizers on its SyncTargets are taken off, else the binding would stay.
    second.upstream.resource(API_BINDINGS).delete("kcpctl")
    eventually(lambda: gone(second), timeout_seconds=BIND_SECONDS)
    eventually(lambda: export.engaged() == [first.cluster])
    eventually(lambda: unknown(export, second))
    assert [status.key for status in pool.statuses()] == [f"{first.cluster}|east"]
    cordon(first)

    # The last one takes the endpoint along, and brings it back.
    first.upstream.resource(API_BINDINGS).delete("kcpctl")
    eventually(lambda: export.endpoints() == [], timeout_seconds=BIND_SECONDS)
    assert fleet.problem() == ""
    export.bind(first.upstream)
    assert export.endpoints() == ["Serving"]
    first.target(**PLACE)
    first.await_condition("ClusterConnected", "True", "Connected", seconds=BIND_SECONDS)


def gone(site: Site) -> bool:
    try:
        site.upstream.resource(API_BINDINGS).get("kcpctl")
    except NotFound:
        return True
    return False


def unknown(export: Export, site: Site) -> bool:
    assert export.controllers.fleet is not None
    try:
        export.controllers.fleet.client.cluster(site.cluster)
    except NotFound:
        return True
    return False


def test_a_server_that_is_killed_costs_a_pause_and_nothing_else(export: Export) -> None:
    if isinstance(export.kcp, RealKcp):
        pytest.skip("it takes a real kcp a minute to come back")
    site = export.tenant("patient")
    connect(export, site)
    export.kcp.restart()
    eventually(lambda: site.get())
    cordon(site)
    assert export.engaged() == [site.cluster]
    assert [status.key for status in export.controllers.pool.statuses()] == [f"{site.cluster}|east"]


def command(export: Export, *flags: str) -> list[str]:
    off = [f"--{name}-bind-address=0" for name in ("health-probe", "metrics")]
    kubeconfig = f"--kubeconfig={export.kcp.kubeconfig}"
    return ["run-controllers", kubeconfig, *off, *flags]


def test_the_command_installs_the_export_and_serves_it_under_a_lease_there(
    export: Export, tmp_path: Path
) -> None:
    from tests.integration.conftest import Site

    name = f"command-{export.number}"
    provider, tenant = export.kcp.workspace(name), export.kcp.workspace(f"of-{name}")
    site = Site(export.downstream, tmp_path, export.stack, tenant)
    flags = [f"--apiexport=root:{name}:mine", "--install-crds", "--leader-elect"]
    child, log = site.command(*command(export, *flags))
    try:
        bound = binding(f"root:{name}", "mine")
        eventually(lambda: tenant.resource(API_BINDINGS).create(bound))
        eventually(lambda: site.target(**PLACE, deployment={"mode": "External"}))
        site.await_condition("Valid", "True", seconds=BIND_SECONDS)
        lease = provider.resource(LEASES).get("kcpctl-controllers", namespace="kcpctl-system")
        assert lease["spec"]["holderIdentity"]
    finally:
        child.close()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("{provider}", "grant get, list and watch on apiexportendpointslices.apis.kcp.io"),
        ("{provider}", "apiexports/content named 'kcpctl'"),
        ("root:nosuch", "root:nosuch"),
    ],
)
def test_the_command_says_what_it_lacks(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, says: str
) -> None:
    """Whoever may do nothing there, and who has the wrong workspace."""
    found = yaml.safe_load(export.kcp.kubeconfig.read_text())
    if path != "root:nosuch":
        for user in found["users"]:
            user["user"] |= {"as": "nobody", "as-groups": ["system:authenticated"]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(found))
    where = path.format(provider=export.path)
    flags = [f"--kubeconfig={kubeconfig}", f"--apiexport={where}:kcpctl"]
    assert main(["run-controllers", *flags]) == 1
    assert says in capsys.readouterr().err
