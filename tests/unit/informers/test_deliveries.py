"""What handlers are told and when they are synced: INF and SY of the client-go behaviours."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.errors import Forbidden
from kcpctl.informers import CachedObject, EventHandler, HandlerFuncs, SharedInformer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.runtime import Metrics, start_thread
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import LiveSource, page, raw_object

_DECODER = ObjectDecoder(CONFIG_MAPS, cluster="", multi_cluster=True)
WAIT = 10.0


def cached(name: str, version: int, *, cluster: str = "one", app: str = "web") -> CachedObject:
    return _DECODER.decode(raw(name, version, cluster=cluster, app=app))


def raw(name: str, version: int, *, cluster: str = "one", app: str = "web") -> Any:
    return raw_object(name, version, cluster=cluster, metadata={"labels": {"app": app}})


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.key}")

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.key} {old.resource_version}->{new.resource_version}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}")


class Slow(Recorder):
    """Each add waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.entered.release()
        assert self.let_through.acquire(timeout=WAIT)
        super().on_add(obj, is_initial=is_initial)


class Rig:
    def __init__(self, *objects: Any) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.source = LiveSource(page(10, *(objects or (raw("a", 1), raw("b", 2)))))
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.informer.run())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    def change(self, name: str, version: int, **options: Any) -> None:
        self.informer.apply("MODIFIED", cached(name, version, **options), str(version))

    def pending(self, handler: str) -> float | None:
        labels = {"name": "", "resource": "configmaps", "scope": "", "handler": handler}
        return self.metrics.registry.get_sample_value("informer_handler_pending", labels)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def on_a_thread(function: Any, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


# Buffers


async def test_a_slow_handler_delays_neither_the_store_nor_others() -> None:
    """INF-02, INF-20, INF-21, INF-22: nor the informer's sync; its own waits for its last add."""
    rig, slow, fast = Rig(), Slow(), Recorder()
    registration = rig.informer.add_handler(slow, buffered=True)
    rig.informer.add_handler(fast)
    async with rig.running():
        assert await on_a_thread(slow.entered.acquire, True, WAIT)
        rig.change("a", 11)
        rig.change("a", 12)
        assert (rig.informer.synced, registration.synced) == (True, False)
        assert fast.calls[2:] == ["update one|default/a 1->11", "update one|default/a 11->12"]
        slow.let_through.release(2)
        await on_a_thread(registration.wait_for_sync, WAIT)
        assert registration.synced
        while len(slow.calls) < 3:
            await asyncio.sleep(0.002)
        assert slow.calls[2:] == ["update one|default/a 1->12"]


async def test_a_gauge_tells_how_much_waits_by_handler() -> None:
    """INF-03, INF-34: those of one name together; it leaves with the last of them."""
    rig = Rig()
    handlers = [Slow(), Slow()]
    registrations = [rig.informer.add_handler(one, buffered=True) for one in handlers]
    async with rig.running():
        for handler in handlers:
            assert await on_a_thread(handler.entered.acquire, True, WAIT)
        rig.change("a", 11)
        assert rig.pending("Slow") == 4
        for handler in handlers:
            handler.let_through.release(10)
        for registration in registrations:
            await on_a_thread(registration.wait_for_sync, WAIT)
        await on_a_thread(registrations[0].remove)
        assert rig.pending("Slow") is not None
        await on_a_thread(registrations[1].remove)
        assert rig.pending("Slow") is None


async def test_removing_a_buffered_handler_waits_for_its_call_and_drops_the_rest() -> None:
    """INF-12 fixed, INF-13."""
    rig, slow = Rig(), Slow()
    registration = rig.informer.add_handler(slow, buffered=True)
    async with rig.running():
        assert await on_a_thread(slow.entered.acquire, True, WAIT)
        removal = asyncio.create_task(on_a_thread(registration.remove))
        while rig.pending("Slow") is not None:
            await asyncio.sleep(0)
        done, _ = await asyncio.wait({removal}, timeout=0.05)
        assert not done
        slow.let_through.release(10)
        await removal
        rig.change("a", 11)
        assert slow.calls == ["add one|default/a"]
        assert not registration.synced


async def test_a_removal_on_the_io_thread_waits_for_nobody() -> None:
    """INF-13: the call that runs may be waiting for this very thread."""
    rig, slow = Rig(), Slow()
    registration = rig.informer.add_handler(slow, buffered=True)
    async with rig.running():
        assert await on_a_thread(slow.entered.acquire, True, WAIT)
        registration.remove()
        assert slow.calls == []
        slow.let_through.release(10)
        await on_a_thread(registration.remove)
        assert slow.calls == ["add one|default/a"]


async def test_the_end_comes_when_no_handler_runs_any_more() -> None:
    """INF-26: first the watch ends, then deliveries; what waits is dropped."""
    rig, slow = Rig(), Slow()
    registration = rig.informer.add_handler(slow, buffered=True)
    async with rig.running() as task:
        assert await on_a_thread(slow.entered.acquire, True, WAIT)
        task.cancel()
        await settle()
        assert rig.source.open_watches == 0
        assert not task.done()
        with pytest.raises(RuntimeError, match="has ended"):
            rig.informer.add_handler(Recorder())
        slow.let_through.release(10)
        await asyncio.wait({task}, timeout=WAIT)
        assert task.cancelled()
        assert slow.calls == ["add one|default/a"]
        assert rig.pending("Slow") is None
    registration.remove()


async def test_a_buffered_handler_that_raises_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """INF-15, INF-16 fixed."""

    def fail(obj: CachedObject) -> None:
        raise RuntimeError("no")

    rig = Rig()
    registration = rig.informer.add_handler(HandlerFuncs(on_add=fail), buffered=True)
    async with rig.running():
        await on_a_thread(registration.wait_for_sync, WAIT)
        labels = {"name": "", "resource": "configmaps", "scope": ""}
        counter = "informer_handler_errors_total"
        assert rig.metrics.registry.get_sample_value(counter, labels) == 2
        fields = [record.__dict__["fields"] for record in caplog.records]
        assert [one["key"] for one in fields] == ["one|default/a", "one|default/b"]
        assert fields[0]["handler"].endswith("<locals>.fail")


class Async:
    """Each add waits until it is let through; the I/O loop goes on meanwhile."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.let_through = asyncio.Event()

    async def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.threads.add(threading.get_ident())
        await self.let_through.wait()
        self.calls.append(f"add {obj.key}")

    async def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.key} {old.resource_version}->{new.resource_version}")

    async def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}")
        raise RuntimeError("no")


async def test_an_async_handler_has_a_buffer_and_runs_on_the_io_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """INF-02, INF-05, INF-21."""
    rig, handler = Rig(), Async()
    registration = rig.informer.add_handler(handler)
    async with rig.running():
        while not handler.threads:
            await asyncio.sleep(0.002)
        rig.change("a", 11)
        rig.change("a", 12)
        assert (rig.informer.synced, registration.synced, handler.calls) == (True, False, [])
        handler.let_through.set()
        await on_a_thread(registration.wait_for_sync, WAIT)
        rig.informer.apply("DELETED", cached("b", 13), "13")
        # Of other tests' threads there may be lines, too.
        while len(handler.calls) < 4 or not any(map(tells_of_async, caplog.records)):
            await asyncio.sleep(0.002)
        assert handler.calls[:3] == [
            "add one|default/a",
            "add one|default/b",
            "update one|default/a 1->12",
        ]
        assert handler.calls[3:] == ["delete one|default/b"]
        assert handler.threads == {threading.get_ident()}


def tells_of_async(record: logging.LogRecord) -> bool:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields.get("handler") == "Async"


async def test_the_end_comes_after_the_call_of_an_async_handler() -> None:
    """INF-26."""
    rig, handler = Rig(), Async()
    rig.informer.add_handler(handler)
    async with rig.running() as task:
        while not handler.threads:
            await asyncio.sleep(0.002)
        task.cancel()
        await settle()
        assert not task.done()
        handler.let_through.set()
        await asyncio.wait({task}, timeout=WAIT)
        assert handler.calls == ["add one|default/a"]


async def test_a_late_buffered_handler_of_one_cluster_and_some_objects() -> None:
    """INF-08, INF-17, KCP-14: all options together."""
    objects = [raw("a", 1), raw("b", 2, app="db"), raw("c", 3, cluster="two")]
    rig, heard = Rig(*objects), Recorder()
    async with rig.running():
        registration = rig.informer.cluster("one").add_handler(
            heard, buffered=True, matches=lambda obj: obj.meta.labels["app"] == "web"
        )
        await on_a_thread(registration.wait_for_sync, WAIT)
        rig.change("b", 11)
        rig.change("c", 12, cluster="two")
        while len(heard.calls) < 2:
            await asyncio.sleep(0.002)
        rig.change("b", 13, app="db")
        while len(heard.calls) < 3:
            await asyncio.sleep(0.002)
        assert heard.calls == ["add one|default/a", "add one|default/b", "delete one|default/b"]


# Waiting for the sync


async def test_who_waits_in_vain_is_told_for_what_and_why() -> None:
    """INF-23."""
    rig = Rig()
    rig.source.state = Forbidden("no configmaps for you")
    registration = rig.informer.add_handler(Recorder())
    async with rig.running():
        waiting = asyncio.create_task(on_a_thread(registration.wait_for_sync, 0.5))
        while rig.clock.sleepers < 2:
            await asyncio.sleep(0)
        rig.clock.step(0.5)
        with pytest.raises(
            TimeoutError,
            match=r"^handler Recorder of configmaps of \* has not synced after 0.5s: no configmaps",
        ):
            await waiting


async def test_a_wait_ends_when_the_handler_is_removed() -> None:
    """INF-23: that is how another thread cancels it."""
    rig, slow = Rig(), Slow()
    registration = rig.informer.add_handler(slow, buffered=True)
    async with rig.running():
        waiting = asyncio.create_task(on_a_thread(registration.wait_for_sync, 60))
        assert await on_a_thread(slow.entered.acquire, True, WAIT)
        slow.let_through.release(10)
        registration.remove()
        with pytest.raises(RuntimeError, match=r"Slow of configmaps of \* .*: it was removed"):
            await waiting


async def test_a_wait_ends_when_the_informer_ends() -> None:
    """INF-23."""
    rig = Rig()
    rig.source.state = Forbidden("no")
    registration = rig.informer.add_handler(Recorder())
    async with rig.running():
        waiting = asyncio.create_task(on_a_thread(registration.wait_for_sync, 60))
        while rig.clock.sleepers < 2:
            await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="has not synced: the informer ended"):
        await waiting


async def test_the_io_thread_cannot_wait_for_itself() -> None:
    rig = Rig()
    rig.source.state = Forbidden("no")
    registration = rig.informer.add_handler(Recorder())
    async with rig.running():
        with pytest.raises(RuntimeError, match="would never end"):
            registration.wait_for_sync(1)


async def test_a_wait_in_a_task_can_be_cancelled() -> None:
    """INF-23."""
    rig = Rig()
    waiting = asyncio.create_task(rig.informer.wait_for_sync())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# Coming and going


async def test_a_handler_added_in_the_middle_of_the_first_list_hears_of_each_object_once() -> None:
    """INF-08, INF-21, INF-27."""
    rig, late = Rig(), Recorder()
    added: list[Any] = []

    def add_late(obj: CachedObject) -> None:
        if not added:
            added.append(rig.informer.add_handler(late))

    rig.informer.add_handler(HandlerFuncs(on_add=add_late))
    async with rig.running():
        assert late.calls == ["add one|default/a", "add one|default/b"]
        assert added[0].synced


async def test_removing_takes_nobody_elses_handler_away() -> None:
    """INF-10, INF-11: the same handler twice is two, and each goes by itself."""
    rig, heard = Rig(raw("a", 1)), Recorder()
    first = rig.informer.add_handler(heard)
    rig.informer.add_handler(heard)
    async with rig.running():
        first.remove()
        first.remove()
        rig.change("a", 11)
        assert heard.calls == ["add one|default/a"] * 2 + ["update one|default/a 1->11"]


class Tracking(EventHandler):
    """Keeps what it is told, and what was wrong with that."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.removed = False
        self.wrong: list[str] = []

    def _check(self, right: bool, call: str) -> None:
        if self.removed or not right:
            self.wrong.append(call)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self._check(obj.key not in self.known, f"add {obj.key}")
        self.known[obj.key] = obj.resource_version

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self._check(self.known.get(new.key) == old.resource_version, f"update {new.key}")
        self.known[new.key] = new.resource_version

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self._check(obj.key in self.known, f"delete {obj.key}")
        self.known.pop(obj.key, None)


@pytest.mark.parametrize("buffered", [False, True])
async def test_handlers_come_and_go_while_events_come(buffered: bool) -> None:
    """INF-08, INF-14: those that stay know all there is, those that went hear nothing."""
    rig = Rig()
    handlers: list[Tracking] = []
    staying: list[Tracking] = []

    def come_and_go(number: int) -> None:
        for round_ in range(40):
            handler = Tracking()
            handlers.append(handler)
            registration = rig.informer.add_handler(handler, buffered=buffered)
            if round_ % 2:
                registration.wait_for_sync(WAIT)
            if round_ % 10 == number:
                staying.append(handler)
                continue
            registration.remove()
            handler.removed = True

    async with rig.running():
        threads = [
            start_thread(lambda number=number: come_and_go(number), name="abuser")  # type: ignore[misc]
            for number in range(3)
        ]
        rng, version = random.Random(1), 10
        there: dict[str, int] = {"a": 1, "b": 2}
        while any(thread.is_alive() for thread in threads):
            name, version = rng.choice("abcdef"), version + 1
            if name in there and rng.random() < 0.4:
                del there[name]
                rig.informer.apply("DELETED", cached(name, version), str(version))
            else:
                there[name] = version
                rig.change(name, version)
            await asyncio.sleep(0)
        wanted = {f"one|default/{name}": str(number) for name, number in there.items()}
        assert len(staying) == 12
        for handler in staying:
            while buffered and handler.known != wanted:
                await asyncio.sleep(0.002)
            assert handler.known == wanted
        assert [handler.wrong for handler in handlers if handler.wrong] == []
