"""Informers of many logical clusters against scripted servers, over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.client.config import split_server_url
from kcpctl.controller import Controller, Request
from kcpctl.informers import AggregateInformer, CachedObject, EventHandler, SharedInformer
from kcpctl.informers.initial import InitialStates
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body, watch_line

PATH = "/clusters/*/api/v1/configmaps"
OPEN = Reply(chunks=[], ending="hang")
GONE = Reply(status_body(410, "Expired", "too old resource version"), status=410)


def same(version: int, cluster: str) -> dict[str, Any]:
    """Return the ConfigMap that each cluster has under one name."""
    metadata = {
        "name": "same",
        "namespace": "default",
        "uid": f"uid-{cluster}",
        "resourceVersion": str(version),
        "annotations": {"kcp.io/cluster": cluster},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.cluster}" + (" initial" if is_initial else ""))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.cluster}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.cluster}" + (" unknown" if final_state_unknown else ""))


class Reconciler:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def reconcile(self, request: Request) -> None:
        self.seen.append(request.key)


class Server:
    """A server that shows ``objects`` at ``version``, as a list or as a stream."""

    def __init__(self, server: ScriptedServer, version: int, *objects: dict[str, Any]) -> None:
        self.scripted = server
        self.state(version, *objects)
        self.following: list[Reply] = []
        server.on("GET", PATH, self._answer)

    def state(self, version: int, *objects: dict[str, Any]) -> None:
        self.version, self.objects = version, objects

    def _answer(self, request: Received) -> Reply:
        if "watch" not in request.query:
            meta = {"resourceVersion": str(self.version)}
            items = [{"metadata": obj["metadata"]} for obj in self.objects]
            return Reply({"kind": "ConfigMapList", "metadata": meta, "items": items})
        if "sendInitialEvents" not in request.query:
            return self.following.pop(0) if self.following else OPEN
        annotations = {"k8s.io/initial-events-end": "true"}
        end = {"metadata": {"resourceVersion": str(self.version), "annotations": annotations}}
        lines = [watch_line("ADDED", obj) for obj in self.objects]
        return Reply(chunks=[*lines, watch_line("BOOKMARK", end)], ending="hang")

    def versions(self) -> list[str]:
        """Return the versions of what was asked for, with a w for watches and an s for streams."""
        kinds = {(False, False): "", (True, False): "w", (True, True): "s"}
        return [
            kinds["watch" in one.query, "sendInitialEvents" in one.query]
            + one.query.get("resourceVersion", "")
            for one in self.scripted.requests("GET", PATH)
        ]


class Rig:
    def __init__(self, server: Server, client: AsyncClient, *, streaming: bool) -> None:
        self.server = server
        self.clock = FakeClock()
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            client,
            CONFIG_MAPS,
            dict,
            clock=self.clock,
            rng=random.Random(1),
            streaming=streaming,
            initial_states=InitialStates(),
        )
        self.all, self.one, self.two = Recorder(), Recorder(), Recorder()
        self.informer.add_handler(self.all)
        self.informer.cluster("one").add_handler(self.one)
        self.informer.cluster("two").add_handler(self.two)

    async def until(self, check: Callable[[], object]) -> None:
        """Let real time pass for the sockets and fake time for the pauses."""
        async with asyncio.timeout(60):
            while not check():
                await asyncio.sleep(0.005)
                self.clock.step(0.2)


@asynccontextmanager
async def rig_of(*, streaming: bool = False) -> AsyncIterator[Rig]:
    async with ScriptedServer() as scripted:
        server = Server(scripted, 10, same(1, "one"), same(2, "two"))
        client = AsyncClient.workspaces(ClientConfig(server=scripted.url))
        rig = Rig(server, client, streaming=streaming)
        task = asyncio.create_task(rig.informer.run())
        try:
            await rig.until(lambda: rig.informer.synced)
            yield rig
        finally:
            task.cancel()
            await asyncio.wait({task})
            await client.close()


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_delete_that_was_missed_while_the_watch_was_lost(streaming: bool) -> None:
    """KCP-19, KCP-20 fixed: gone from the store, one on_delete; the other cluster's stays."""
    async with rig_of(streaming=streaming) as rig:
        await rig.server.scripted.stop()
        await rig.until(lambda: rig.informer.last_error is not None)
        rig.server.state(20, same(2, "two"))
        rig.server.following = [GONE]
        await rig.server.scripted.start()
        await rig.until(lambda: len(rig.informer.lister) == 1)
        assert rig.all.calls[2:] == ["delete one unknown"]
        assert rig.one.calls == ["add one initial", "delete one unknown"]
        assert rig.two.calls == ["add two initial"]
        assert rig.informer.lister.keys() == ["two|default/same"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_removed_cluster_is_gone_until_the_server_shows_it_again(streaming: bool) -> None:
    """KCP-17 fixed: deletes are delivered, once, to the views too."""
    async with rig_of(streaming=streaming) as rig:
        rig.informer.remove("one")
        rig.informer.remove("one")
        assert rig.all.calls[2:] == rig.one.calls[1:] == ["delete one unknown"]
        assert rig.two.calls == ["add two initial"]
        rig.informer.relist()
        await rig.until(lambda: len(rig.informer.lister) == 2)
        assert rig.one.calls[2:] == ["add one"]
        assert rig.two.calls == ["add two initial"]


@pytest.mark.parametrize(
    ("streaming", "asked"), [(False, ["0", "w10", "", "w20"]), (True, ["s", "s"])]
)
async def test_a_state_that_is_asked_for_is_the_newest(streaming: bool, asked: list[str]) -> None:
    """KCP-16: the watch ends, and no version lets a cache answer."""
    async with rig_of(streaming=streaming) as rig:
        rig.server.state(20, same(11, "one"), same(2, "two"))
        await rig.until(lambda: len(rig.server.versions()) == len(asked) // 2)
        rig.informer.relist()
        await rig.until(lambda: rig.informer.resource_version == "20")
        await rig.until(lambda: len(rig.server.versions()) == len(asked))
        assert rig.server.versions() == asked
        assert rig.all.calls[2:] == ["update one"]
        await rig.server.scripted.until(lambda: rig.server.scripted.live_connections <= 2)


async def test_shards_are_watched_each_by_its_own_version() -> None:
    """KCP-22, KCP-23, KCP-25: one that is away changes nothing of the other."""
    heard = Recorder()
    with IOLoop() as io_loop:
        async with ScriptedServer() as first, ScriptedServer() as second:
            shards = {
                "first": Server(first, 5000, same(4999, "one")),
                "second": Server(second, 10, same(9, "two")),
            }
            clients = {
                name: AsyncClient.workspaces(ClientConfig(server=shard.scripted.url))
                for name, shard in shards.items()
            }
            aggregate: AggregateInformer[dict[str, Any]] = AggregateInformer(
                CONFIG_MAPS,
                dict,
                io_loop,
                make=lambda _, client: SharedInformer(client, CONFIG_MAPS, dict, streaming=False),
            )
            registration = aggregate.add_handler(heard)
            reconciler = Reconciler()
            controller = Controller("c", reconciler, workers=1)
            controller.watches(aggregate).watches(aggregate.cluster("one"))
            await asyncio.to_thread(aggregate.set_members, clients)
            await asyncio.to_thread(registration.wait_for_sync, 10)
            assert sorted(heard.calls) == ["add one initial", "add two initial"]
            controller.start()
            await asyncio.to_thread(
                eventually,
                lambda: sorted(reconciler.seen) == ["one|default/same", "two|default/same"],
            )
            await asyncio.to_thread(controller.stop)
            await first.until(lambda: len(shards["first"].versions()) == 2)
            await second.until(lambda: len(shards["second"].versions()) == 2)
            await second.stop()
            assert [shard.versions() for shard in shards.values()] == [
                ["0", "w5000"],
                ["0", "w10"],
            ]
            left = {"first": clients["first"]}
            await asyncio.to_thread(aggregate.set_members, left)
            assert heard.calls[2:] == ["delete two unknown"]
            assert aggregate.synced
            await asyncio.to_thread(aggregate.close)
            for client in clients.values():
                await asyncio.to_thread(io_loop.run, client.close())


@pytest.mark.parametrize("shard", ["*", "amber"])
async def test_a_shard_of_the_cache_server_is_part_of_its_url(shard: str) -> None:
    """KCP-28: on the wire, in front of the clusters; a client of one cluster keeps it."""
    async with ScriptedServer() as scripted:
        url, cluster = split_server_url(f"{scripted.url}/shards/{shard}/clusters/*", source="x")
        client = AsyncClient.workspaces(ClientConfig(server=url, cluster=cluster))
        empty = Reply({"kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": []})
        paths = [f"/shards/{shard}/clusters/{name}/api/v1/configmaps" for name in ("*", "one")]
        for path in paths:
            scripted.on("GET", path, empty)
        for bound in (client, client.cluster("one")):
            await bound.resource(CONFIG_MAPS).list()
        assert [one.path for one in scripted.received] == paths
        await client.close()
