"""Whatever a server does, at quiet the store is what the server has, and handlers agree."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawEvent, RawPage, Transport
from kcpctl.errors import BadRequest, Gone, InternalError, TooManyRequests, TransportError
from kcpctl.informers import CachedObject, EventHandler, SharedInformer
from kcpctl.informers.initial import InitialStates
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import end_of_state, raw_object

NAMES = ["a", "b", "c"]
CLUSTERS = ["one", "two"]
FAULTS = [Gone("x"), InternalError("x"), TooManyRequests("x"), TransportError("x"), None]


class Server:
    """A collection with a history, that breaks, repeats and forgets at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.version = 1
        self.objects: dict[tuple[str, str], tuple[int, str]] = {}
        self.states = {1: dict(self.objects)}
        self.history: list[tuple[int, RawEvent]] = []
        self.oldest = 1
        self.calm = False
        self.changed = asyncio.Event()

    def change(self, cluster: str, name: str, *, delete: bool) -> None:
        key, kind = (cluster, name), "MODIFIED"
        if delete and key not in self.objects:
            return
        self.version += 1
        if delete:
            _, uid = self.objects.pop(key)
            kind = "DELETED"
        else:
            if key not in self.objects:
                kind = "ADDED"
            uid = self.objects[key][1] if key in self.objects else f"uid-{self.version}"
            self.objects[key] = (self.version, uid)
        raw = raw_object(name, self.version, cluster=cluster, uid=uid)
        self.states[self.version] = dict(self.objects)
        self.history.append((self.version, RawEvent(kind, raw)))
        self.changed.set()

    def compact(self) -> None:
        self.oldest = self.version

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        self.fault(0.2)
        at = self.version
        if resource_version and self.rng.random() < 0.3:
            # What a cache holds: anything that is not older than what was asked for.
            at = self.rng.randint(max(self.oldest, int(resource_version)), self.version)
        items = [
            raw_object(name, version, cluster=cluster, uid=uid)
            for (cluster, name), (version, uid) in self.states[at].items()
        ]
        return RawPage(items=items, resource_version=str(at))

    async def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        self.fault(0.2)
        seen = int(resource_version)
        if seen < self.oldest:
            raise Gone("too old")
        if not self.calm and self.rng.random() < 0.3:
            # A server that repeats what was seen already, in order.
            seen = max(self.oldest, seen - 5)
        while True:
            for version, event in list(self.history):
                if version > seen:
                    self.fault(0.1)
                    seen = version
                    yield [event]
                    if not self.calm and self.rng.random() < 0.1:
                        yield [event]
                    if not self.calm and self.rng.random() < 0.2:
                        # Something of the past, without the deletion that came after it.
                        _, old = self.rng.choice(self.history)
                        if old.type != "DELETED":
                            yield [old]
            if self.rng.random() < 0.3:
                yield [RawEvent("BOOKMARK", raw_object("", seen))]
            if not self.calm and self.rng.random() < 0.1:
                return
            self.changed.clear()
            await self.changed.wait()

    def fault(self, chance: float) -> None:
        if not self.calm and self.rng.random() < chance:
            error = self.rng.choice(FAULTS)
            if error is not None:
                raise error


class StreamingServer(Server):
    """The same, with the state as a stream that may change, repeat, end or stop on the way."""

    async def stream(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        self.fault(0.2)
        if not self.calm and self.rng.random() < 0.05:
            raise BadRequest("no streams today")
        at = self.version
        for (cluster, name), (version, uid) in self.states[at].items():
            self.fault(0.1)
            await asyncio.sleep(0)
            yield [RawEvent("ADDED", raw_object(name, version, cluster=cluster, uid=uid))]
            if self.rng.random() < 0.1:
                yield [RawEvent("BOOKMARK", raw_object("", at))]
        while self.version > at and not self.calm and self.rng.random() < 0.5:
            # What changed meanwhile may come before the end of the state.
            at += 1
            yield [event for version, event in self.history if version == at]
        if not self.calm and self.rng.random() < 0.2:
            return
        if not self.calm and self.rng.random() < 0.05:
            await asyncio.Event().wait()
        yield [end_of_state(at)]
        watch = self.watch(resource_version=str(at), timeout_seconds=timeout_seconds)
        async for batch in watch:
            yield batch


class Counting(EventHandler):
    """Holds what a handler that believes what it hears would hold."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        assert obj.key not in self.known, "an add of what is known"
        self.known[obj.key] = obj.meta.resource_version
        self.counts["adds"] += 1

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        assert self.known[old.key] == old.meta.resource_version, "an update of something else"
        self.known[new.key] = new.meta.resource_version

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        del self.known[obj.key]
        self.counts["deletes"] += 1


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(CLUSTERS),
        st.sampled_from(NAMES),
        st.sampled_from(["write", "write", "delete", "compact", "wait"]),
    ),
    max_size=25,
)


async def converge(
    changes: list[tuple[str, str, str]], seed: int, *, streaming: bool, compact: bool
) -> None:
    clock = FakeClock()
    server = (StreamingServer if streaming else Server)(random.Random(seed))
    client = AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True)
    informer: SharedInformer[dict[str, Any]] = SharedInformer(
        client,
        CONFIG_MAPS,
        dict,
        source=server,
        compact=compact,
        clock=clock,
        rng=random.Random(seed),
        initial_states=InitialStates(),
    )
    handlers = [Counting(), Counting()]
    informer.add_handler(handlers[0])
    task = asyncio.create_task(informer.run())
    for index, (cluster, name, what) in enumerate(changes):
        if what == "compact":
            server.compact()
        elif what == "wait":
            await pass_time(clock, 1)
        else:
            server.change(cluster, name, delete=what == "delete")
        if index == len(changes) // 2:
            informer.add_handler(handlers[1])
    if len(changes) == 0:
        informer.add_handler(handlers[1])
    server.calm = True
    server.changed.set()
    # A change that every watch sees, so that a reader that fell behind notices.
    server.change("one", "last", delete=False)
    await pass_time(clock, 100)
    wanted = {
        f"{cluster}|default/{name}": str(version)
        for (cluster, name), (version, _) in server.objects.items()
    }
    stored = {
        obj: cached.meta.resource_version
        for obj in list(informer.lister.keys())
        if (cached := informer.lister.cached(obj))
    }
    task.cancel()
    await asyncio.wait({task})
    assert stored == wanted
    for handler in handlers:
        assert handler.known == wanted
        assert handler.counts["adds"] - handler.counts["deletes"] == len(wanted)


async def pass_time(clock: FakeClock, seconds: int) -> None:
    for _ in range(seconds):
        for _ in range(8):
            await asyncio.sleep(0)
        clock.step(1)
    for _ in range(8):
        await asyncio.sleep(0)


@settings(max_examples=100)
@given(changes=CHANGES, seed=st.integers(0, 2**32), streaming=st.booleans(), compact=st.booleans())
def test_the_store_and_every_handler_end_with_what_the_server_has(
    changes: list[tuple[str, str, str]], seed: int, streaming: bool, compact: bool
) -> None:
    asyncio.run(converge(changes, seed, streaming=streaming, compact=compact))
