#!/usr/bin/env python3
"""Measures the SyncTarget controller and the connection pool, and prints one table. Linux only.

    hack/bench/controllers.py [--rounds 1] [--only reconciles,heartbeats,pool] [--quick]
                              [--into docs/numbers.md]

Three parts, each in processes of its own: about 4 minutes for a round; keep the machine quiet.

reconciles
    An embedded control plane with 10,000 External SyncTargets in 20 workspaces, and the controller
    as run-controllers makes it, events included. Each one's first status is written, then all of
    them are gone through again without anything new. The floor of the first are the same patches
    sent by as many threads through the same client, with nothing around.
heartbeats
    run-controllers, and 1,000 SyncTargets of which each beats every 20 s, one after the other,
    for 40 s. The first beat makes it Ready, the second changes nothing. A watch tells when the
    heartbeat and when Ready was to be seen; the time between the two is measured.
pool
    1,000 clusters over TLS, served by another process, and a watch of metadata on each; their
    memory, and the CPU time of the pool at rest. The floor is a GET over a bare TLS stream of
    asyncio, as often.

Where a figure depends on how fast the machine is, CPU time is shown too.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import goals
import msgspec
from goals import ABSOLUTE, BASE, OURS, Goal, Metric

from kcpctl.apis.conditions import READY, TRUE
from kcpctl.apis.naming import KEY_LABEL, SYNCTARGET_FINALIZER, sync_target_key
from kcpctl.apis.resource import WORKSPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, PatchType, load_config
from kcpctl.clusters import ClusterPool
from kcpctl.informers import InformerFactory
from kcpctl.manager import Manager
from kcpctl.reconcilers import synctarget
from kcpctl.reconcilers.synctarget import SyncTargetOptions
from kcpctl.runtime import Child, IOLoop, Metrics, format_time
from kcpctl.testing import ControlPlane, eventually

HERE = Path(__file__).resolve().parent
POOL_LOAD = HERE.parent / "pool_load.py"
MARKS = ("<!-- controllers.py -->", "<!-- end of controllers.py -->")
WORKERS = 4
BEAT_SECONDS = 20.0

METRICS = (
    Metric(
        "reconciles",
        "reconciles/s that write a status, 4 workers",
        (Goal(ABSOLUTE, 300, 1000), Goal(BASE)),
        base="bare patches",
    ),
    Metric(
        "reconcile CPU",
        "their CPU time in the controllers' process",
        (Goal(BASE),),
        lower_is_better=True,
        unit=" µs",
        base="bare patch",
    ),
    Metric(
        "resync",
        "resync of 10,000 SyncTargets without news",
        (Goal(ABSOLUTE, 2, 0.5),),
        lower_is_better=True,
        unit=" s",
    ),
    Metric("resync CPU", "its CPU time", (), lower_is_better=True, unit=" s"),
    Metric(
        "heartbeat",
        "heartbeat seen to Ready written, p99",
        (Goal(ABSOLUTE, 1000, 200),),
        lower_is_better=True,
        unit=" ms",
    ),
    Metric("heartbeat p50", "the same, p50", (), lower_is_better=True, unit=" ms"),
    Metric(
        "memory",
        "memory of a connected cluster at rest",
        (Goal(ABSOLUTE, 200, 100),),
        lower_is_better=True,
        unit=" KiB",
    ),
    Metric(
        "pool CPU",
        "CPU of 1,000 connected clusters at rest",
        (Goal(ABSOLUTE, 10, 3), Goal(BASE)),
        lower_is_better=True,
        unit=" % of a core",
        base="bare GETs",
    ),
)

Sample = dict[str, dict[str, float]]


def made(name: str, cluster: str) -> dict[str, Any]:
    """Return an External SyncTarget that has the controller's marks, so that one write is left."""
    meta = {
        "name": name,
        "finalizers": [SYNCTARGET_FINALIZER],
        "labels": {KEY_LABEL: sync_target_key(cluster, name)},
    }
    spec = {
        "cells": {"location": name},
        "supportedAPIExports": [{"workspace": "root", "export": "kubernetes"}],
        "capacity": {"cpu": "64", "memory": "256Gi"},
    }
    return {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": meta,
        "spec": spec,
    }


async def side_by_side(calls: Iterator[Awaitable[object]], at_once: int = 16) -> None:
    """Await all of them, so many at a time."""

    async def one_after_the_other() -> None:
        for call in calls:
            await call

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


def populate(everything: Client, count: int, workspaces: int) -> list[tuple[str, str]]:
    """Create SyncTargets in new workspaces; return cluster and name of each."""
    root = everything.cluster("root").resource(WORKSPACES)
    for number in range(workspaces):
        meta = {"name": f"bench-{number}"}
        root.create({"apiVersion": WORKSPACES.api_version, "kind": "Workspace", "metadata": meta})

    def clusters() -> list[str]:
        found = [one for one in root.list() if one.get("status", {}).get("phase") == "Ready"]
        return [one["spec"]["cluster"] for one in found] if len(found) >= workspaces else []

    names = eventually(clusters, timeout_seconds=60)
    keys = [(names[number % workspaces], f"target-{number}") for number in range(count)]
    client = everything.aio

    def create(cluster: str, name: str) -> Awaitable[object]:
        return client.cluster(cluster).resource(SYNCTARGETS).create(made(name, cluster))

    everything.loop.run(side_by_side(create(*key) for key in keys))
    return keys


class Controllers:
    """The SyncTarget controller in this process, as run-controllers makes it."""

    def __init__(self, plane: ControlPlane, stack: ExitStack) -> None:
        self.metrics = Metrics()
        self.io_loop = stack.enter_context(IOLoop("bench"))
        made = AsyncClient.workspaces(plane.config, metrics=self.metrics)
        self.client = Client(made, self.io_loop)
        stack.callback(self.client.close)
        self.factory = InformerFactory(made.wildcard(), self.io_loop, metrics=self.metrics)
        pool = ClusterPool(self.io_loop, metrics=self.metrics)
        stack.callback(pool.close)
        recorder = Manager(self.client, metrics=self.metrics).recorder("bench")
        stack.callback(recorder.close)
        self.controller = synctarget.new_controller(
            client=self.client,
            factory=self.factory,
            pool=pool,
            recorder=recorder,
            # Nobody beats here, and that shall change nothing.
            options=SyncTargetOptions(startup_grace_seconds=86_400),
            metrics=self.metrics,
        )
        stack.callback(self.controller.stop)
        self.factory.start()
        self.factory.wait_for_sync(120)
        stack.callback(self.factory.close)
        eventually(lambda: self.controller.synced, timeout_seconds=60)

    def count(self, **labels: str) -> float:
        name = "rest_client_requests_total"
        families = self.metrics.registry.collect()
        samples = (one for family in families for one in family.samples if one.name == name)
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    def wait(self) -> None:
        """Return when there is nothing to do."""
        queue = self.controller.queue
        while len(queue) or queue.snapshot().processing:
            time.sleep(0.01)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that it took."""
    began, cpu = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - began, time.process_time() - cpu


def bare_patches(client: Client, found: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Write a status that somebody has written already but for one word, and time it."""

    def patch(obj: dict[str, Any]) -> None:
        meta = obj["metadata"]
        conditions = [one | {"message": "Measured"} for one in obj["status"]["conditions"]]
        resource = client.cluster(meta["annotations"]["kcp.io/cluster"]).resource(SYNCTARGETS)
        guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {"metadata": guard, "status": obj["status"] | {"conditions": conditions}}
        resource.patch(meta["name"], body, type=PatchType.MERGE, subresource="status")

    with ThreadPoolExecutor(WORKERS) as threads:
        return timed(lambda: list(threads.map(patch, found)))


def reconciles(count: int) -> Sample:
    """Measure the first reconciles, and those without news."""
    with ControlPlane() as plane, ExitStack() as stack:
        keys = populate(plane.all_clusters, count, 20)
        controllers = Controllers(plane, stack)
        controller = controllers.controller

        def first() -> None:
            controller.start()
            controllers.wait()

        seconds, cpu = timed(first)
        writes = controllers.count(method="PATCH", code="200")
        assert writes >= count, f"{writes} writes of {count} statuses"
        # Keys come again when their own write has come back, and events are written meanwhile.
        time.sleep(2)
        controllers.wait()
        sweeps = []
        before = controllers.count()
        for _ in range(3):

            def sweep() -> None:
                for cluster, name in keys:
                    controller.enqueue(f"{cluster}|{name}")
                controllers.wait()

            sweeps.append(timed(sweep))
        assert controllers.count() == before, "a reconcile without news made a request"
        controller.stop()
        everybody = controllers.client.wildcard().resource(SYNCTARGETS).list()
        some = [msgspec.json.decode(msgspec.json.encode(one)) for one in everybody][: count // 4]
        bare_seconds, bare_cpu = bare_patches(controllers.client, some)
    best = min(sweeps)
    scale = 10_000 / count
    return {
        "reconciles": {OURS: count / seconds, BASE: len(some) / bare_seconds},
        "reconcile CPU": {OURS: cpu / count * 1e6, BASE: bare_cpu / len(some) * 1e6},
        "resync": {OURS: best[0] * scale},
        "resync CPU": {OURS: min(one[1] for one in sweeps) * scale},
    }


class Beats:
    """Lets SyncTargets beat, and watches what comes of it."""

    def __init__(self, client: AsyncClient, keys: Sequence[tuple[str, str]]) -> None:
        self.client = client
        self.keys = keys
        self.stamps: dict[str, str] = {}
        self.seen: dict[str, float] = {}
        self.delays: list[float] = []

    async def beat(self, cluster: str, name: str) -> None:
        stamp = format_time(time.time())
        body = {"status": {"lastSyncerHeartbeatTime": stamp, "lastHeartbeatTime": stamp}}
        resource = self.client.cluster(cluster).resource(SYNCTARGETS)
        await resource.patch(name, body, type=PatchType.MERGE, subresource="status")

    async def beat_for(self, seconds: float) -> None:
        """Let each one beat every 20 s, one after the other."""
        began = time.monotonic()
        gap = BEAT_SECONDS / len(self.keys)
        async with asyncio.TaskGroup() as group:
            for number, key in zip(range(int(seconds / gap)), itertools.cycle(self.keys)):
                group.create_task(self.beat(*key))
                await asyncio.sleep(began + number * gap - time.monotonic())

    async def watch(self, version: str) -> None:
        watch = self.client.wildcard().resource(SYNCTARGETS).watch(resource_version=version)
        async for event in watch:
            self.note(event.object, time.monotonic())

    def note(self, obj: dict[str, Any], now: float) -> None:
        meta, status = obj["metadata"], obj.get("status", {})
        stamp = status.get("lastHeartbeatTime", "")
        ready = next((one for one in status.get("conditions", ()) if one["type"] == READY), {})
        if stamp != self.stamps.get(meta["uid"], ""):
            self.stamps[meta["uid"]] = stamp
            if ready.get("status") != TRUE:
                self.seen.setdefault(meta["uid"], now)
        elif ready.get("status") == TRUE and meta["uid"] in self.seen:
            self.delays.append(now - self.seen.pop(meta["uid"]))

    async def run(self, version: str, seconds: float) -> None:
        watching = asyncio.ensure_future(self.watch(version))
        await self.beat_for(seconds)
        for _ in range(60):  # a machine that is busy is behind
            if len(self.delays) == len(self.keys):
                break
            await asyncio.sleep(1)
        watching.cancel()


def heartbeats(count: int, seconds: float) -> Sample:
    """Measure how long a heartbeat takes to make its SyncTarget Ready."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubeconfig = directory / "kubeconfig"
        command = [sys.executable, "-m", "kcpctl", "run-controllers", "--embedded"]
        command += ["--write-kubeconfig", str(kubeconfig), "--health-probe-bind-address", "0"]
        command += ["--metrics-bind-address", "0"]
        with (directory / "log").open("wb") as log:
            child = Child(command, env=os.environ, output=log)
        stack.callback(child.close)
        eventually(kubeconfig.exists, timeout_seconds=60)
        io_loop = stack.enter_context(IOLoop("bench"))
        client = Client(AsyncClient.workspaces(load_config(kubeconfig)), io_loop)
        stack.callback(client.close)
        keys = populate(client, count, 20)
        everybody = client.wildcard().resource(SYNCTARGETS)
        eventually(
            lambda: all(one.get("status", {}).get("phase") for one in everybody.list()),
            timeout_seconds=60,
            poll_seconds=1,
        )
        beats = Beats(client.aio, keys)
        io_loop.run(beats.run(everybody.list().resource_version, seconds))
    delays = sorted(beats.delays)
    assert len(delays) == count, f"{len(delays)} of {count} became Ready"
    return {
        "heartbeat": {OURS: delays[int(len(delays) * 0.99)] * 1000},
        "heartbeat p50": {OURS: delays[len(delays) // 2] * 1000},
    }


def pool(count: int, seconds: float) -> Sample:
    """Measure the pool, by the program that loads it."""
    command = [sys.executable, str(POOL_LOAD), "--clusters", str(count), "--hanging", "0"]
    command += ["--churn", "0", "--seconds", str(seconds), "--json"]
    # What it finds wrong, it says itself.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(done.stdout.splitlines()[-1])
    scale = 1000 / count
    return {
        "memory": {OURS: found["memory_kib"]},
        "pool CPU": {OURS: found["cpu"] * 100 * scale, BASE: found["floor_cpu"] * 100 * scale},
    }


PARTS: dict[str, Callable[[bool], Sample]] = {
    "reconciles": lambda quick: reconciles(1000 if quick else 10_000),
    "heartbeats": lambda quick: heartbeats(100 if quick else 1000, 40),
    "pool": lambda quick: pool(100 if quick else 1000, 20 if quick else 40),
}


def table(samples: dict[str, dict[str, list[float]]]) -> str:
    """Return the figures as a table."""
    lines = ["| metric | kcpctl | floor | must | aim | met |", "|---" * 6 + "|"]
    for metric in METRICS:
        found = samples.get(metric.key, {})
        floor = goals.figure(metric, found.get(BASE, ()))
        cells = (
            metric.title,
            goals.figure(metric, found.get(OURS, ())),
            floor if floor == "-" else f"{floor} ({metric.base})",
            goals.bounds_text(metric, "must") or "-",
            goals.bounds_text(metric, "aim") or "-",
            goals.verdict(metric, found),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(samples: dict[str, dict[str, list[float]]], rounds: int, seconds: float) -> str:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{table(samples)}\n\n{rounds} round{'s' * (rounds > 1)} in {seconds:.0f} s, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, load at the end {load}\n"
    )


def put_into(file: Path, text: str) -> None:
    """Replace what is between the marks."""
    before, rest = file.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    file.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--into", type=Path, metavar="FILE", help="where to put the table")
    options = parser.parse_args()
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    began = time.monotonic()
    for _ in range(options.rounds):
        for name in options.only.split(","):
            print(f"# {name}", file=sys.stderr, flush=True)
            for metric, figures in PARTS[name](options.quick).items():
                for who, value in figures.items():
                    samples[metric][who].append(value)
    text = report(samples, options.rounds, time.monotonic() - began)
    print(text)
    if options.into:
        put_into(options.into, text)
    assert threading.active_count() == 1, threading.enumerate()


if __name__ == "__main__":
    main()
