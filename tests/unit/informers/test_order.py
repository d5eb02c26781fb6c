"""From the server's events to the store and the handlers, in order: FIFO of the behaviours."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import kcpctl
from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawEvent, Transport
from kcpctl.errors import Gone
from kcpctl.informers import CachedObject, EventHandler, HandlerFuncs, SharedInformer, Transform
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import HANG, ScriptedSource, event, page, raw_object


class Recorder(EventHandler):
    def __init__(self, informer: SharedInformer[dict[str, Any]]) -> None:
        self._informer = informer
        self.calls: list[str] = []
        self.stored: list[str] = []
        self.synced: list[bool] = []

    def _note(self, call: str) -> None:
        self.calls.append(call)
        keys = self._informer.lister.keys()
        self.stored.append("".join(key[-1] for key in keys))
        self.synced.append(self._informer.synced)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self._note(f"add {obj.key} {obj.resource_version}")

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self._note(f"update {new.key} {old.resource_version}->{new.resource_version}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        unknown = " unknown" * final_state_unknown
        self._note(f"delete {obj.key} {obj.resource_version}{unknown}")


class Rig:
    def __init__(
        self, *, source: ScriptedSource | None = None, transform: Transform | None = None
    ) -> None:
        self.clock = FakeClock()
        self.source = source or ScriptedSource()
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
            transform=transform,
        )
        self.heard = Recorder(self.informer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.registration = self.informer.add_handler(self.heard, resync_seconds=60)
        task = asyncio.create_task(self.informer.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        await settle()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def raw(name: str, version: int) -> Any:
    return raw_object(name, version, cluster="one")


def change(name: str, version: int) -> RawEvent:
    return event("MODIFIED", raw(name, version))


async def test_every_event_is_told_in_the_order_of_the_server() -> None:
    """FIFO-09, FIFO-26, INF-05: none left out, none regrouped by key."""
    rig = Rig()
    rig.source.lists.append(page(10, raw("a", 1), raw("b", 2)))
    events = [change("a", 11), change("b", 12), change("a", 13), change("a", 14)]
    rig.source.watches.append([events, HANG])
    async with rig.running():
        assert rig.heard.calls[2:] == [
            "update one|default/a 1->11",
            "update one|default/b 2->12",
            "update one|default/a 11->13",
            "update one|default/a 13->14",
        ]


async def test_events_that_came_together_are_stored_and_told_one_by_one() -> None:
    """FIFO-31 mended: who hears of the first does not see what the second will do."""
    rig = Rig()
    rig.source.lists.append(page(10))
    events = [change("a", 11), change("b", 12), event("DELETED", raw("a", 13))]
    rig.source.watches.append([events, HANG])
    async with rig.running():
        assert rig.heard.stored == ["a", "ab", "b"]


async def test_a_delete_is_told_once_and_only_of_what_was_there() -> None:
    """FIFO-02, FIFO-03, FIFO-10 mended."""
    rig = Rig()
    rig.source.lists.append(page(10, raw("a", 1)))
    deletes = [event("DELETED", raw(name, version)) for name, version in (("a", 11), ("a", 12))]
    rig.source.watches.append([*deletes, event("DELETED", raw("never-seen", 13)), HANG])
    async with rig.running():
        assert rig.heard.calls[1:] == ["delete one|default/a 11"]


async def test_a_delete_that_was_missed_after_one_that_came_is_not_told_twice() -> None:
    """FIFO-02, FIFO-04: the real deletion stands, and only the other object gets a tombstone."""
    rig = Rig()
    rig.source.lists.extend([page(10, raw("a", 1), raw("b", 2)), page(20)])
    rig.source.watches.append([event("DELETED", raw("a", 11)), Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.heard.calls[2:] == ["delete one|default/a 11", "delete one|default/b 2 unknown"]


async def test_a_new_state_after_lost_events_is_told_as_what_changed() -> None:
    """FIFO-04, FIFO-11, FIFO-20, FIFO-25: against the store, deletions first, then in order."""
    rig = Rig()
    rig.source.lists.append(page(10, raw("a", 1), raw("b", 2), raw("c", 3)))
    rig.source.lists.append(page(20, raw("d", 20), raw("c", 15), raw("b", 2)))
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.heard.calls[3:] == [
            "delete one|default/a 1 unknown",
            "add one|default/d 20",
            "update one|default/c 3->15",
        ]
        assert rig.heard.stored[3:] == ["dcb"] * 3


async def test_synced_is_when_the_last_initial_add_was_told() -> None:
    """FIFO-14, FIFO-29, INF-20: not while it is."""
    rig = Rig()
    rig.source.lists.append(page(10, raw("a", 1), raw("b", 2)))
    rig.source.watches.append([change("c", 11), HANG])
    async with rig.running():
        assert rig.heard.synced == [False, False, True]


async def test_an_empty_state_is_a_sync() -> None:
    """FIFO-06."""
    rig = Rig()
    rig.source.lists.append(page(10))
    async with rig.running():
        assert rig.informer.synced
        assert rig.registration.synced


async def test_nothing_more_is_read_while_a_handler_runs() -> None:
    """FIFO-27: a slow one holds up the watch, not the memory."""

    class Counting(ScriptedSource):
        asked = 0

        async def watch(
            self, *, resource_version: str, timeout_seconds: int
        ) -> AsyncGenerator[Sequence[RawEvent], None]:
            for version in (11, 12):
                self.asked += 1
                yield [change("a", version)]
            await asyncio.Event().wait()

    source = Counting()
    source.lists.append(page(10))
    rig = Rig(source=source)
    asked: list[int] = []
    rig.informer.add_handler(HandlerFuncs(on_add=lambda obj: asked.append(source.asked)))
    rig.informer.add_handler(HandlerFuncs(on_update=lambda old, new: asked.append(source.asked)))
    async with rig.running():
        assert asked == [1, 2]


async def test_a_transform_sees_each_object_that_comes_once() -> None:
    """FIFO-17, INF-29: not what is told of a deletion that was missed, nor a resync."""
    seen: list[str] = []

    def transform(obj: dict[str, Any]) -> dict[str, Any]:
        meta = obj["metadata"]
        seen.append(f"{meta['name']} {meta['resourceVersion']}")
        return obj

    rig = Rig(transform=transform)
    rig.source.lists.extend([page(10, raw("a", 1), raw("b", 2)), page(20, raw("b", 2))])
    rig.source.watches.append([change("a", 11), Gone("x")])
    async with rig.running():
        await rig.step(1)
        await rig.step(60)
        assert rig.heard.calls[3:] == [
            "delete one|default/a 11 unknown",
            "update one|default/b 2->2",
        ]
        assert seen == ["a 1", "b 2", "a 11", "b 2"]


async def test_a_delete_that_was_missed_has_the_key_that_was_stored() -> None:
    """FIFO-15, IDX-03: also if the transform has dropped what the key was made of."""

    def anonymous(obj: dict[str, Any]) -> dict[str, Any]:
        del obj["metadata"]["annotations"]
        return obj

    rig = Rig(transform=anonymous)
    rig.source.lists.extend([page(10, raw("a", 1)), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.heard.calls == ["add one|default/a 1", "delete one|default/a 1 unknown"]


def test_only_informers_write_their_stores() -> None:
    """INF-40: what a write answers never goes into a store (CS holds keys back instead)."""
    package = Path(kcpctl.__file__).parent
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "embedded" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Store"
    }
    assert writers == {"informers/informer.py", "informers/aggregate.py"}
