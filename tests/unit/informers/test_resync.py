"""Resync: RF-42 to RF-44, INF-35 to INF-38 and FIFO-22 of the client-go behaviours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawPage, Transport
from kcpctl.errors import Gone
from kcpctl.informers import CachedObject, HandlerFuncs, Registration, SharedInformer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import ScriptedSource, page, raw_object

_DECODER = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)


class Rig:
    def __init__(self, names: str = "ab", source: ScriptedSource | None = None) -> None:
        self.clock = FakeClock()
        self.source = source or ScriptedSource()
        self.source.lists.append(page(10, *[raw_object(name, 1) for name in names]))
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="root"),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
        )
        self.calls: list[str] = []

    def add(self, name: str, resync_seconds: float, **options: Any) -> Registration:
        def update(old: CachedObject, new: CachedObject) -> None:
            same = "" if old is new else " changed"
            self.calls.append(f"{name} {new.meta.name}{same}")

        handler = HandlerFuncs(on_update=update)
        return self.informer.add_handler(handler, resync_seconds=resync_seconds, **options)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.informer.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert self.clock.sleepers == 0

    async def heard_after(self, seconds: float) -> list[str]:
        self.calls.clear()
        self.clock.step(seconds)
        await settle()
        return list(self.calls)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_a_resync_is_an_update_of_each_stored_object_to_itself() -> None:
    """RF-42, FIFO-22, INF-38: without a request to the server, again and again."""
    rig = Rig()
    rig.add("one", 10)
    async with rig.running():
        requests = list(rig.source.requests)
        assert await rig.heard_after(9.5) == []
        assert await rig.heard_after(0.5) == ["one a", "one b"]
        assert await rig.heard_after(10) == ["one a", "one b"]
        assert rig.source.requests == requests


async def test_nobody_is_resynced_who_did_not_ask() -> None:
    """RF-43, INF-37: period 0 is never; without a period there is not even a timer."""
    rig = Rig()
    rig.add("one", 0)
    async with rig.running():
        sleepers = rig.clock.sleepers
        rig.add("late", 5)
        assert rig.clock.sleepers == sleepers
        assert await rig.heard_after(3600) == []


async def test_each_handler_has_its_own_period() -> None:
    """INF-36, INF-38: looked at as often as the most eager one asks; only those due are told."""
    rig = Rig("a")
    for name, seconds in (("two", 2), ("five", 5), ("never", 0)):
        rig.add(name, seconds)
    async with rig.running():
        heard = [await rig.heard_after(2) for _ in range(6)]
        assert heard == [
            ["two a"],
            ["two a"],
            ["two a", "five a"],
            ["two a"],
            ["two a"],
            ["two a", "five a"],
        ]


async def test_less_than_a_second_is_a_second() -> None:
    """INF-35."""
    rig = Rig("a")
    rig.add("one", 0.01)
    async with rig.running():
        assert await rig.heard_after(0.9) == []
        assert await rig.heard_after(0.1) == ["one a"]


def test_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"asks for a resync every -1s; 0 is never"):
        Rig().add("one", -1)


async def test_a_late_handler_cannot_ask_for_more_than_was_settled_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """INF-36, INF-37: raised to the check period, and said so."""
    rig = Rig("a")
    rig.add("early", 10)
    async with rig.running():
        rig.add("eager", 3)
        rig.add("patient", 20)
        assert await rig.heard_after(9) == []
        assert await rig.heard_after(1) == ["early a", "eager a"]
        assert await rig.heard_after(10) == ["early a", "eager a", "patient a"]
    assert [one.getMessage() for one in caplog.records] == ["Resync asked for too late"]
    fields = caplog.records[0].__dict__["fields"]
    assert (fields["asked_seconds"], fields["given_seconds"]) == (3, 10)


class HeldSource(ScriptedSource):
    """Lists after the first wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.let_through = asyncio.Event()

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        if self.requests:
            await self.let_through.wait()
        return await super().list(
            resource_version=resource_version, limit=limit, continue_=continue_
        )


async def test_a_resync_waits_for_the_state_that_is_read_and_comes_soon_after_it() -> None:
    """RF-43: only while watching; and it is not put off by a whole period."""
    source = HeldSource()
    rig = Rig("a", source)
    source.lists.append(page(20, raw_object("a", 1)))
    source.watches.append([Gone("x")])
    rig.add("one", 60)
    async with rig.running():
        assert await rig.heard_after(1) == []
        assert source.open_watches == 0
        assert await rig.heard_after(600) == []
        source.let_through.set()
        await settle()
        assert source.open_watches == 1
        assert await rig.heard_after(1) == ["one a"]
        assert await rig.heard_after(59) == []
        assert await rig.heard_after(1) == ["one a"]


async def test_a_change_in_the_middle_of_a_resync_is_not_undone() -> None:
    """FIFO-05, FIFO-13: what is told is what is stored at that moment."""
    rig = Rig("abc")
    rig.add("one", 10)

    def change(old: CachedObject, new: CachedObject) -> None:
        if old is new and new.meta.name == "a":
            rig.informer.apply("MODIFIED", _DECODER.decode(raw_object("b", 11)), "11")
            rig.informer.apply("DELETED", _DECODER.decode(raw_object("c", 12)), "12")

    rig.informer.add_handler(HandlerFuncs(on_update=change), resync_seconds=10)
    async with rig.running():
        assert await rig.heard_after(10) == ["one a", "one b changed", "one b"]


async def test_others_get_their_turn_in_the_middle_of_a_long_resync() -> None:
    rig = Rig("")
    rig.source.lists[0] = page(10, *[raw_object(f"o{number}", 1) for number in range(1200)])
    rig.add("one", 10)
    async with rig.running():
        rig.clock.step(10)
        seen = set()
        for _ in range(30):
            await asyncio.sleep(0)
            seen.add(len(rig.calls))
        assert seen == {0, 500, 1000, 1200}


async def test_a_handler_that_raises_does_not_end_the_watch() -> None:
    """RF-44: a resync that fails for one handler is nobody else's."""

    def failing(old: CachedObject, new: CachedObject) -> None:
        raise RuntimeError("no")

    rig = Rig("a")
    rig.informer.add_handler(HandlerFuncs(on_update=failing), resync_seconds=1)
    rig.add("other", 1)
    async with rig.running():
        assert await rig.heard_after(1) == ["other a"]
        assert await rig.heard_after(1) == ["other a"]
        assert rig.source.open_watches == 1
        assert len(rig.source.requests) == 2


async def test_a_handler_that_was_removed_is_not_resynced() -> None:
    """INF-11."""
    rig = Rig("a")
    registration = rig.add("one", 1)
    rig.add("two", 1)
    async with rig.running():
        registration.remove()
        assert await rig.heard_after(1) == ["two a"]
