"""Views of one logical cluster: KCP of the client-go behaviours."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.errors import Gone
from kcpctl.informers import CachedObject, EventHandler, HandlerFuncs, SharedInformer
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.listerwatcher import LiveSource, event, page, raw_object


class Recorder(EventHandler):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.key}" + (" initial" if is_initial else ""))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.key}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}" + (" unknown" if final_state_unknown else ""))


class Rig:
    """An informer of two clusters that hold an object of the same namespace and name."""

    def __init__(self) -> None:
        self.source = LiveSource(
            page(10, raw_object("a", 1, cluster="one"), raw_object("a", 2, cluster="two"))
        )
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.informer.run())
        await settle()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def send(self, type_: str, name: str, version: int, cluster: str) -> None:
        self.source.send(event(type_, raw_object(name, version, cluster=cluster)))
        await settle()

    async def relist(self, *objects: Any) -> None:
        """Lose the watch; the list that follows has ``objects``."""
        self.source.state = page(50, *objects)
        self.source.send(Gone("x"))
        await settle()
        self.clock.step(1)
        await settle()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.stop()


async def test_a_view_hears_of_its_own_cluster_only(rig: Rig) -> None:
    """KCP-12: adds, updates and deletes; the other cluster has objects of the same name."""
    rig.informer.cluster("one").add_handler(one := Recorder())
    rig.informer.cluster("two").add_handler(two := Recorder())
    await rig.start()
    await rig.send("MODIFIED", "a", 11, "one")
    await rig.send("ADDED", "b", 12, "two")
    await rig.send("DELETED", "a", 13, "one")
    assert one.calls == [
        "add one|default/a initial",
        "update one|default/a",
        "delete one|default/a",
    ]
    assert two.calls == ["add two|default/a initial", "add two|default/b"]


async def test_a_deletion_that_was_missed_reaches_the_view_of_its_cluster(rig: Rig) -> None:
    """KCP-20 fixed: a tombstone is filtered by the cluster of its key, like all else."""
    rig.informer.cluster("one").add_handler(one := Recorder())
    rig.informer.cluster("two").add_handler(two := Recorder())
    await rig.start()
    await rig.relist(raw_object("a", 2, cluster="two"))
    assert one.calls[1:] == ["delete one|default/a unknown"]
    assert two.calls[1:] == []


async def test_only_what_was_there_is_initial(rig: Rig) -> None:
    """KCP-20 fixed: not every add of a view is an initial one."""
    rig.informer.cluster("one").add_handler(heard := Recorder())
    await rig.start()
    await rig.send("ADDED", "b", 12, "one")
    assert heard.calls == ["add one|default/a initial", "add one|default/b"]


async def test_a_late_handler_is_told_of_its_cluster_and_then_of_what_changes(rig: Rig) -> None:
    """KCP-14: nothing of another cluster, nothing missed, nothing twice."""
    view = rig.informer.cluster("one")
    view.add_handler(Recorder())
    await rig.start()
    registration = view.add_handler(late := Recorder())
    assert registration.synced
    await rig.send("MODIFIED", "a", 11, "one")
    await rig.send("MODIFIED", "a", 12, "two")
    assert late.calls == ["add one|default/a initial", "update one|default/a"]


async def test_the_first_view_may_be_made_late_and_on_another_thread(rig: Rig) -> None:
    """KCP-14."""
    await rig.start()
    heard = Recorder()
    registration = await asyncio.to_thread(lambda: rig.informer.cluster("two").add_handler(heard))
    await settle()
    assert registration.synced
    await rig.send("DELETED", "a", 11, "one")
    assert heard.calls == ["add two|default/a initial"]


async def test_a_handler_added_in_the_middle_of_a_list_hears_of_each_object_once(rig: Rig) -> None:
    """KCP-14."""
    view = rig.informer.cluster("one")
    late = Recorder()
    added: list[object] = []

    def add_late(obj: CachedObject) -> None:
        if not added:
            added.append(view.add_handler(late))

    rig.source.state = page(
        10, *[raw_object(name, 1, cluster="one") for name in "abc"], raw_object("a", 1, cluster="0")
    )
    view.add_handler(HandlerFuncs(on_add=add_late))
    await rig.start()
    assert late.calls == [f"add one|default/{name} initial" for name in "abc"]


async def test_the_sync_of_a_view_is_the_informers(rig: Rig) -> None:
    """KCP-12: a cluster without objects is synced with the others."""
    view = rig.informer.cluster("empty")
    registration = view.add_handler(Recorder())
    before = (view.synced, registration.synced)
    await rig.start()
    assert (before, view.synced, registration.synced) == ((False, False), True, True)
    assert len(rig.source.list_versions) == rig.source.open_watches == 1


async def test_a_view_that_ends_takes_all_its_handlers_with_it(rig: Rig) -> None:
    """KCP-13: and no others; a view that ended takes no more."""
    other = rig.informer.cluster("one")
    other.add_handler(stays := Recorder())
    with rig.informer.cluster("one") as view:
        view.add_handler(first := Recorder())
        view.add_handler(second := Recorder())
        await rig.start()
    view.close()
    await rig.send("MODIFIED", "a", 11, "one")
    assert first.calls == second.calls == ["add one|default/a initial"]
    assert len(stays.calls) == 2
    with pytest.raises(RuntimeError, match=r"configmaps of \* in cluster one is closed"):
        view.add_handler(Recorder())


async def test_one_handler_of_a_view_can_be_removed(rig: Rig) -> None:
    view = rig.informer.cluster("one")
    registration = view.add_handler(gone := Recorder())
    view.add_handler(stays := Recorder())
    await rig.start()
    registration.remove()
    registration.remove()
    await rig.send("MODIFIED", "a", 11, "one")
    assert (len(gone.calls), len(stays.calls)) == (1, 2)


async def test_a_handler_removed_before_it_is_told_hears_nothing(rig: Rig) -> None:
    view = rig.informer.cluster("one")
    view.add_handler(Recorder())
    await rig.start()
    late = Recorder()
    thread = threading.Thread(target=lambda: view.add_handler(late).remove())
    thread.start()
    thread.join()
    await settle()
    assert late.calls == []


async def test_closing_a_view_waits_for_the_call_that_runs(rig: Rig) -> None:
    """KCP-13, from another thread."""
    order: list[str] = []
    inside = threading.Event()

    def slow(obj: CachedObject) -> None:
        inside.set()
        closer.join(0.05)
        order.append("call ended")

    view = rig.informer.cluster("one")
    view.add_handler(HandlerFuncs(on_add=slow))

    def close() -> None:
        inside.wait()
        view.close()
        order.append("closed")

    closer = threading.Thread(target=close)
    closer.start()
    await rig.start()
    await asyncio.to_thread(closer.join)
    assert order == ["call ended", "closed"]


async def test_a_handler_that_raises_hurts_no_other_view(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("bug")

    view = rig.informer.cluster("one")
    raising = view.add_handler(HandlerFuncs(on_add=fail, on_update=fail, on_delete=fail))
    view.add_handler(heard := Recorder())
    await rig.start()
    await rig.send("MODIFIED", "a", 11, "one")
    await rig.send("DELETED", "a", 12, "one")
    assert len(heard.calls) == 3
    assert raising.synced
    assert [record.getMessage() for record in caplog.records] == ["Event handler failed"] * 3
    labels = {"name": "", "resource": "configmaps", "scope": ""}
    failed = rig.metrics.registry.get_sample_value("informer_handler_errors_total", labels)
    assert failed == 3


async def test_any_number_of_views_are_one_handler_of_the_informer(rig: Rig) -> None:
    """KCP-10: an event costs as much as there are handlers of its cluster."""
    asked: list[str] = []
    for number in range(100):
        view = rig.informer.cluster(f"c{number}")
        view.add_handler(HandlerFuncs(on_add=lambda obj: asked.append(obj.key)))
    await rig.start()
    assert asked == []
    assert all(not rig.informer._deliveries._there.of(obj) for obj in rig.informer._store.all())
    assert len(rig.source.list_versions) == 1


async def test_a_view_reads_its_cluster(rig: Rig) -> None:
    """KCP-08, KCP-12."""
    view = rig.informer.cluster("two")
    await rig.start()
    assert [obj["metadata"]["resourceVersion"] for obj in view.lister.list()] == ["2"]


async def test_a_view_of_an_informer_that_ended_takes_no_handlers(rig: Rig) -> None:
    """INF-09."""
    view = rig.informer.cluster("one")
    view.add_handler(Recorder())
    await rig.start()
    await rig.stop()
    with pytest.raises(RuntimeError, match="has ended"):
        view.add_handler(Recorder())
    view.close()


@pytest.mark.parametrize("name", ["", "*"])
async def test_a_view_is_of_one_cluster(rig: Rig, name: str) -> None:
    """KCP-12: whoever has no name at hand must not hear of all clusters."""
    with pytest.raises(ValueError, match="is of one logical cluster, not of"):
        rig.informer.cluster(name)


async def test_handlers_with_options_hear_of_the_cluster_only(rig: Rig) -> None:
    """KCP-20 fixed: filters, resyncs and buffers change nothing about that."""
    view = rig.informer.cluster("one")
    view.add_handler(resynced := Recorder(), resync_seconds=1)
    view.add_handler(matching := Recorder(), matches=lambda obj: obj.uid == "uid-a")
    buffered = view.add_handler(slow := Recorder(), buffered=True)
    await rig.start()
    await rig.send("ADDED", "b", 11, "one")
    await rig.send("ADDED", "b", 12, "two")
    rig.clock.step(1)
    await settle()
    await asyncio.to_thread(buffered.wait_for_sync, 10)
    await asyncio.to_thread(eventually, lambda: len(slow.calls) == 2)
    first, second = "add one|default/a initial", "add one|default/b"
    assert slow.calls == [first, second]
    assert matching.calls == [first]
    assert resynced.calls == [first, second, "update one|default/a", "update one|default/b"]
