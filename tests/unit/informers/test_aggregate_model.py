"""The aggregate against what its members show, whatever happens to them: KCP-22 to KCP-25."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawPage, Transport
from kcpctl.informers import AggregateInformer, CachedObject, EventHandler, SharedInformer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.runtime import IOLoop
from kcpctl.testing.listerwatcher import LiveSource, page, raw_object

SHARDS: Final = ("a", "b", "c")
KEYS: Final = [(cluster, name) for cluster in ("one", "two") for name in ("x", "y")]
DECODE: Final = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True).decode


class Silent(LiveSource):
    """Answers nothing: the test plays the reflector."""

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        await asyncio.Event().wait()
        return page(0)


class Mirror(EventHandler):
    """Knows what it was told of, and that this fits together."""

    def __init__(self, cluster: str = "") -> None:
        self.cluster = cluster
        self.there: dict[str, bytes] = {}
        self.misfits: list[str] = []
        self.registration: Any = None

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        if obj.key in self.there or self.cluster not in {"", obj.cluster}:
            self.misfits.append(f"add {obj.key}")
        self.there[obj.key] = obj.raw

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        if self.there.get(new.key) != old.raw or old.raw == new.raw:
            self.misfits.append(f"update {new.key}")
        self.there[new.key] = new.raw

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        if self.there.pop(obj.key, None) is None:
            self.misfits.append(f"delete {obj.key}")


class World:
    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.versions = dict.fromkeys(SHARDS, 0)
        self.clients = {(shard, one): _client() for shard in SHARDS for one in (0, 1)}
        self.members: dict[str, int] = {}
        self.informers: dict[AsyncClient, SharedInformer[Any]] = {}
        self.synced: set[AsyncClient] = set()
        self.aggregate: AggregateInformer[Any] = AggregateInformer(
            CONFIG_MAPS, dict, io_loop, make=self._make
        )
        self.mirrors: list[Mirror] = []

    def _make(self, name: str, client: AsyncClient) -> SharedInformer[Any]:
        self.synced.discard(client)
        self.informers[client] = SharedInformer(client, CONFIG_MAPS, dict, source=Silent(page(0)))
        return self.informers[client]

    def on_loop(self, call: Callable[[], object] = lambda: None) -> None:
        async def run() -> None:
            call()
            for _ in range(10):
                await asyncio.sleep(0)

        self.io_loop.run(run())

    def obj(self, shard: str, key: tuple[str, str]) -> CachedObject:
        """Return a new state of an object; each shard counts from 1, so that versions meet."""
        self.versions[shard] += 1
        return DECODE(raw_object(key[1], self.versions[shard], cluster=key[0], shard=shard))

    # The steps.

    def members_are(self, wanted: dict[str, int]) -> None:
        self.members = wanted
        self.aggregate.set_members({name: self.clients[name, one] for name, one in wanted.items()})

    def _informer(self, shard: str) -> SharedInformer[Any] | None:
        client = self.clients.get((shard, self.members.get(shard, -1)))
        return None if client is None else self.informers[client]

    def state(self, shard: str, keys: set[tuple[str, str]]) -> None:
        informer = self._informer(shard)
        if informer is not None:
            self.synced.add(self.clients[shard, self.members[shard]])
            objects = [self.obj(shard, key) for key in sorted(keys)]
            self.on_loop(lambda: informer.replace(objects, "1"))

    def event(self, shard: str, type_: str, key: tuple[str, str]) -> None:
        informer = self._informer(shard)
        if informer is not None and self.clients[shard, self.members[shard]] in self.synced:
            self.on_loop(lambda: informer.apply(type_, self.obj(shard, key), "1"))

    def remove(self, cluster: str) -> None:
        self.aggregate.remove(cluster)
        self.on_loop()

    def join(self, cluster: str) -> None:
        mirror = Mirror(cluster)
        of = self.aggregate.cluster(cluster) if cluster else self.aggregate
        mirror.registration = of.add_handler(mirror)
        self.mirrors.append(mirror)

    def check(self) -> None:
        """Hold the aggregate against the members' stores, and those who listen against it."""
        self.on_loop()
        lister = self.aggregate.lister
        there = {key: cast(CachedObject, lister.cached(key)).raw for key in lister.keys()}  # noqa: SIM118
        now = [self.clients[name, one] for name, one in self.members.items()]
        shown: dict[str, set[bytes]] = {}
        for client in now:
            of_member = self.informers[client].lister
            for key in of_member.keys():  # noqa: SIM118
                shown.setdefault(key, set()).add(cast(CachedObject, of_member.cached(key)).raw)
        assert shown.keys() <= there.keys()
        all_synced = all(client in self.synced for client in now)
        if all_synced:
            assert there.keys() == shown.keys()
            assert all(raw in shown[key] for key, raw in there.items())
            assert set(self.aggregate._shown_by) == set(there)
        for mirror in self.mirrors:
            assert mirror.misfits == []
            prefix = f"{mirror.cluster}|" if mirror.cluster else ""
            assert mirror.there == {k: raw for k, raw in there.items() if k.startswith(prefix)}
        known = self.aggregate._members is not None
        assert self.aggregate.synced == (known and all_synced)
        if known and all_synced:
            assert all(mirror.registration.synced for mirror in self.mirrors)


def _client() -> AsyncClient:
    return AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True)


shard = st.sampled_from(SHARDS)
key = st.sampled_from(KEYS)
step = st.one_of(
    st.tuples(st.just("members_are"), st.dictionaries(shard, st.integers(0, 1))),
    st.tuples(st.just("state"), shard, st.sets(key)),
    st.tuples(st.just("event"), shard, st.sampled_from(["ADDED", "DELETED"]), key),
    st.tuples(st.just("remove"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("join"), st.sampled_from(["", "one", "two"])),
)


@pytest.fixture(scope="module")
def io_loop() -> Iterator[IOLoop]:
    with IOLoop() as loop:
        yield loop


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=30))
def test_it_shows_what_the_members_show_and_tells_all_of_it(
    io_loop: IOLoop, steps: list[tuple[Any, ...]]
) -> None:
    """KCP-22, KCP-23, KCP-24, KCP-25."""
    world = World(io_loop)
    world.join("")
    world.members_are({"a": 0, "b": 0})
    try:
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
            world.check()
        for one in world.members:
            world.state(one, set(KEYS))
        world.check()
        world.members_are({})
        world.check()
        assert world.aggregate._shown_by == {}
    finally:
        world.aggregate.close()
