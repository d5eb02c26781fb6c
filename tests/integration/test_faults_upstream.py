"""What the controllers do when the API server, or the way to it, is broken."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client
from kcpctl.errors import NotFound
from kcpctl.informers import InformerFactory
from kcpctl.runtime import Child, IOLoop
from kcpctl.testing import ControlPlane, FakeClock, FaultProxy, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Controllers, Site

EXTERNAL: dict[str, Any] = {"kcpCluster": "root", "deployment": {"mode": "External"}}
ERRORS = {"code": "<error>"}


@pytest.fixture
def proxy(site: Site) -> FaultProxy:
    """Between the controllers and the API server."""
    return site.proxy(site.plane)


def is_gone(site: Site, name: str) -> bool:
    try:
        site.get(name)
    except NotFound:
        return True
    return False


def failures(controllers: Controllers) -> int:
    """Requests without an answer."""
    return controllers.count("rest_client_requests_total", **ERRORS)


def test_connections_that_are_reset_are_made_again(site: Site, proxy: FaultProxy) -> None:
    controllers = site.controllers(proxy)
    for number in range(3):
        proxy.reset()
        site.target(f"target-{number}", **EXTERNAL)
        site.await_condition("Valid", "True", name=f"target-{number}")
    # Each reset broke a handful of watches; none of them led to a loop, nor to a list.
    assert failures(controllers) < 40
    assert controllers.count("reflector_lists_total") <= 3


def test_a_server_that_refuses_for_seconds_is_found_again_with_all_that_changed(
    site: Site, plain_cluster: ControlPlane, proxy: FaultProxy
) -> None:
    site.connect(plain_cluster)
    site.target("old", **EXTERNAL)
    controllers = site.controllers(proxy)
    site.await_condition("ClusterConnected", "True")
    site.await_condition("Valid", "True", name="old")
    proxy.refuse()
    before = failures(controllers)
    site.target("new", **EXTERNAL)
    site.upstream.resource(SYNCTARGETS).delete("old")
    eventually(lambda: failures(controllers) >= before + 4)
    # Meanwhile the clusters are kept, and nothing is a hot loop.
    controllers.pool.client(f"{site.cluster}|east")
    seen = failures(controllers)
    eventually(lambda: failures(controllers) > seen)
    assert failures(controllers) - before < 60
    proxy.accept()
    site.await_condition("Valid", "True", name="new")
    eventually(lambda: is_gone(site, "old"))


def test_a_watch_that_ends_in_the_middle_of_a_line_is_resumed(
    site: Site, proxy: FaultProxy
) -> None:
    controllers = site.controllers(proxy)
    site.target(**EXTERNAL)
    site.await_condition("Valid", "True")
    proxy.cut_after(40_000)
    body: Unstructured = {"metadata": {"name": "large"}, "spec": EXTERNAL}
    body["metadata"]["annotations"] = {"filler": "x" * 100_000}
    lists, accepted = controllers.count("reflector_lists_total"), proxy.accepted
    site.upstream.resource(SYNCTARGETS).create(
        {"apiVersion": SYNCTARGETS.api_version, "kind": SYNCTARGETS.kind, **body}
    )
    eventually(lambda: proxy.accepted > accepted)
    assert "conditions" not in site.get("large").get("status", {})
    proxy.cut_after(None)
    site.await_condition("Valid", "True", name="large")
    assert controllers.count("reflector_lists_total") == lists


def test_a_server_that_hangs_delays_writes_and_costs_nothing_else(
    site: Site, plain_cluster: ControlPlane, proxy: FaultProxy
) -> None:
    to_cluster = site.proxy(plain_cluster)
    site.connect(plain_cluster, proxy=to_cluster)
    site.connect(plain_cluster, "west")
    controllers = site.controllers(proxy, request_timeout_seconds=0.5)
    for name in ("east", "west"):
        site.await_condition("ClusterConnected", "True", name=name)
    proxy.hang()
    before = failures(controllers)
    to_cluster.refuse()  # so there is something to write
    eventually(lambda: failures(controllers) > before)
    assert site.condition("ClusterConnected")["status"] == "True"
    controllers.pool.client(f"{site.cluster}|west")
    proxy.resume()
    site.await_condition("ClusterConnected", "False", "ConnectionFailed")
    to_cluster.accept()
    site.await_condition("ClusterConnected", "True")


def test_a_half_open_watch_is_noticed_by_a_deadline_of_our_own(
    site: Site, proxy: FaultProxy
) -> None:
    """RF-41: a dead connection looks like a quiet one."""
    clock = FakeClock()
    config = replace(
        site.plane.config, cluster=site.upstream.cluster_name, server=f"https://{proxy.address}"
    )
    with ExitStack() as stack:
        loop = stack.enter_context(IOLoop("kcpctl-half-open-io"))
        client = Client(AsyncClient.plain(config), loop)
        stack.callback(client.close)
        factory = InformerFactory(client.aio, loop, clock=clock)
        stack.callback(factory.close)
        lister = factory.informer(SYNCTARGETS).lister
        factory.start()
        site.target(**EXTERNAL)
        key = f"{site.upstream.cluster_name}|east"
        eventually(lambda: lister.cached(key))
        proxy.hang()
        site.target("new", **EXTERNAL)
        accepted = proxy.accepted
        clock.step(900.0)
        # The server is still as dead, but the watch has been given up and is being made anew.

        def again() -> bool:
            clock.step(1.0)
            return proxy.accepted > accepted

        eventually(again)
        assert lister.cached(f"{site.upstream.cluster_name}|new") is None
        proxy.resume()
        eventually(lambda: lister.cached(f"{site.upstream.cluster_name}|new"))


def run_controllers(site: Site, *flags: str, proxy: FaultProxy | None = None) -> tuple[Child, Path]:
    """A controller manager as a user starts it."""
    return site.command(
        "run-controllers",
        f"--kubeconfig={site.kubeconfig_file(site.plane, proxy)}",
        "--syncer-image=kcpctl-syncer:local",
        "--health-probe-bind-address=0",
        "--metrics-bind-address=0",
        *flags,
    )


def test_a_stop_is_not_held_up_by_a_server_that_hangs(site: Site, proxy: FaultProxy) -> None:
    child, log = run_controllers(site, "--graceful-shutdown-timeout=1s", proxy=proxy)
    eventually(lambda: "Controllers started" in log.read_text())
    proxy.delay(0.5)
    site.target(**EXTERNAL)  # its event is on the way, and its write will get no answer
    eventually(lambda: site.get()["metadata"].get("finalizers"))
    proxy.hang()
    child.signal(signal.SIGTERM)
    assert child.wait(25) == 0  # a request may take 30
    assert "Traceback" not in log.read_text()


def versions(site: Site, downstream: Client) -> dict[str, str]:
    """The versions of all that the controllers have written for the site's SyncTargets."""
    found: dict[str, str] = {}

    def add(where: str, objects: list[Unstructured]) -> None:
        for one in objects:
            meta = one["metadata"]
            found[f"{where} {one['kind']} {meta['name']}"] = meta["resourceVersion"]

    targets = site.upstream.resource(SYNCTARGETS).list().items
    add("up", targets)
    for target in targets:
        selector = f"{SYNCTARGET_UID_LABEL}={target['metadata']['uid']}"
        for resource in (SERVICE_ACCOUNTS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
            add("up", site.upstream.resource(resource).list(label_selector=selector).items)
        for resource in (NAMESPACES, SERVICE_ACCOUNTS, CLUSTER_ROLES, SECRETS, DEPLOYMENTS):
            add("down", downstream.resource(resource).list(label_selector=selector).items)
    return found


def test_controllers_that_were_killed_go_on_where_they_were_without_needless_writes(
    site: Site, plain_cluster: ControlPlane
) -> None:
    downstream = plain_cluster.client
    names = ("east", "west", "north")
    child, _ = run_controllers(site)
    for name in names:
        site.connect(plain_cluster, name)
    # In the middle of the work: one of them is deployed, the others are where they are.
    eventually(lambda: any(site.condition("SyncerDeployed", name) for name in names))
    child.signal(signal.SIGKILL)
    child.wait(30)

    child, _ = run_controllers(site)
    for name in names:
        site.await_condition("SyncerDeployed", "False", "Progressing", name=name)
    before = eventually(lambda: settled(site, downstream))
    assert sum(" Deployment " in what for what in before) == len(names)
    child.signal(signal.SIGKILL)
    child.wait(30)

    _, log = run_controllers(site)
    site.target("sentinel", **EXTERNAL)
    site.await_condition("Valid", "True", name="sentinel")
    eventually(lambda: log.read_text().count('state="Ready"') == len(names))
    after = settled(site, downstream)
    assert {what: after[what] for what in before} == before
    assert "Traceback" not in log.read_text()


def settled(site: Site, downstream: Client) -> dict[str, str]:
    """Return the versions when they have stayed the same for almost a second."""
    seen: list[dict[str, str]] = []

    def same() -> bool:
        seen.append(versions(site, downstream))
        return len(seen) >= 6 and all(one == seen[-1] for one in seen[-6:])

    eventually(same, poll_seconds=0.15)
    return seen[-1]


def test_a_control_plane_that_comes_back_empty_is_listed_again_and_costs_nothing_downstream(
    tmp_path: Path, plain_cluster: ControlPlane
) -> None:
    from tests.integration.conftest import Controllers, Site, copies

    with ControlPlane() as plane, ExitStack() as stack:
        site = Site(plane, tmp_path, stack, plane.client)
        controllers = stack.enter_context(Controllers(plane.config, everywhere=True))
        made = site.target(**EXTERNAL)
        site.assign(CONFIG_MAPS, "settings", data={"a": "b"})
        _, log = site.command(
            "syncer",
            "--sync-target-name=east",
            f"--sync-target-uid={made['metadata']['uid']}",
            f"--from-kubeconfig={site.kubeconfig_file(plane)}",
            f"--to-kubeconfig={site.kubeconfig_file(plain_cluster)}",
            "--heartbeat-interval=300ms",
        )
        before = eventually(lambda: copies(site, plain_cluster.client))
        site.await_condition("Ready", "True")
        lists = controllers.count("reflector_lists_total")

        plane.restart()

        again = site.target(**EXTERNAL)  # another one of the same name
        assert again["metadata"]["uid"] != made["metadata"]["uid"]
        site.assign(CONFIG_MAPS, "late", data={})
        site.await_condition("Valid", "True")
        assert controllers.count("reflector_lists_total") > lists
        eventually(lambda: "is not synced" in log.read_text())
        site.await_condition("Ready", "Unknown", "WaitingForSyncer")
        after = copies(site, plain_cluster.client)
        assert {name: one["metadata"] for name, one in after.items()} == {
            name: one["metadata"] for name, one in before.items()
        }
        assert "lastHeartbeatTime" not in site.get()["status"]
