#!/usr/bin/env python3
"""Runs informers and controllers for long while all fails around them, and looks for leaks.

    hack/soak.py [--minutes 15] [--objects 200] [--seed 1] [--kubeconfig FILE]

The server is an embedded control plane with two workspaces, which is also restarted, empty, now
and then; or the one of a kubeconfig, whose ConfigMaps in ``default`` are changed (those with the
label ``soak``). Between it and everything else is a proxy that breaks, cuts, holds back and
refuses connections. In each cycle

1. objects are created, changed and deleted, past the proxy, while one fault happens;
2. a cluster joins the pool, is watched and reconciled, and leaves;
3. when the fault is over, all of it must come to rest: each store is what the server has, what
   the handlers were told adds up to that, each object was reconciled, the queue is empty;
4. threads, tasks, descriptors, memory, objects and series are counted.

At the end all is closed and counted once more. Exits 1 and says what if something did not come
to rest, grew from the end of the warm-up (a third of the time) to the end, or was left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, config_from_kubeconfig
from kcpctl.clusters import ClusterPool
from kcpctl.controller import Controller, Request, Result
from kcpctl.errors import KcpctlError, NotFound
from kcpctl.informers import CachedObject, EventHandler, InformerFactory, Lister
from kcpctl.logicalcluster import WILDCARD
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import ControlPlane, FaultProxy, eventually

LABEL = "soak"
NAMESPACE = "default"
WORKSPACES = 2
# A key that failed through a whole fault waits for up to a minute.
REST_SECONDS = 120
# What may come and go by chance: caches that fill up, the allocator's fragments.
ALLOWED = {
    "threads": 1.0,
    "tasks": 2.0,
    "descriptors": 2.0,
    "rss_kib": 4096.0,
    "objects": 600.0,
    "series": 4.0,
    "queued": 0.5,
}


@dataclass(frozen=True)
class Sample:
    """What is counted at rest."""

    threads: int
    tasks: int
    descriptors: int
    rss_kib: int
    objects: int
    series: int
    queued: int


class Mirror(EventHandler):
    """What the handlers were told, added up; ``wrong`` has what does not add up."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.events = 0
        self.wrong: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.events += 1
        if obj.key in self.versions:
            self.wrong.append(f"second add of {obj.key}")
        self.versions[obj.key] = obj.meta.resource_version

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.events += 1
        if self.versions.get(new.key) != old.meta.resource_version:
            self.wrong.append(f"update of {new.key} from a version that nobody was told")
        self.versions[new.key] = new.meta.resource_version

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.events += 1
        if self.versions.pop(obj.key, None) is None:
            self.wrong.append(f"delete of {obj.key}, which nobody was told of")


class Echo:
    """A reconciler that copies ``data.version`` to ``data.seen``, and fails now and then."""

    def __init__(self, lister: Lister[dict[str, Any]], client: Client, rng: random.Random) -> None:
        self.lister = lister
        self.client = client
        self.rng = rng
        self.count = 0

    def reconcile(self, request: Request) -> Result | None:
        self.count += 1
        try:
            obj = self.lister.get(request.key)
        except NotFound:
            return None
        if LABEL not in obj["metadata"].get("labels", {}) or is_echoed(obj):
            return None
        if self.rng.random() < 0.02:
            raise KcpctlError("a failure now and then")
        client = self.client
        if client.is_multi_cluster:
            client = client.cluster(request.cluster)
        body = {"data": {"seen": obj["data"]["version"]}}
        try:
            client.resource(CONFIG_MAPS).patch(request.name, body, namespace=request.namespace)
        except NotFound:
            return None
        return None


def is_echoed(obj: dict[str, Any]) -> bool:
    data: dict[str, str] = obj.get("data", {})
    return data.get("seen") == data.get("version")


class Server:
    """The server, past the proxy: ``homes`` are clients of the logical clusters to write to."""

    def __init__(self, kubeconfig: Path | None, io_loop: IOLoop) -> None:
        self.plane = None if kubeconfig else ControlPlane().start()
        self.homes: list[Client] = []
        if kubeconfig is None:
            assert self.plane
            self.document: dict[str, Any] = yaml.safe_load(self.plane.kubeconfig.read_text())
            self.make_workspaces()
        else:
            self.document = yaml.safe_load(kubeconfig.read_text())
            config = config_from_kubeconfig(kubeconfig.read_bytes(), source=str(kubeconfig))
            self.homes.append(Client(AsyncClient.plain(config), io_loop))

    @property
    def url(self) -> str:
        found: str = self.document["clusters"][0]["cluster"]["server"]
        return found

    def make_workspaces(self) -> None:
        assert self.plane
        self.homes = [self.plane.workspace() for _ in range(WORKSPACES)]

    def restart(self) -> None:
        """End the control plane as a crash does, and start it again, empty."""
        assert self.plane
        self.plane.restart()
        self.make_workspaces()

    def versions(self) -> dict[str, str]:
        """Return what the server has: the version of each ConfigMap by its key."""
        found = {}
        clients = [self.plane.all_clusters.cluster(WILDCARD)] if self.plane else self.homes
        for client in clients:
            for obj in client.resource(CONFIG_MAPS).list():
                meta = obj["metadata"]
                cluster = meta.get("annotations", {}).get("kcp.io/cluster", client.cluster_name)
                key = f"{cluster}|{meta['namespace']}/{meta['name']}"
                found[key] = meta["resourceVersion"]
        return found

    def close(self) -> None:
        if self.plane:
            self.plane.close()
        else:
            self.homes[0].close()


class Churn:
    """Creates, changes and deletes ConfigMaps, about ``objects`` of them in each home."""

    def __init__(self, server: Server, objects: int, rng: random.Random) -> None:
        self.server = server
        self.objects = objects
        self.rng = rng
        self.version = 0
        self.forget()

    def forget(self) -> None:
        """Begin with nothing, as the server."""
        self.names: list[set[str]] = [set() for _ in self.server.homes]

    def write(self, times: int) -> None:
        for _ in range(times):
            home = self.rng.randrange(len(self.names))
            there = sorted(self.names[home])
            choice = self.rng.random()
            if len(there) < self.objects // 2 or (choice < 0.3 and len(there) < self.objects):
                self.create(home)
            elif choice < 0.6:
                self.delete(home, self.rng.choice(there))
            else:
                self.update(home, self.rng.choice(there))

    def level(self) -> None:
        """Create or delete until there are exactly so many, so that counts can be compared."""
        for home, there in enumerate(self.names):
            while len(there) < self.objects:
                self.create(home)
            while len(there) > self.objects:
                self.delete(home, min(there))

    def create(self, home: int) -> None:
        self.version += 1
        name = f"soak-{self.version}"
        meta = {"name": name, "namespace": NAMESPACE, "labels": {LABEL: "yes"}}
        body = {"metadata": meta, "data": {"version": str(self.version)}}
        self.server.homes[home].resource(CONFIG_MAPS).create(body)
        self.names[home].add(name)

    def update(self, home: int, name: str) -> None:
        self.version += 1
        body = {"data": {"version": str(self.version)}}
        self.server.homes[home].resource(CONFIG_MAPS).patch(name, body, namespace=NAMESPACE)

    def delete(self, home: int, name: str) -> None:
        self.server.homes[home].resource(CONFIG_MAPS).delete(name, namespace=NAMESPACE)
        self.names[home].discard(name)

    def sweep(self) -> None:
        """Delete what is left."""
        for home, there in enumerate(self.names):
            for name in list(there):
                self.delete(home, name)


class Fleet:
    """What is watched for leaks: informers of all kinds, a controller, a pool of clusters."""

    def __init__(self, server: Server, proxy: FaultProxy, io_loop: IOLoop, rng: random.Random):
        self.server = server
        self.metrics = Metrics()
        self.io_loop = io_loop
        self.rng = rng
        self.kubeconfig = yaml.safe_dump(proxy.kubeconfig(server.document)).encode()
        config = config_from_kubeconfig(self.kubeconfig, source="soak")
        self.new = AsyncClient.workspaces if server.plane else AsyncClient.plain
        self.client = Client(self.new(config, metrics=self.metrics), io_loop)
        self.pool = ClusterPool(io_loop, metrics=self.metrics, new_client=self.new)
        self.streaming = self.factory(self.client, "streaming")
        self.listing = self.factory(self.client, "listing", streaming=False)
        informer = self.streaming.informer(CONFIG_MAPS)
        self.informers = [
            informer,
            self.streaming.informer(CONFIG_MAPS, metadata_only=True),
            self.listing.informer(CONFIG_MAPS),
            self.streaming.informer(CONFIG_MAPS, compact=True),
        ]
        self.mirrors = [Mirror() for _ in self.informers]
        for number, (one, mirror) in enumerate(zip(self.informers, self.mirrors, strict=True)):
            # The last one has a buffer and a thread of its own.
            one.add_handler(mirror, buffered=number == len(self.informers) - 1)
        self.echo = Echo(informer.lister, self.client, rng)
        self.controller = Controller("echo", self.echo, metrics=self.metrics).watches(informer)

    def factory(self, client: Client, name: str, *, streaming: bool = True) -> InformerFactory:
        return InformerFactory(
            client.aio, self.io_loop, name=name, metrics=self.metrics, streaming=streaming
        )

    def start(self) -> None:
        for factory in (self.streaming, self.listing):
            factory.start()
            factory.wait_for_sync(60)
        self.controller.start()

    def join_and_leave(self) -> None:
        """Let a cluster of the pool come, be watched and reconciled, and go."""
        self.pool.ensure("member", self.kubeconfig, source="soak")
        client = eventually(lambda: self.pool.client("member"), timeout_seconds=REST_SECONDS)
        factory = self.factory(client, "member")
        informer = factory.informer(CONFIG_MAPS, label_selector=f"{LABEL}=yes")
        echo = Echo(informer.lister, client, self.rng)
        controller = Controller("member", echo, workers=2, metrics=self.metrics).watches(informer)
        registration = informer.add_handler(Mirror(), buffered=True, resync_seconds=60)
        factory.start()
        factory.wait_for_sync(REST_SECONDS)
        controller.start()
        if cluster := self.server.homes[0].cluster_name:
            factory.remove(cluster)
            controller.queue.remove_cluster(cluster)
        registration.remove()
        assert controller.stop(), "the member's controller did not stop"
        factory.close()
        self.pool.remove("member")

    def unrest(self) -> str:
        """Return what is not as it should be yet, or ""."""
        truth = self.server.versions()
        for informer, mirror in zip(self.informers, self.mirrors, strict=True):
            keys = informer.lister.keys()
            objects = [obj for key in keys if (obj := informer.lister.cached(key))]
            stored = {obj.key: obj.meta.resource_version for obj in objects}
            if stored != truth:
                return f"{informer.description}: {difference(stored, truth)} of the server's"
            if mirror.versions != stored:
                return f"{informer.description}: told {difference(mirror.versions, stored)}"
            if mirror.wrong:
                raise SystemExit(f"{informer.description}: {mirror.wrong[:5]}")
        late = [
            obj["metadata"]["name"]
            for obj in self.informers[0].lister.list(f"{LABEL}=yes")
            if not is_echoed(obj)
        ]
        if late:
            return f"{len(late)} objects are not reconciled, {late[0]} for one"
        return f"{self.queued()} keys in the queue" if self.queued() else ""

    def queued(self) -> int:
        found = self.controller.queue.snapshot()
        return len(found.queued) + len(found.waiting) + len(found.processing)

    def close(self) -> None:
        self.controller.stop()
        self.streaming.close()
        self.listing.close()
        self.pool.close()
        self.client.close()


def difference(one: dict[str, str], other: dict[str, str]) -> str:
    missing, extra = other.keys() - one.keys(), one.keys() - other.keys()
    old = sum(one[key] != other[key] for key in one.keys() & other.keys())
    return f"{len(missing)} missing, {len(extra)} too many, {old} in another version"


def reset(proxy: FaultProxy, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        proxy.reset()
        time.sleep(0.2)


def cut(proxy: FaultProxy, rng: random.Random) -> None:
    proxy.cut_after(rng.randint(1, 40_000))
    time.sleep(1)
    proxy.cut_after(None)


def hang(proxy: FaultProxy, rng: random.Random) -> None:
    proxy.hang()
    time.sleep(rng.uniform(0.5, 2))
    if rng.random() < 0.5:
        proxy.reset()
    proxy.resume()


def refuse(proxy: FaultProxy, rng: random.Random) -> None:
    proxy.refuse()
    time.sleep(rng.uniform(0.5, 2))
    proxy.accept()


def delay(proxy: FaultProxy, rng: random.Random) -> None:
    proxy.delay(rng.uniform(0.01, 0.1))
    time.sleep(1)
    proxy.delay(0)


FAULTS: list[Callable[[FaultProxy, random.Random], None]] = [reset, cut, hang, refuse, delay]


def sample(fleet: Fleet) -> Sample:
    """Count everything; call it at rest."""

    async def tasks() -> int:
        return len(asyncio.all_tasks()) - 1

    running = fleet.io_loop.run(tasks())
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        threads=threading.active_count(),
        tasks=running,
        descriptors=len(os.listdir("/proc/self/fd")),
        rss_kib=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        objects=len(gc.get_objects()),
        series=fleet.metrics.render().count(b"\n"),
        queued=fleet.queued(),
    )


def types() -> Counter[str]:
    """Count the tracked objects by their type."""
    gc.collect()
    return Counter(f"{type(obj).__module__}.{type(obj).__qualname__}" for obj in gc.get_objects())


def trend_of(values: Sequence[float]) -> float:
    """Return how much a straight line through the values rises from the first to the last."""
    if len(values) < 2:
        return 0.0
    line = statistics.linear_regression(range(len(values)), values)
    return line.slope * (len(values) - 1)


def has_grown(values: Sequence[float], allowed: float) -> bool:
    """Whether the values rise, and end above all that they were at first.

    Some only come and go: a connection that is kept for a while is three descriptors.
    """
    third = max(len(values) // 3, 1)
    above = statistics.median(values[-third:]) > max(values[:third])
    return above and trend_of(values) > allowed


def judge(samples: Sequence[Sample], before: Counter[str], after: Counter[str]) -> list[str]:
    """Print what was counted, and return what grew."""
    grew = []
    print(f"\n{'at rest':12} {'first':>10} {'last':>10} {'trend':>10}   of {len(samples)} cycles")
    for name, allowed in ALLOWED.items():
        values = [float(asdict(one)[name]) for one in samples]
        trend = trend_of(values)
        print(f"{name:12} {values[0]:10.0f} {values[-1]:10.0f} {trend:+10.1f}")
        if has_grown(values, allowed):
            grew.append(f"{name} grew by {trend:.1f} in {len(samples)} cycles")
    more = ((name, after[name] - before[name]) for name in after)
    top = sorted(((count, name) for name, count in more if count > 20), reverse=True)[:8]
    print("objects by type: " + (", ".join(f"{name} +{count}" for count, name in top) or "level"))
    return grew


class Soak:
    """The whole run."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self.rng = random.Random(arguments.seed)
        self.seconds = arguments.minutes * 60
        self.io_loop = stack.enter_context(IOLoop("soak-io"))
        self.server = Server(arguments.kubeconfig, self.io_loop)
        stack.callback(self.server.close)
        self.proxy = stack.enter_context(FaultProxy(self.server.url))
        self.churn = Churn(self.server, arguments.objects, self.rng)
        self.fleet = Fleet(self.server, self.proxy, self.io_loop, self.rng)
        stack.callback(self.fleet.close)
        self.faults: Counter[str] = Counter()
        self.samples: list[Sample] = []

    def run(self) -> list[str]:
        """Return what is wrong."""
        began = time.monotonic()
        self.fleet.start()
        before: Counter[str] = Counter()
        while (passed := time.monotonic() - began) < self.seconds:
            self.cycle()
            if unrest := self.rest():
                return [f"no rest in {REST_SECONDS} s: {unrest}"]
            if passed < self.seconds / 3:
                self.samples, before = [], types()
            self.samples.append(sample(self.fleet))
            last = " ".join(f"{name}={value}" for name, value in asdict(self.samples[-1]).items())
            print(f"{passed:6.0f} s  {last}", flush=True)
        print("\nfaults: " + ", ".join(f"{name} {count}" for name, count in self.faults.items()))
        print(f"events: {sum(mirror.events for mirror in self.fleet.mirrors):,}", end="; ")
        print(f"reconciles: {self.fleet.echo.count:,}; connections: {self.proxy.accepted:,}")
        return judge(self.samples, before, types())

    def cycle(self) -> None:
        if self.server.plane and self.rng.random() < 0.08:
            self.faults["restart"] += 1
            self.server.restart()
            self.churn.forget()
        else:
            fault = self.rng.choice(FAULTS)
            self.faults[fault.__name__] += 1
            breaking = threading.Thread(target=fault, args=(self.proxy, self.rng))
            breaking.start()
            self.churn.write(80)
            breaking.join()
        self.churn.write(40)
        self.fleet.join_and_leave()
        self.churn.level()

    def rest(self) -> str:
        """Return "" when everything has come to rest, or what has not in time."""
        deadline = time.monotonic() + REST_SECONDS
        while (found := self.fleet.unrest()) and time.monotonic() < deadline:
            time.sleep(0.1)
        # Connections that were given up close now.
        time.sleep(0.3)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--objects", type=int, default=200, help="in each logical cluster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.getLogger("kcpctl").setLevel(logging.CRITICAL)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        soak = Soak(arguments, stack)
        wrong = soak.run()
        if arguments.kubeconfig:
            soak.churn.sweep()
    gc.collect()
    left = threading.active_count() - threads, len(os.listdir("/proc/self/fd")) - descriptors
    if any(left):
        wrong.append(f"left after the end: {left[0]} threads, {left[1]} descriptors")
    print("\n".join(wrong) or "nothing grew, nothing was lost")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
