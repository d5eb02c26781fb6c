#!/usr/bin/env python3
"""Runs run-controllers through what takes minutes, and says what it did. Linux only.

    hack/soak_controllers.py [rest] [outages] [many] [--short]

Each part has servers and processes of its own; without a name all of them run, in about half an
hour. With --short they take two minutes, to see that they work.

rest
    20 SyncTargets, of which each beats every 20 s, for 10 minutes. The controllers must write
    nothing and read nothing; their watches may be opened again.
outages
    20 SyncTargets, one of them with a syncer on a cluster of its own. The API server is away for 3
    minutes, then the cluster is. Each time all must be Ready again within a minute, and the
    syncer must not have been deployed once more.
many
    50,000 SyncTargets in 1,000 workspaces, with 4 GiB of memory (RLIMIT_DATA) for each process.
    Each is reconciled; then the controllers are killed, started again on the same data, and go
    through all of them once more, which must write nothing.

Exits 1 and says what if something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from kcpctl.apis.conditions import READY, TRUE, UNKNOWN
from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, SECRETS, WORKSPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, PatchType, load_config
from kcpctl.runtime import Child, IOLoop, format_time
from kcpctl.testing import ControlPlane, FaultProxy, eventually

FLEET = 20
BEAT_SECONDS = 20.0
BACK_SECONDS = 60
MEMORY_KIB = 4 * 2**20
NAMESPACE = "kcpctl-system"


class Controllers:
    """A run-controllers process."""

    def __init__(self, stack: ExitStack, *flags: str, memory_kib: int | None = None) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "kcpctl", "run-controllers", *flags]
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address = f"127.0.0.1:{server.getsockname()[1]}"  # free a moment ago
        command += ["--health-probe-bind-address", "0", "--metrics-bind-address", self.address]
        if memory_kib is not None:
            command = ["sh", "-c", f'ulimit -d {memory_kib} && exec "$@"', "sh", *command]
        with (self.directory / "log").open("wb") as output:
            self.child = Child(command, env=os.environ, output=output)
        stack.callback(self.child.close)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def count(self, series: str) -> float:
        """Return the sum of the series that match the expression."""
        lines = re.findall(rf"^{series} (\S+)$", self.metrics(), re.MULTILINE)
        return sum(map(float, lines))

    def requests(self, method: str, code: str = "2..") -> float:
        labels = rf'code="{code}",.*method="{method}".*'
        return self.count(rf"rest_client_requests_total\{{{labels}\}}")

    def writes(self) -> float:
        return sum(map(self.requests, ("PATCH", "POST", "PUT", "DELETE")))

    def peak_mib(self) -> float:
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        assert found
        return int(found[1]) / 1024


def target(name: str, **spec: Any) -> dict[str, Any]:
    spec = spec or {"supportedAPIExports": [{"workspace": "root", "export": "kubernetes"}]}
    return {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": {"name": name},
        "spec": {"cells": {"location": name}, **spec},
    }


class Syncers:
    """Beats for SyncTargets in the place of their syncers, until it is stopped."""

    def __init__(self, client: Client, names: Sequence[str]) -> None:
        self.client = client
        self.names = names
        self.beats = 0
        self.lost = 0
        self._running = client.loop.submit(self._run())

    async def _run(self) -> None:
        await asyncio.gather(
            *(self._beat(name, place) for place, name in enumerate(self.names)),
        )

    async def _beat(self, name: str, place: int) -> None:
        resource = self.client.aio.resource(SYNCTARGETS)
        await asyncio.sleep(place * BEAT_SECONDS / len(self.names))
        while True:
            stamp = format_time(time.time())
            body = {"status": {"lastSyncerHeartbeatTime": stamp, "lastHeartbeatTime": stamp}}
            try:
                await resource.patch(name, body, type=PatchType.MERGE, subresource="status")
                self.beats += 1
            except Exception:  # noqa: BLE001 - the server is away
                self.lost += 1
            await asyncio.sleep(BEAT_SECONDS)

    def stop(self) -> None:
        self._running.cancel()


def ready(client: Client) -> int:
    """Return how many SyncTargets are Ready, with a heartbeat that is not overdue."""
    count = 0
    for one in client.resource(SYNCTARGETS).list():
        found = {c["type"]: c["status"] for c in one.get("status", {}).get("conditions", ())}
        count += found.get(READY) == TRUE and found.get("HeartbeatHealthy") == TRUE
    return count


def rest(*, short: bool) -> list[str]:
    """Let time pass, and count what the controllers do meanwhile."""
    minutes = 1.0 if short else 10.0
    with ControlPlane(workspaces=False) as plane, ExitStack() as stack:
        flags = ("--kubeconfig", str(plane.kubeconfig), "--install-crds")
        controllers = Controllers(stack, *flags)
        eventually(controllers.metrics, timeout_seconds=60)
        names = [f"target-{number}" for number in range(FLEET)]
        for name in names:
            eventually(lambda name=name: plane.client.resource(SYNCTARGETS).create(target(name)))
        syncers = Syncers(plane.client, names)
        stack.callback(syncers.stop)
        eventually(lambda: ready(plane.client) == FLEET, timeout_seconds=90, poll_seconds=1)
        time.sleep(10)
        before = controllers.writes(), controllers.requests("GET"), syncers.beats
        versions = {one["metadata"]["uid"] for one in plane.client.resource(SYNCTARGETS).list()}
        time.sleep(minutes * 60)
        writes, reads = controllers.writes() - before[0], controllers.requests("GET") - before[1]
        beats = syncers.beats - before[2]
        assert len(versions) == FLEET
    print(f"at rest for {minutes:.0f} minutes: {beats} heartbeats of {FLEET} SyncTargets;")
    print(f"  the controllers wrote {writes:.0f} times and began {reads:.0f} watches")
    # Three watches, of 5 to 10 minutes each.
    wrong = [f"{writes:.0f} writes at rest"] if writes else []
    return wrong + ([f"{reads:.0f} reads at rest"] if reads > 3 * (minutes / 5 + 1) else [])


class Site:
    """An API server and a cluster, each behind a proxy, and 20 SyncTargets."""

    def __init__(self, stack: ExitStack) -> None:
        self.plane = stack.enter_context(ControlPlane(workspaces=False))
        self.cluster = stack.enter_context(ControlPlane(workspaces=False, kubelet=True))
        self.upstream = stack.enter_context(FaultProxy(self.plane.config.server))
        self.downstream = stack.enter_context(FaultProxy(self.cluster.config.server))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubeconfig = directory / "kubeconfig"
        document = yaml.safe_load(self.plane.kubeconfig.read_text())
        kubeconfig.write_text(yaml.safe_dump(self.upstream.kubeconfig(document)))
        flags = ("--kubeconfig", str(kubeconfig), "--install-crds")
        self.controllers = Controllers(stack, *flags, "--syncer-image", "kcpctl-syncer:local")
        eventually(self.controllers.metrics, timeout_seconds=60)
        # The syncers' way: through the proxy, too.
        io_loop = stack.enter_context(IOLoop("syncers"))
        client = Client(AsyncClient.plain(load_config(kubeconfig)), io_loop)
        stack.callback(client.close)
        names = [f"target-{number}" for number in range(FLEET - 1)]
        self._populate(names)
        self.syncers = Syncers(client, names)
        stack.callback(self.syncers.stop)

    def _populate(self, names: Sequence[str]) -> None:
        client = self.plane.client
        document = self.downstream.kubeconfig(yaml.safe_load(self.cluster.kubeconfig.read_text()))
        content = base64.b64encode(yaml.safe_dump(document).encode()).decode()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        meta = {"name": "east-kubeconfig", "namespace": NAMESPACE}
        client.resource(NAMESPACES).create(namespace)
        client.resource(SECRETS).create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": meta,
                "data": {"kubeconfig": content},
            }
        )
        targets = client.resource(SYNCTARGETS)
        for name in names:
            eventually(lambda name=name: targets.create(target(name)))
        targets.create(target("east", cluster="east"))

    def all_ready(self, since: str = "") -> bool:
        """Whether all are Ready, and each has beaten since then."""
        found = self.plane.client.resource(SYNCTARGETS).list()
        beats = [one.get("status", {}).get("lastHeartbeatTime", "") for one in found]
        return min(beats, default="") >= since and ready(self.plane.client) == FLEET

    def deployments(self) -> list[tuple[str, int]]:
        found = self.cluster.client.resource(DEPLOYMENTS).list()
        return [(one["metadata"]["uid"], one["metadata"]["generation"]) for one in found]

    def outage(self, what: str, proxy: FaultProxy, seconds: float) -> list[str]:
        deployed, writes = self.deployments(), self.controllers.writes()
        proxy.refuse()
        proxy.reset()
        time.sleep(seconds)
        proxy.accept()
        began, since = time.monotonic(), format_time(time.time())
        try:
            check = partial(self.all_ready, since)
            eventually(check, timeout_seconds=BACK_SECONDS, poll_seconds=0.5)
        except AssertionError:
            return [f"{what}: {ready(self.plane.client)} of {FLEET} Ready after {BACK_SECONDS} s"]
        back = time.monotonic() - began
        more = self.controllers.writes() - writes
        print(f"{what} away for {seconds:.0f} s: all Ready {back:.1f} s after, {more:.0f} writes")
        return [] if self.deployments() == deployed else [f"{what}: the syncer was deployed anew"]


def outages(*, short: bool) -> list[str]:
    """Let the API server and then the cluster be away."""
    seconds = 20 if short else 180
    with ExitStack() as stack:
        site = Site(stack)
        eventually(site.all_ready, timeout_seconds=120, poll_seconds=1)
        wrong = site.outage("the API server", site.upstream, seconds)
        time.sleep(5)
        wrong += site.outage("the cluster", site.downstream, seconds)
        print(f"  {site.syncers.lost} heartbeats were lost with the API server")
    return wrong


async def side_by_side(calls: Iterator[Awaitable[object]], at_once: int = 16) -> None:
    """Await all of them, so many at a time."""

    async def one_after_the_other() -> None:
        for call in calls:
            await call

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


def populate(client: Client, workspaces: int, each: int) -> None:
    """Make workspaces, and SyncTargets in them."""
    root = client.cluster("root").resource(WORKSPACES)
    kind = {"apiVersion": WORKSPACES.api_version, "kind": "Workspace"}
    names = (f"many-{number}" for number in range(workspaces))
    make = client.aio.cluster("root").resource(WORKSPACES).create
    client.loop.run(side_by_side((make({**kind, "metadata": {"name": one}}) for one in names), 8))

    def clusters() -> list[str]:
        found = [one for one in root.list() if one.get("status", {}).get("phase") == "Ready"]
        return [one["spec"]["cluster"] for one in found] if len(found) >= workspaces else []

    found = eventually(clusters, timeout_seconds=600, poll_seconds=2)
    creates = (
        client.aio.cluster(cluster).resource(SYNCTARGETS).create(target(f"target-{number}"))
        for number in range(each)
        for cluster in found
    )
    client.loop.run(side_by_side(creates))


def settled(client: Client) -> int:
    """Return how many SyncTargets wait for their syncer, which is as far as they come."""
    count = 0
    for one in client.wildcard().resource(SYNCTARGETS).list():
        found = {c["type"]: c["status"] for c in one.get("status", {}).get("conditions", ())}
        count += found.get(READY) == UNKNOWN
    return count


def started(stack: ExitStack, data: Path) -> tuple[Controllers, Client]:
    kubeconfig = data / "kubeconfig"
    kubeconfig.unlink(missing_ok=True)
    flags = ("--embedded", "--data-dir", str(data / "data"), "--write-kubeconfig", str(kubeconfig))
    # Nobody beats here, and that shall change nothing.
    grace = ("--sync-target-startup-grace", "24h")
    controllers = Controllers(stack, *flags, *grace, memory_kib=MEMORY_KIB)
    eventually(kubeconfig.exists, timeout_seconds=300)
    io_loop = stack.enter_context(IOLoop("many"))
    client = Client(AsyncClient.workspaces(load_config(kubeconfig)), io_loop)
    stack.callback(client.close)
    return controllers, client


def timed(what: str, check: Callable[[], bool], seconds: float, began: float) -> float:
    eventually(check, timeout_seconds=seconds, poll_seconds=1)
    took = time.monotonic() - began
    print(f"  {what} after {took:.0f} s", flush=True)
    return took


def many(*, short: bool) -> list[str]:
    """Have very many SyncTargets reconciled, and then once more by another process."""
    workspaces, each = (40, 50) if short else (1000, 50)
    total = workspaces * each
    reconciled = r'controller_runtime_reconcile_total\{.*controller="synctarget".*\}'
    print(f"{total:,} SyncTargets in {workspaces:,} workspaces, {MEMORY_KIB >> 20} GiB of memory:")
    with tempfile.TemporaryDirectory() as data:
        with ExitStack() as stack:
            controllers, client = started(stack, Path(data))
            began = time.monotonic()
            populate(client, workspaces, each)
            print(f"  made in {time.monotonic() - began:.0f} s", flush=True)
            # Its marks, then its status. Listing all of them to see would be most of the work.
            done = partial(controllers.requests, "PATCH")
            timed("all reconciled", lambda: done() >= 2 * total, 1800, began)
            first = controllers.peak_mib()
        with ExitStack() as stack:
            began = time.monotonic()
            controllers, client = started(stack, Path(data))
            timed(
                "restarted: all gone through",
                lambda: controllers.count(reconciled) >= total,
                600,
                began,
            )
            time.sleep(5)
            writes, second = controllers.writes(), controllers.peak_mib()
            count = settled(client)
    print(
        f"  at most {first:.0f} MiB, {second:.0f} MiB after the restart, with {writes:.0f} writes"
    )
    wrong = [f"{writes:.0f} writes after a restart"] if writes else []
    return wrong + ([f"{count:,} of {total:,} settled at the end"] if count != total else [])


PARTS = {"rest": rest, "outages": outages, "many": many}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    wrong = []
    for name in options.parts or PARTS:
        wrong += PARTS[name](short=options.short)
    print("\n".join(wrong) or "all as it must be")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
