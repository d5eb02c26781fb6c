#!/usr/bin/env python3
"""Measures an informer beside others: a runner for a driver of list/watch benchmarks. Linux only.

Prints one JSON object: objects per second until synced, memory per object, events per second,
latencies, and reconciles per second through a queue and four threads. The phases, the clock and
the server are the harness's that the driver brings, which is looked for in ``peers`` beside the
driver that started this, or in the folder that ``BENCH_HARNESS`` names:

    python path/to/run.py --runner kcpctl=hack/bench/informer.py --peers kcpctl,limit-meta1
    BENCH_HARNESS=path/to/peers hack/bench/informer.py --n 10000
"""

from __future__ import annotations

import os
import sys
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
from kcpctl.informers import CachedObject, EventHandler, InformerFactory  # noqa: E402
from kcpctl.runtime import IOLoop, Metrics  # noqa: E402

KINDS: dict[str, Resource] = {
    "synctargets": SYNCTARGETS,
    "pods": PODS,
    "configmaps": CONFIG_MAPS,
}


class Peer(common.Peer, EventHandler):  # type: ignore[misc] # the harness has no types
    """An informer with its indexes and metrics, and one handler."""

    name = "kcpctl informer"

    def version(self) -> str:
        return __version__

    def setup(self) -> None:
        config = ClientConfig(server=self.base)
        many = self.args.wildcard
        client = AsyncClient.workspaces(config) if many else AsyncClient.plain(config)
        self.io = IOLoop()
        self.factory = InformerFactory(client, self.io, name="bench", metrics=Metrics())
        self.informer = self.factory.informer(KINDS[self.kind])
        self.informer.add_handler(self)
        self.initial = 0

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

    def key(self, obj: CachedObject) -> str:
        return obj.key

    def lookup(self, key: str) -> CachedObject | None:
        return self.informer.lister.cached(key)

    def cache_len(self) -> int:
        return len(self.informer.lister)

    def stop(self) -> None:
        self.factory.close()
        self.io.close()


common.main(Peer)
