"""Informers of a real API server that is killed, restarted and compacted while others write."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, ClientConfig, load_config
from kcpctl.errors import Gone, KcpctlError
from kcpctl.informers import (
    CachedObject,
    EventHandler,
    InformerFactory,
    ReflectorOptions,
    SharedInformer,
)
from kcpctl.informers.consistency import CHECK_VARIABLE
from kcpctl.runtime import SYSTEM_CLOCK, Backoff, IOLoop, Metrics, start_thread
from kcpctl.testing import FaultProxy, eventually
from kcpctl.testing.real import RealCluster, missing_binaries

MAX_PAUSE_SECONDS = 1.0
LABEL = "written=by-test"


class Longest(random.Random):
    """Draws the longest of each pause."""

    def random(self) -> float:
        return 0.0


class Believer(EventHandler):
    """Holds what a handler that believes what it hears would hold, and what it cannot believe."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.doubts: list[str] = []
        self.unknown_deletions = 0
        self._newest: dict[str, int] = {}

    def _tell(self, obj: CachedObject) -> None:
        self.known[obj.key] = obj.resource_version
        if int(obj.resource_version) <= self._newest.get(obj.key, 0):
            self.doubts.append(f"{obj.key} went back to {obj.resource_version}")
        self._newest[obj.key] = int(obj.resource_version)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        if obj.key in self.known:
            self.doubts.append(f"{obj.key} added twice")
        self._tell(obj)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        if self.known.get(old.key) != old.resource_version:
            self.doubts.append(f"{old.key} updated from {old.resource_version}")
        self._tell(new)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        if self.known.pop(obj.key, None) is None:
            self.doubts.append(f"{obj.key} deleted twice")
        self.unknown_deletions += final_state_unknown


class Watched:
    """An informer through a proxy, and what its client asked."""

    def __init__(
        self, config: ClientConfig, loop: IOLoop, *, streaming: bool, metadata_only: bool
    ) -> None:
        self.errors: list[Exception] = []
        self.handler = Believer()
        self.metrics = Metrics()
        self.client = AsyncClient.plain(config, metrics=self.metrics)
        self.factory = InformerFactory(
            self.client,
            loop,
            rng=Longest(),
            streaming=streaming,
            options=ReflectorOptions(
                backoff=lambda: Backoff(0.2, MAX_PAUSE_SECONDS, rng=Longest()),
                on_error=self.errors.append,
            ),
        )
        self.informer: SharedInformer[dict[str, Any]] = self.factory.informer(
            CONFIG_MAPS, label_selector=LABEL, metadata_only=metadata_only
        )
        self.informer.add_handler(self.handler)
        self.factory.start()

    @property
    def stored(self) -> dict[str, str]:
        cached = [self.informer.lister.cached(key) for key in list(self.informer.lister.keys())]
        return {obj.key: obj.resource_version for obj in cached if obj is not None}

    @property
    def requests(self) -> float:
        families = self.metrics.registry.collect()
        return sum(
            sample.value
            for family in families
            if family.name == "rest_client_requests"
            for sample in family.samples
            if sample.name == "rest_client_requests_total"
        )


def write(client: Client, writer: int, seed: int, ended: threading.Event) -> None:
    """Create, update and delete, without a plan, some of it what the other one writes too."""
    rng, maps = random.Random(seed), client.resource(CONFIG_MAPS)
    while not ended.is_set():
        name = f"{rng.choice([writer, 'both'])}-{rng.randint(0, 40)}"
        metadata = {"name": name, "namespace": "default", "labels": {"written": "by-test"}}
        with suppress(KcpctlError):
            if rng.random() < 0.4:
                maps.delete(name, namespace="default")
            elif rng.random() < 0.5:
                maps.create({"metadata": metadata, "data": {"by": str(writer)}})
            else:
                data = {"data": {"at": str(rng.random())}}
                maps.patch(name, data, namespace="default")
        SYSTEM_CLOCK.sleep(0.005)


@contextmanager
def writing(client: Client, seed: int) -> Iterator[None]:
    ended = threading.Event()
    threads = [
        start_thread(
            lambda writer=writer: write(client, writer, seed + writer, ended),  # type: ignore[misc]
            name=f"writer-{writer}",
        )
        for writer in range(2)
    ]
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def truth(client: Client) -> dict[str, str]:
    listed = client.resource(CONFIG_MAPS).list(namespace="default", label_selector=LABEL)
    return {
        f"root|default/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in listed
    }


def check(watched: list[Watched], client: Client) -> None:
    wanted = truth(client)
    for one in watched:
        eventually(lambda one=one: one.stored == wanted)  # type: ignore[misc]
        assert one.handler.known == wanted
        assert one.handler.doubts == []


def test_informers_live_through_restarts_and_compactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """RF-10, RF-28, RF-31, WL-07, pitfall 7: no lost delete, and no more requests than pauses.

    WL-13: each streamed state is what a list of its version has.
    """
    monkeypatch.setenv(CHECK_VARIABLE, "1")
    if missing := missing_binaries():
        pytest.skip(missing)
    loop = IOLoop("real-informers-io")
    with RealCluster() as cluster, FaultProxy(cluster.url) as proxy:
        config = load_config(str(cluster.kubeconfig))
        client = Client(AsyncClient.plain(config, request_timeout_seconds=5), loop)
        through = replace(config, server=f"https://{proxy.address}")
        watched = [
            Watched(through, loop, streaming=streaming, metadata_only=metadata_only)
            for streaming, metadata_only in ((True, False), (False, False), (True, True))
        ]
        began_at = SYSTEM_CLOCK.monotonic()
        for one in watched:
            one.factory.wait_for_sync(60)
        with writing(client, seed=1):
            SYSTEM_CLOCK.sleep(1)
            cluster.kill_api_server()
            SYSTEM_CLOCK.sleep(0.5)
            cluster.start_api_server()
            SYSTEM_CLOCK.sleep(1)
        check(watched, client)
        # What they have seen last is forgotten while they are away, by etcd and by the cache.
        proxy.refuse()
        with writing(client, seed=7):
            SYSTEM_CLOCK.sleep(1)
        for name in truth(client):
            client.resource(CONFIG_MAPS).delete(name.rpartition("/")[2], namespace="default")
        with writing(client, seed=11):
            SYSTEM_CLOCK.sleep(0.5)
        cluster.compact()
        cluster.kill_api_server()
        cluster.start_api_server()
        proxy.accept()
        check(watched, client)
        for one in watched:
            assert any(isinstance(error, Gone) for error in one.errors)
            assert one.handler.unknown_deletions > 0
            # After each pause: a state by stream or list, of the version or the newest, its check;
            # a watch.
            pauses = (SYSTEM_CLOCK.monotonic() - began_at) / MAX_PAUSE_SECONDS + 3
            assert one.requests <= 5 * pauses
            assert len(one.errors) <= pauses
        with writing(client, seed=21):
            SYSTEM_CLOCK.sleep(0.5)
        check(watched, client)
        for one in watched:
            one.factory.close()
            loop.run(one.client.close())
        client.close()
        eventually(lambda: proxy.live_connections == 0)
    loop.close()
