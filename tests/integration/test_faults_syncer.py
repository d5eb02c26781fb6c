"""What the syncer does when either server, or the way to it, is broken, or it is killed itself."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, PODS
from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.syncer import Syncer, SyncerOptions
from kcpctl.testing import ControlPlane, FaultProxy, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Site

EXTERNAL: dict[str, Any] = {"kcpCluster": "root", "deployment": {"mode": "External"}}
BEAT_SECONDS = 0.2


def copies(site: Site, downstream: Client) -> dict[str, Unstructured]:
    from tests.integration.conftest import copies

    return copies(site, downstream)


class Pair:
    """A syncer on a thread, with a proxy on either side."""

    def __init__(self, site: Site, plane: ControlPlane) -> None:
        self.site = site
        self.downstream = plane.client
        self.to_upstream = site.proxy(site.plane)
        self.to_downstream = site.proxy(plane)
        self.uid: str = site.target(**EXTERNAL)["metadata"]["uid"]
        loop = site.stack.enter_context(IOLoop("kcpctl-syncer-io"))
        up = replace(site.plane.config, cluster=site.upstream.cluster_name)
        options = SyncerOptions(
            sync_target_name="east",
            sync_target_uid=self.uid,
            heartbeat_interval_seconds=BEAT_SECONDS,
        )
        syncer = self._syncer = Syncer(
            options,
            upstream=self._client(up, self.to_upstream, loop),
            downstream=self._client(plane.config, self.to_downstream, loop),
        )
        stop = threading.Event()
        thread = start_thread(lambda: syncer.run(stop), name="syncer")
        site.stack.callback(thread.join)
        site.stack.callback(stop.set)

    def _client(self, config: ClientConfig, proxy: FaultProxy, loop: IOLoop) -> Client:
        through = replace(config, server=f"https://{proxy.address}")
        client = Client(AsyncClient.plain(through), loop)
        self.site.stack.callback(client.close)
        return client

    @property
    def serves(self) -> bool:
        """Whether it says that it is ready."""
        return not self._syncer._ready()

    def proxy(self, side: str) -> FaultProxy:
        return self.to_upstream if side == "upstream" else self.to_downstream

    def assign(self, name: str, **data: str) -> None:
        self.site.assign(CONFIG_MAPS, name, data=data)

    def delete(self, name: str) -> None:
        self.site.upstream.resource(CONFIG_MAPS).delete(name, namespace="default")

    def copied(self, name: str) -> Unstructured:
        return eventually(lambda: copies(self.site, self.downstream)[name])

    def versions(self) -> dict[str, str]:
        found = copies(self.site, self.downstream)
        return {name: one["metadata"]["resourceVersion"] for name, one in found.items()}

    def version(self) -> str:
        """Of the SyncTarget: each heartbeat moves it, also within a second."""
        return str(self.site.get()["metadata"]["resourceVersion"])

    def await_silence(self) -> None:
        """Wait until four intervals have passed without a heartbeat."""
        seen: list[str] = []

        def silent() -> bool:
            seen.append(self.version())
            return len(seen) > 4 and len(set(seen[-5:])) == 1

        eventually(silent, poll_seconds=BEAT_SECONDS)

    def await_beats(self, count: int = 2) -> None:
        for _ in range(count):
            before = self.version()
            eventually(lambda before=before: self.version() != before)  # type: ignore[misc]


@pytest.fixture
def pair(site: Site, plain_cluster: ControlPlane) -> Pair:
    made = Pair(site, plain_cluster)
    made.assign("first")
    made.copied("first")
    made.await_beats(1)
    return made


@pytest.mark.parametrize("side", ["upstream", "downstream"])
def test_connections_that_are_reset_are_made_again(pair: Pair, side: str) -> None:
    before = pair.versions()
    pair.proxy(side).reset()
    pair.assign("second")
    pair.copied("second")
    pair.await_beats()
    assert pair.versions()["first"] == before["first"]


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_cluster_that_fails_gets_what_it_missed_and_the_heartbeat_goes_on(
    pair: Pair, fault: str
) -> None:
    proxy = pair.to_downstream
    getattr(proxy, fault)()
    pair.assign("second")
    pair.delete("first")
    pair.await_beats(3)
    assert set(pair.versions()) == {"first"}
    proxy.accept() if fault == "refuse" else proxy.resume()
    pair.copied("second")
    eventually(lambda: set(pair.versions()) == {"second"})


@pytest.mark.parametrize("fault", ["refuse", "hang", "hang, then reset"])
def test_an_upstream_server_that_fails_leaves_the_cluster_as_it_is(pair: Pair, fault: str) -> None:
    proxy = pair.to_upstream
    before = pair.versions()
    proxy.refuse() if fault == "refuse" else proxy.hang()
    pair.assign("second")
    pair.delete("first")
    pair.await_silence()
    assert pair.versions() == before
    if fault == "hang, then reset":
        proxy.reset()
    proxy.accept() if fault == "refuse" else proxy.resume()
    pair.copied("second")
    eventually(lambda: set(pair.versions()) == {"second"})
    pair.await_beats()


def test_a_watch_that_ends_in_the_middle_of_a_line_is_resumed(pair: Pair) -> None:
    pair.to_upstream.cut_after(30_000)
    pair.assign("large", filler="x" * 100_000)
    accepted = pair.to_upstream.accepted
    eventually(lambda: pair.to_upstream.accepted > accepted + 1)
    assert "large" not in pair.versions()
    pair.to_upstream.cut_after(None)
    assert pair.copied("large")["data"] == {"filler": "x" * 100_000}


def test_a_workspace_that_is_gone_with_its_server_s_memory_leaves_the_cluster_alone(
    own_site: Site, plain_cluster: ControlPlane
) -> None:
    """Decision 10: whatever is wrong downstream is nobody's to mend without the SyncTarget."""
    pair = Pair(own_site, plain_cluster)
    pair.assign("changed")
    pair.assign("kept")
    pair.copied("kept")
    changed = pair.copied("changed")["metadata"]
    pair.await_beats(1)
    own_site.plane.restart()
    eventually(lambda: not pair.serves)
    before = pair.versions()
    config_maps = plain_cluster.client.resource(CONFIG_MAPS)
    config_maps.delete("changed", namespace=changed["namespace"])
    before.pop("changed")
    seen: list[dict[str, str]] = []

    def looked_often() -> bool:
        seen.append(pair.versions())
        return len(seen) == 10

    eventually(looked_often, poll_seconds=0.1)
    assert all(one == before for one in seen)


def test_a_killed_syncer_that_is_started_again_writes_only_what_is_missing(
    site: Site, plain_cluster: ControlPlane
) -> None:
    uid = site.target(**EXTERNAL)["metadata"]["uid"]
    arguments = [
        "syncer",
        "--sync-target-name=east",
        f"--sync-target-uid={uid}",
        f"--from-kubeconfig={site.kubeconfig_file(site.plane)}",
        f"--to-kubeconfig={site.kubeconfig_file(plain_cluster)}",
    ]

    def versions() -> dict[str, str]:
        found = copies(site, plain_cluster.client)
        return {name: one["metadata"]["resourceVersion"] for name, one in found.items()}

    child, _ = site.command(*arguments)
    for name in ("a", "b"):
        site.assign(CONFIG_MAPS, name, data={})
    eventually(lambda: len(versions()) == 2)
    before = versions()
    child.signal(signal.SIGKILL)
    child.wait(30)
    site.assign(CONFIG_MAPS, "missing", data={})
    _, log = site.command(*arguments)
    eventually(lambda: "missing" in versions())
    after = versions()
    after.pop("missing")
    assert after == before
    assert "Traceback" not in log.read_text()


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    return {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}


def processes(uid: str) -> list[int]:
    """The syncers of a SyncTarget that run on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"syncer" in words and any(uid.encode() in word for word in words):
                found.append(int(entry.name))
    return found


def test_a_managed_syncer_survives_its_death_and_that_of_every_connection(
    site: Site, kubelet_cluster: ControlPlane
) -> None:
    to_upstream = site.proxy(site.plane)
    to_cluster = site.proxy(kubelet_cluster)
    syncer_to_upstream = site.proxy(site.plane)
    spec: dict[str, Any] = {
        "cluster": "east",
        "cells": {"location": "x"},
        "syncer": {"heartbeatInterval": "300ms"},
    }
    uid = site.connect(kubelet_cluster, proxy=to_cluster, **spec)["metadata"]["uid"]
    site.controllers(
        to_upstream,
        upstream_server_url=f"https://{syncer_to_upstream.address}",
        heartbeat_threshold_seconds=2.0,
    )
    site.await_condition("Ready", "True")
    site.assign(DEPLOYMENTS, "web", spec=deployment(1))

    def available(count: int) -> bool:
        found = site.upstream.resource(DEPLOYMENTS).get("web", namespace="default")
        return bool(found["status"]["availableReplicas"] == count)

    eventually(lambda: available(1))

    (victim,) = processes(uid)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: processes(uid) not in ([], [victim]))
    selector = f"{SYNCTARGET_UID_LABEL}={uid}"

    def restarts() -> int:
        (pod,) = kubelet_cluster.client.resource(PODS).list(label_selector=selector).items
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    eventually(lambda: restarts() == 1)
    replicas = site.upstream.resource(DEPLOYMENTS)
    replicas.patch("web", {"spec": {"replicas": 2}}, namespace="default")
    eventually(lambda: available(2))

    for proxy in (to_upstream, to_cluster, syncer_to_upstream):
        proxy.reset()
    replicas.patch("web", {"spec": {"replicas": 3}}, namespace="default")
    eventually(lambda: available(3))

    # No heartbeat gets through: first a warning, then all is well again.
    syncer_to_upstream.refuse()
    site.await_condition("HeartbeatHealthy", "False")
    assert site.condition("Ready")["status"] == "True"
    syncer_to_upstream.accept()
    site.await_condition("HeartbeatHealthy", "True")
