#!/usr/bin/env python3
"""Keeps many clusters in one pool, of which some accept and never answer, and measures.

    hack/pool_load.py [--clusters 1000] [--hanging 200] [--seconds 60] [--churn 500]

The clusters are a scripted server in a process of its own, over TLS, each with a token of its own
and one watch of metadata. Prints how long connecting took, what period each healthy cluster was
probed with, memory and CPU time of the pool, and what is left after so many more clusters have
come and gone. Exits 1 when a period is off by more than a tenth on average, a healthy cluster
was not Ready throughout, or anything is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.clusters import ClusterPool, ConnectionState
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import eventually
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, watch_line

LIST = {
    "apiVersion": "meta.k8s.io/v1",
    "kind": "PartialObjectMetadataList",
    "metadata": {"resourceVersion": "5"},
    "items": [],
}
BOOKMARK = {
    "apiVersion": "meta.k8s.io/v1",
    "kind": "PartialObjectMetadata",
    "metadata": {"resourceVersion": "5"},
}


async def serve() -> None:
    """Be the clusters: print where, and at the end when each was probed."""
    ca = CertificateAuthority()
    times: defaultdict[str, list[float]] = defaultdict(list)

    def ready(request: Received) -> Reply:
        times[request.header("authorization")].append(time.monotonic())
        return Reply(b"ok")

    def config_maps(request: Received) -> Reply:
        if "watch" in request.query:
            return Reply(chunks=[watch_line("BOOKMARK", BOOKMARK)], ending="hang")
        return Reply(LIST)

    async with ScriptedServer(tls=ca.server_context()) as healthy, ScriptedServer() as hanging:
        hanging.hold_connections()
        healthy.on("GET", "/readyz", ready)
        healthy.on("GET", "/version", Reply({"gitVersion": "v1.36.0"}))
        healthy.on("GET", "/api/v1/configmaps", config_maps)
        where = [healthy.url, hanging.url.replace("http:", "https:"), ca.pem.decode()]
        print(json.dumps(where), flush=True)
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if command == "times":
                print(json.dumps(times), flush=True)
            else:
                open_ones = healthy.live_connections + hanging.live_connections
                print(json.dumps(open_ones), flush=True)


class Fleet:
    """The pool, and what it is told of the servers."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server
        assert server.stdout
        self.healthy, self.hanging, ca = json.loads(server.stdout.readline())
        self.ca = base64.b64encode(ca.encode()).decode()
        self.io_loop = IOLoop("pool-load")
        self.metrics = Metrics()
        self.pool = ClusterPool(self.io_loop, metrics=self.metrics)

    def ask(self, command: str) -> object:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(command + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def ensure(self, key: str, server: str) -> None:
        config = {
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority-data": self.ca}}
            ],
            "users": [{"name": "u", "user": {"token": key}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.pool.ensure(key, json.dumps(config).encode(), source=key)

    def ready(self) -> int:
        return sum(one.state is ConnectionState.READY for one in self.pool.statuses())

    def tasks(self) -> int:
        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return self.io_loop.run(count())

    def left(self) -> tuple[int, int, int, object]:
        """Count tasks, descriptors, series, and connections as the server sees them."""
        series = sum(len(family.samples) for family in self.metrics.registry.collect())
        return self.tasks(), len(os.listdir("/proc/self/fd")), series, self.ask("connections")


def resident_kib() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(fleet: Fleet, options: argparse.Namespace) -> list[str]:
    """Connect everybody, let time pass, and return what is wrong."""
    good = options.clusters - options.hanging
    before, began = resident_kib(), time.monotonic()
    for number in range(options.clusters):
        hangs = number < options.hanging
        fleet.ensure(f"c{number}", fleet.hanging if hangs else fleet.healthy)
    eventually(lambda: fleet.ready() == good, timeout_seconds=120)
    print(f"{good} of {options.clusters} Ready after {time.monotonic() - began:.1f} s")
    for number in range(options.hanging, options.clusters):
        fleet.pool.watch(f"c{number}", CONFIG_MAPS, metadata_only=True)
    eventually(lambda: fleet.ready() == good, timeout_seconds=120)
    each = (resident_kib() - before) / good
    began, cpu = time.monotonic(), time.process_time()
    time.sleep(options.seconds)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    times = fleet.ask("times")
    assert isinstance(times, dict)
    # What a watch brought when it began counts as a probe, which is left out in the first period.
    since = began + 15
    recent = [[one for one in at if one > since] for at in times.values()]
    means = [statistics.fmean(b - a for a, b in pairwise(at)) for at in recent]
    fleetwide = statistics.fmean(means)
    degraded = fleet.metrics.registry.get_sample_value(
        "kcpctl_cluster_transitions_total", {"state": "Degraded"}
    )
    print(f"probe period: mean {fleetwide:.2f} s; of clusters {min(means):.2f}-{max(means):.2f} s")
    print(f"memory of each healthy cluster (TLS, probe, one watch): {each:.0f} KiB")
    print(f"CPU: {share:.1%} of a core")
    wrong = []
    if not 9 <= fleetwide <= 11 or len(means) != good:
        wrong.append(f"{len(means)} clusters were probed every {fleetwide:.2f} s")
    if fleet.ready() != good or degraded:
        wrong.append(f"{fleet.ready()} are Ready at the end, and {degraded} were Degraded")
    return wrong


def churn(fleet: Fleet, times: int) -> list[str]:
    """Let clusters come and go, and return what is left of them."""
    gc.collect()
    before = fleet.left()
    for number in range(times):
        key = f"churn{number}"
        fleet.ensure(key, fleet.healthy)
        eventually(lambda key=key: fleet.pool.client(key), poll_seconds=0.001)  # type: ignore[misc]
        fleet.pool.watch(key, CONFIG_MAPS, metadata_only=True)
        fleet.pool.remove(key)
    for number in range(10_000):
        if fleet.pool.status(f"c{number}") is None:
            break
        fleet.pool.remove(f"c{number}")
    eventually(lambda: fleet.ask("connections") == 0)
    after = fleet.left()
    print(f"tasks, descriptors, series, connections: {before}, and {after} after all have gone")
    # The tasks of the loop itself are none; of the descriptors the ones that there were at first.
    return [] if after[0] == 0 and after[2] <= before[2] + 5 else [f"left behind: {after}"]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--hanging", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--churn", type=int, default=500)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        fleet = Fleet(server)
        wrong = measure(fleet, options) + churn(fleet, options.churn)
        fleet.pool.close()
        fleet.io_loop.close()
        assert server.stdin
        server.stdin.close()
    sys.exit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
