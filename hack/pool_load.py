#!/usr/bin/env python3
"""Keeps many clusters in one pool, of which some accept and never answer, and measures.

    hack/pool_load.py [--clusters 1000] [--hanging 200] [--seconds 60] [--churn 500] [--json]

The clusters are a scripted server in a process of its own, over TLS, each with a token of its own
and one watch of metadata. Prints how long connecting took, what period each healthy cluster was
probed with, memory and CPU time of the pool, and what is left after so many more clusters have
come and gone. Exits 1 when a period is off by more than a tenth, a healthy cluster was not Ready
throughout, or anything is left behind.

With --json the last line has the figures as JSON, and the CPU time of as many GETs as the probes
were, each over a bare TLS stream of asyncio.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import ssl
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

    def all_ready(self, wanted: int) -> None:
        """Wait for it. Counting is no small part of the work: not more often than this."""
        eventually(lambda: self.ready() == wanted, timeout_seconds=120, poll_seconds=0.5)


def resident_kib() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(fleet: Fleet, options: argparse.Namespace, figures: dict[str, float]) -> list[str]:
    """Connect everybody, let time pass, and return what is wrong."""
    good = options.clusters - options.hanging
    fleet.ensure("warm-up", fleet.healthy)  # loads what is loaded once
    fleet.all_ready(1)
    fleet.pool.remove("warm-up")
    before, began = resident_kib(), time.monotonic()
    for number in range(options.clusters):
        hangs = number < options.hanging
        fleet.ensure(f"c{number}", fleet.hanging if hangs else fleet.healthy)
    fleet.all_ready(good)
    print(f"{good} of {options.clusters} Ready after {time.monotonic() - began:.1f} s")
    for number in range(options.hanging, options.clusters):
        fleet.pool.watch(f"c{number}", CONFIG_MAPS, metadata_only=True)
    fleet.all_ready(good)
    # What a watch brought when it began counts as a probe, which is left out in the first period;
    # the second one makes a connection, since the watch keeps the first.
    time.sleep(21)
    figures["memory_kib"] = (resident_kib() - before) / good
    began, cpu = time.monotonic(), time.process_time()
    time.sleep(options.seconds)
    figures["cpu"] = (time.process_time() - cpu) / (time.monotonic() - began)
    times = fleet.ask("times")
    assert isinstance(times, dict)
    recent = [[one for one in at if one > began] for at in times.values()]
    periods = [after - before for at in recent for before, after in pairwise(at)]
    figures["probes_a_second"] = sum(map(len, recent)) / options.seconds
    off = sum(not 9 <= period <= 11 for period in periods) / len(periods)
    degraded = fleet.metrics.registry.get_sample_value(
        "kcpctl_cluster_transitions_total", {"state": "Degraded"}
    )
    print(
        f"probe period: mean {statistics.fmean(periods):.2f} s, {min(periods):.2f} to "
        f"{max(periods):.2f} s; {off:.1%} of {len(periods)} off by more than a tenth"
    )
    print(
        f"memory of each healthy cluster (TLS, probe, one watch): {figures['memory_kib']:.0f} KiB"
    )
    print(f"CPU: {figures['cpu']:.1%} of a core")
    wrong = []
    if off > 0.001 or sum(len(at) > 1 for at in recent) != good:
        wrong.append(f"{off:.1%} of the periods of {len(recent)} clusters were off")
    if fleet.ready() != good or degraded:
        wrong.append(f"{fleet.ready()} are Ready at the end, and {degraded} were Degraded")
    return wrong


async def floor(server: str, ca: str, each_second: float, seconds: float) -> float:
    """Return the share of a core that GETs over bare TLS streams take, each on its own."""
    context = ssl.create_default_context(cadata=base64.b64decode(ca).decode())
    host, port = server.removeprefix("https://").split(":")
    request = f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer floor\r\n\r\n"
    count = min(int(each_second * 10), 200)
    streams = [await asyncio.open_connection(host, int(port), ssl=context) for _ in range(count)]
    answers: set[asyncio.Task[bytes]] = set()
    began, cpu = time.monotonic(), time.process_time()
    for number in range(int(each_second * seconds)):
        reader, writer = streams[number % count]
        writer.write(request.encode())
        task = asyncio.create_task(reader.readuntil(b"ok"))
        answers.add(task)
        task.add_done_callback(answers.discard)
        await asyncio.sleep(began + number / each_second - time.monotonic())
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    for _, writer in streams:
        writer.transport.abort()
    return share


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
    for status in fleet.pool.statuses():
        fleet.pool.remove(status.key)
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
    parser.add_argument("--json", action="store_true")
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
        figures: dict[str, float] = {}
        wrong = measure(fleet, options, figures) + churn(fleet, options.churn)
        fleet.pool.close()
        fleet.io_loop.close()
        if options.json:
            rate = figures["probes_a_second"]
            figures["floor_cpu"] = asyncio.run(floor(fleet.healthy, fleet.ca, rate, 10))
            print(json.dumps(figures))
        assert server.stdin
        server.stdin.close()
    sys.exit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
