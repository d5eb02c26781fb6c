#!/usr/bin/env python3
"""Measures an informer beside others: a runner for a driver of list/watch benchmarks. Linux only.

Prints one JSON object: objects per second until a handler has heard of all, memory per object,
events per second with one handler, no-op reconciles per second, latencies. The phases, the clock
and the server are the harness's that the driver brings, which is looked for in ``peers`` beside
the driver that started this, or in the folder that ``BENCH_HARNESS`` names:

    python path/to/run.py --runner kcpctl=hack/bench/informer.py --peers kcpctl,limit-meta1
    BENCH_HARNESS=path/to/peers hack/bench/informer.py --n 10000 --variant compact

Everything is as a program gets it by default: client, informer, factory and controller with
metrics on, states streamed, the fair queue, four workers. Reconciles run on the controller's
threads and read the cache; each event of that phase is of another object, as in the runner of
client-go, since a queue that merges keys would otherwise look faster than it is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path


def harness() -> str:
    """Return the folder that has the harness."""
    if named := os.environ.get("BENCH_HARNESS"):
        return named
    driver = Path("/proc") / str(os.getppid())
    for word in (driver / "cmdline").read_bytes().split(b"\0"):
        if word.endswith(b".py"):
            return str((driver / "cwd").resolve() / Path(os.fsdecode(word)).parent / "peers")
    sys.exit("start this by the driver, or name the harness's folder in BENCH_HARNESS")


sys.path[:0] = [str(Path(__file__).resolve().parents[2]), harness()]

import common  # noqa: E402 - its first line starts the clock that import times are taken from

from kcpctl import __version__  # noqa: E402
from kcpctl.apis.resource import CONFIG_MAPS, PODS, Resource  # noqa: E402
from kcpctl.apis.workload import SYNCTARGETS  # noqa: E402
from kcpctl.client import AsyncClient, ClientConfig  # noqa: E402
from kcpctl.controller import Controller, Request, Result  # noqa: E402
from kcpctl.informers import CachedObject, EventHandler, InformerFactory, Lister  # noqa: E402
from kcpctl.runtime import IOLoop, Metrics  # noqa: E402

KINDS: dict[str, Resource] = {
    "synctargets": SYNCTARGETS,
    "pods": PODS,
    "configmaps": CONFIG_MAPS,
}
QUIET_TIMEOUT_SECONDS = 60


class Noop:
    """A reconciler that reads the object and changes nothing, and counts for the harness.

    It counts under a lock, as the harness's own workers do.
    """

    def __init__(self, harness: common.H, lister: Lister[object]) -> None:
        self._harness = harness
        self._cached = lister.cached
        self._lock = threading.Lock()
        self._reached = threading.Event()
        # Guarded by _lock.
        self._count = self._target = 0
        self._delays_ns: list[int] | None = None

    def expect(self, count: int, delays_ns: list[int] | None = None) -> None:
        """Count from 0 to ``count``; append each one's time since its event to ``delays_ns``."""
        with self._lock:
            self._count, self._target, self._delays_ns = 0, count, delays_ns
            self._reached.clear()

    def wait(self) -> None:
        if not self._reached.wait(QUIET_TIMEOUT_SECONDS):
            raise TimeoutError(f"{self._count} of {self._target} reconciles")

    def reconcile(self, request: Request) -> Result | None:
        now = time.time_ns()
        obj = self._cached(request.key)
        with self._lock:
            self._count += 1
            if self._delays_ns is not None and obj is not None:
                self._delays_ns.append(now - int(obj.meta.annotations[common.TS_KEY]))
            if self._count == self._target:
                self._harness.t_done, self._harness.cpu_done = time.time_ns(), common.cpu()
                self._harness.done.set()
                self._reached.set()
        return None


class Peer(common.Peer, EventHandler):  # type: ignore[misc] # the harness has no types
    """An informer with its indexes and metrics and one handler, then a controller in its place."""

    name = "kcpctl informer"

    def version(self) -> str:
        return __version__

    def setup(self) -> None:
        self.metrics = Metrics()
        config = ClientConfig(server=self.base)
        new = AsyncClient.workspaces if self.args.wildcard else AsyncClient.plain
        self.io = IOLoop()
        self.factory = InformerFactory(
            new(config, metrics=self.metrics), self.io, name="bench", metrics=self.metrics
        )
        compact = self.args.variant == "compact"
        self.informer = self.factory.informer(KINDS[self.kind], compact=compact)
        self.registration = self.informer.add_handler(self)
        self.controller: Controller | None = None
        self.initial = 0
        self.h.reconcile_phase = self.reconcile_phase  # a queue and workers of our own

    def start(self) -> None:
        self.factory.start()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        if not is_initial:
            self.h.on_event(obj)
            return
        self.initial += 1
        if self.initial == self.args.n:
            self.h.synced(self.initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.h.on_event(new)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.h.on_event(obj)

    def ts(self, obj: CachedObject) -> str:
        return obj.meta.annotations[common.TS_KEY]

    def reconcile_phase(self, _: common.Peer) -> None:
        """Let a controller take the handler's place, and count its reconciles."""
        args, out = self.args, self.h.out
        reconciler = Noop(self.h, self.informer.lister)
        self.registration.remove()
        self.controller = Controller(
            "bench", reconciler, workers=args.workers, metrics=self.metrics
        ).watches(self.informer)
        reconciler.expect(args.n)
        while not self.controller.synced:
            time.sleep(0.001)
        self.controller.start()
        reconciler.wait()  # the initial list
        wall = cpu = 0.0
        total = args.events or 5000
        done = 0
        while done < total:
            batch = min(args.n, total - done)
            reconciler.expect(batch)
            seconds, cpu_seconds = self.h.emit(batch)
            wall, cpu, done = wall + seconds, cpu + cpu_seconds, done + batch
        out["rec_s"], out["rec_cpu_us"] = round(total / wall), round(cpu / total * 1e6, 1)
        out["workers"] = f"controller-{args.workers}-threads"
        if "latency" in args.phases:
            self.latency(reconciler)

    def latency(self, reconciler: Noop) -> None:
        args, out = self.args, self.h.out
        count = min(int(args.lat_rate * args.lat_secs), args.n)
        delays: list[int] = []
        reconciler.expect(count, delays)
        self.h.emit(count, rate=args.lat_rate, timeout=min(args.timeout, args.lat_secs * 6 + 20))
        delays = delays[len(delays) // 10 :]
        out["rlat_p50_ms"], out["rlat_p99_ms"] = (
            round(common.pct(delays, part) / 1e6, 3) for part in (0.5, 0.99)
        )

    def cache_len(self) -> int:
        return len(self.informer.lister)

    def stop(self) -> None:
        if self.controller is not None:
            self.controller.stop()
        self.factory.close()
        self.io.close()


common.main(Peer)
