"""The shared informer: INF, FIFO and KCP of the client-go behaviours."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.errors import Gone
from kcpctl.informers import (
    CLUSTER_AND_NAMESPACE_INDEX,
    CLUSTER_INDEX,
    CachedObject,
    EventHandler,
    HandlerFuncs,
    SharedInformer,
    Transform,
)
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import HANG, ScriptedSource, event, page, raw_object


def client(cluster: str = "root", *, multi_cluster: bool = False) -> AsyncClient:
    """A client that is only asked for its names."""
    nowhere = cast(Transport, None)
    return AsyncClient(nowhere, cluster_name=cluster, multi_cluster=multi_cluster)


class Recorder(EventHandler):
    """A handler that notes what it hears, and what the cache holds at that moment."""

    def __init__(self, informer: SharedInformer[dict[str, Any]] | None = None) -> None:
        self.calls: list[str] = []
        self.stored: list[set[str]] = []
        self.threads: set[str] = set()
        self._informer = informer

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)
        if self._informer is not None:
            self.stored.append(set(self._informer.lister.keys()))

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self._note(f"add {obj.key}" + (" initial" if is_initial else ""))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        versions = f"{old.meta.resource_version}->{new.meta.resource_version}"
        self._note(f"update {new.key} {versions}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self._note(f"delete {obj.key}" + (" unknown" if final_state_unknown else ""))


class Rig:
    def __init__(
        self,
        cluster: str = "root",
        *,
        multi_cluster: bool = False,
        transform: Transform | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.source = ScriptedSource()
        self.metrics = Metrics()
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            client(cluster, multi_cluster=multi_cluster),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
            transform=transform,
        )
        self.handler = Recorder(self.informer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
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

    def value(self, name: str) -> float | None:
        labels = {"name": "", "resource": "configmaps", "scope": ""}
        return self.metrics.registry.get_sample_value(name, labels)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.informer.add_handler(rig.handler)
    return rig


# Deliveries


async def test_a_delete_that_was_missed_is_delivered_with_the_last_known_state(rig: Rig) -> None:
    """KCP-02, KCP-19, KCP-21, FIFO-21, INF-18, INF-19, IDX-03: gone, and one on_delete."""
    rig.source.lists.extend(
        [page(10, raw_object("a", 1), raw_object("b", 2)), page(20, raw_object("b", 2))]
    )
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.handler.calls[2:] == ["delete root|default/a unknown"]
        assert rig.informer.lister.keys() == ["root|default/b"]


async def test_the_initial_list_is_delivered_as_initial_adds(rig: Rig) -> None:
    """INF-07, INF-20, INF-21."""
    rig.source.lists.append(page(10, raw_object("a", 1), raw_object("b", 2)))
    assert not rig.informer.synced
    async with rig.running():
        assert rig.handler.calls == ["add root|default/a initial", "add root|default/b initial"]
        assert rig.informer.synced


async def test_events_are_delivered_as_what_they_mean_for_the_store(rig: Rig) -> None:
    """FIFO-35, FIFO-36: the type of the event does not decide."""
    rig.source.lists.append(page(10, raw_object("a", 1)))
    rig.source.watches.append(
        [
            event("ADDED", raw_object("a", 11)),
            event("MODIFIED", raw_object("b", 12)),
            event("DELETED", raw_object("a", 13)),
            event("DELETED", raw_object("never-seen", 14)),
            HANG,
        ]
    )
    async with rig.running():
        assert rig.handler.calls[1:] == [
            "update root|default/a 1->11",
            "add root|default/b",
            "delete root|default/a",
        ]


async def test_handlers_see_the_new_state_of_the_store(rig: Rig) -> None:
    """FIFO-21, FIFO-34: store first, notify second, also for a whole list, deletions first."""
    rig.source.lists.extend(
        [
            page(10, raw_object("a", 1), raw_object("b", 1)),
            page(20, raw_object("c", 20), raw_object("b", 19)),
        ]
    )
    rig.source.watches.append([event("DELETED", raw_object("b", 11)), Gone("x")])
    async with rig.running():
        await rig.step(1)
        both = {"root|default/a", "root|default/b"}
        new = {"root|default/b", "root|default/c"}
        assert rig.handler.stored == [both, both, {"root|default/a"}, new, new, new]
        assert rig.handler.calls[3:] == [
            "delete root|default/a unknown",
            "add root|default/c",
            "add root|default/b",
        ]


async def test_an_unchanged_object_is_not_delivered_again(rig: Rig) -> None:
    """INF-39, and for an event that comes twice."""
    rig.source.lists.extend([page(10, raw_object("a", 1)), page(20, raw_object("a", 1))])
    rig.source.watches.append(
        [event("ADDED", raw_object("a", 1)), event("MODIFIED", raw_object("a", 1)), Gone("x")]
    )
    async with rig.running():
        await rig.step(1)
        assert rig.source.list_versions == ["0", "10"]
        assert rig.handler.calls == ["add root|default/a initial"]


async def test_a_late_event_does_not_take_the_store_back_in_time(rig: Rig) -> None:
    """Pitfall 7: neither an old version, nor the deletion of a predecessor."""
    rig.source.lists.append(page(20, raw_object("a", 20, uid="second")))
    rig.source.watches.append(
        [
            event("MODIFIED", raw_object("a", 15, uid="second")),
            event("MODIFIED", raw_object("a", 9, uid="first")),
            event("DELETED", raw_object("a", 10, uid="first")),
            HANG,
        ]
    )
    async with rig.running():
        assert rig.handler.calls == ["add root|default/a initial"]
        cached = rig.informer.lister.cached("root|default/a")
        assert cached is not None
        assert cached.meta.resource_version == "20"


async def test_a_list_may_go_back_in_time(rig: Rig) -> None:
    """Pitfall 7: a server that was restored from a backup wins."""
    older = page(5, raw_object("a", 5))
    rig.source.lists.extend([page(20, raw_object("a", 20)), older, older])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.handler.calls[1:] == ["update root|default/a 20->5"]


async def test_the_version_is_that_of_the_last_state_event_or_bookmark(rig: Rig) -> None:
    """IDX-11, RF-38, FIFO-23: handlers find the version of what they are told already."""
    seen: list[str] = []

    def note(*_: object) -> None:
        seen.append(rig.informer.resource_version)

    rig.informer.add_handler(HandlerFuncs(on_add=note, on_update=note, on_delete=note))
    assert rig.informer.resource_version == ""
    rig.source.lists.append(page(20, raw_object("a", 3)))
    rig.source.watches.append(
        [
            event("MODIFIED", raw_object("a", 21)),
            event("DELETED", raw_object("a", 22)),
            event("DELETED", raw_object("unknown", 23)),
            event("BOOKMARK", 40),
            event("ADDED", raw_object("old", 30)),
            event("BOOKMARK", 41),
            HANG,
        ]
    )
    async with rig.running():
        assert seen == ["20", "21", "22", "40"]
        assert rig.informer.resource_version == "41"
        rig.informer.remove("root")
        assert rig.informer.resource_version == "41"
    assert rig.informer.resource_version == ""


async def test_a_lower_version_of_a_list_is_the_version(rig: Rig) -> None:
    """IDX-11 after a restore from a backup: versions before it mean nothing any more."""
    rig.source.lists.extend([page(20, raw_object("a", 20)), page(5), page(5)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.informer.resource_version == "5"


async def test_versions_that_are_no_numbers_are_taken_as_they_come(rig: Rig) -> None:
    rig.source.lists.append(page("x", raw_object("a", "zz")))
    rig.source.watches.append([event("MODIFIED", raw_object("a", "aa")), HANG])
    async with rig.running():
        assert rig.handler.calls[1:] == ["update root|default/a zz->aa"]


async def test_deleted_and_made_again_while_away_is_one_update(rig: Rig) -> None:
    """INF-06."""
    rig.source.lists.extend(
        [page(10, raw_object("a", 1, uid="one")), page(20, raw_object("a", 15, uid="two"))]
    )
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.handler.calls[1:] == ["update root|default/a 1->15"]


async def test_equal_names_in_two_clusters_are_two_objects() -> None:
    """KCP-01, KCP-08, KCP-11: through list, watch and re-list."""
    rig = Rig("*", multi_cluster=True)
    rig.informer.add_handler(rig.handler)
    one, two = raw_object("a", 1, cluster="one"), raw_object("a", 2, cluster="two")
    rig.source.lists.extend([page(10, one, two), page(20, two)])
    rig.source.watches.append([event("MODIFIED", raw_object("a", 11, cluster="one")), Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.handler.calls == [
            "add one|default/a initial",
            "add two|default/a initial",
            "update one|default/a 1->11",
            "delete one|default/a unknown",
        ]
        assert rig.informer.lister.keys() == ["two|default/a"]
        assert rig.informer.lister.cluster("one").list() == []


# Several handlers


async def test_several_handlers_share_one_list_and_watch(rig: Rig) -> None:
    """INF-01, INF-10."""
    other = Recorder()
    rig.informer.add_handler(other)
    rig.informer.add_handler(rig.handler)
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        assert rig.handler.calls == ["add root|default/a initial"] * 2
        assert other.calls == ["add root|default/a initial"]
        assert len(rig.source.requests) == 2


class Raising(EventHandler):
    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        raise RuntimeError("add")

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        raise RuntimeError("update")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        raise RuntimeError("delete")


async def test_a_handler_that_raises_hurts_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """INF-15, INF-16, FIFO-37 mended: logged, counted, and it does not stay unsynced."""
    rig = Rig()
    raising = rig.informer.add_handler(Raising())
    rig.informer.add_handler(rig.handler)
    rig.source.lists.append(page(10, raw_object("a", 1)))
    rig.source.watches.append(
        [event("MODIFIED", raw_object("a", 11)), event("DELETED", raw_object("a", 12)), HANG]
    )
    async with rig.running():
        assert rig.handler.calls == [
            "add root|default/a initial",
            "update root|default/a 1->11",
            "delete root|default/a",
        ]
        assert raising.synced
        assert rig.value("informer_handler_errors_total") == 3
        assert [record.getMessage() for record in caplog.records] == ["Event handler failed"] * 3


async def test_a_late_handler_gets_a_replay_and_then_what_changes(rig: Rig) -> None:
    """INF-08: nothing missed, nothing twice."""
    rig.source.lists.extend([page(10, raw_object("a", 1)), page(20, raw_object("b", 2))])
    rig.source.watches.append([HANG])
    late = Recorder()
    async with rig.running():
        registration = rig.informer.add_handler(late)
        assert late.calls == ["add root|default/a initial"]
        assert registration.synced
        rig.informer.apply("MODIFIED", _decoded("a", 11), "11")
        assert late.calls[1:] == ["update root|default/a 1->11"]


async def test_a_handler_added_while_the_first_list_is_awaited_is_synced_with_it(
    rig: Rig,
) -> None:
    """INF-21."""
    async with rig.running():
        registration = rig.informer.add_handler(late := Recorder())
        assert not registration.synced
        rig.informer.replace([_decoded("a", 1)], "1")
        assert late.calls == ["add root|default/a initial"]
        assert registration.synced


async def test_a_handler_added_by_a_handler_hears_of_each_object_once(rig: Rig) -> None:
    """INF-08 in the middle of a replacement."""
    late = Recorder()
    added: list[object] = []

    def add_late(obj: CachedObject) -> None:
        if not added:
            added.append(rig.informer.add_handler(late))

    rig.informer.add_handler(HandlerFuncs(on_delete=add_late))
    rig.source.lists.append(page(10, raw_object("a", 1), raw_object("b", 2)))
    async with rig.running():
        rig.informer.replace([_decoded("b", 20), _decoded("c", 3)], "20")
        assert late.calls == ["add root|default/b initial", "add root|default/c initial"]


async def test_a_handler_added_by_another_thread_is_told_on_the_io_thread(rig: Rig) -> None:
    """INF-08, INF-14."""
    rig.source.lists.append(page(10, *[raw_object(f"o{n}", n + 1) for n in range(50)]))
    late = Recorder()
    async with rig.running():
        registration = await asyncio.to_thread(rig.informer.add_handler, late)
        while not registration.synced:
            await asyncio.sleep(0)
        rig.informer.apply("MODIFIED", _decoded("o0", 99), "99")
        assert len(late.calls) == 51
        assert late.threads == {threading.current_thread().name}


async def test_nothing_is_heard_after_remove(rig: Rig) -> None:
    """INF-11, INF-12 fixed."""
    other = Recorder()
    registration = rig.informer.add_handler(other)
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        registration.remove()
        registration.remove()
        rig.informer.apply("MODIFIED", _decoded("a", 11), "11")
        assert len(other.calls) == 1
        assert len(rig.handler.calls) == 2


async def test_a_handler_may_remove_itself_and_others_while_it_is_told(rig: Rig) -> None:
    victim = Recorder()
    calls: list[str] = []

    def remove_both(obj: CachedObject) -> None:
        calls.append(obj.key)
        own.remove()
        other.remove()

    own = rig.informer.add_handler(HandlerFuncs(on_add=remove_both))
    other = rig.informer.add_handler(victim)
    rig.source.lists.append(page(10, raw_object("a", 1), raw_object("b", 1)))
    async with rig.running():
        assert calls == ["root|default/a"]
        assert victim.calls == []
        assert len(rig.handler.calls) == 2


async def test_remove_from_another_thread_waits_for_the_call_that_runs(rig: Rig) -> None:
    """INF-13."""
    order: list[str] = []
    inside = threading.Event()

    def slow(obj: CachedObject) -> None:
        inside.set()
        remover.join(0.05)
        order.append("call ended")

    registration = rig.informer.add_handler(HandlerFuncs(on_add=slow))

    def remove() -> None:
        inside.wait()
        registration.remove()
        order.append("removed")

    remover = threading.Thread(target=remove)
    remover.start()
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        await asyncio.to_thread(remover.join)
        assert order == ["call ended", "removed"]


async def test_a_handler_removed_before_its_replay_hears_nothing(rig: Rig) -> None:
    rig.source.lists.append(page(10, raw_object("a", 1)))
    late = Recorder()

    def add_and_remove() -> None:
        rig.informer.add_handler(late).remove()

    async with rig.running():
        thread = threading.Thread(target=add_and_remove)
        thread.start()
        thread.join()
        await settle()
        rig.informer.apply("MODIFIED", _decoded("a", 11), "11")
        assert late.calls == []
        assert len(list(rig.informer._deliveries._there)) == 1


# Start and end


async def test_a_second_run_is_a_warning(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """INF-25."""
    rig.source.lists.append(page(10))
    async with rig.running():
        await rig.informer.run()
        assert "Informer runs already" in caplog.text
        assert rig.source.open_watches == 1


async def test_an_informer_that_ended_stays_ended(rig: Rig) -> None:
    """INF-09, INF-11, INF-25."""
    registration = rig.informer.add_handler(Recorder())
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        pass
    assert rig.source.open_watches == 0
    with pytest.raises(RuntimeError, match="configmaps of root has ended"):
        await rig.informer.run()
    with pytest.raises(RuntimeError, match="has ended"):
        rig.informer.add_handler(Recorder())
    registration.remove()
    assert rig.informer.lister.keys() == ["root|default/a"]


async def test_synced_stays_synced(rig: Rig) -> None:
    """INF-24."""
    rig.source.lists.extend([page(10), Gone("x"), Gone("x")])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.informer.last_error is not None
        assert rig.informer.synced


async def test_indexes_may_come_after_the_start(rig: Rig) -> None:
    """INF-30: and after the end, when the store can still be read."""
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        rig.informer.add_index("name", lambda obj: [obj.meta.name])
        assert len(rig.informer.lister.by_index("name", "a")) == 1
    rig.informer.add_index("uid", lambda obj: [obj.uid])
    assert len(rig.informer.lister.by_index("uid", "uid-a")) == 1
    with pytest.raises(ValueError, match="'uid' already"):
        rig.informer.add_index("uid", lambda obj: [])


async def test_metadata_is_not_decoded_until_somebody_asks(rig: Rig) -> None:
    """It would be a third of the memory; the recorder asks for it on updates only."""
    rig.source.lists.append(page(10, raw_object("a", 1), raw_object("b", 2)))
    rig.source.watches.append(
        [event("ADDED", raw_object("c", 11)), event("DELETED", raw_object("b", 12)), HANG]
    )
    async with rig.running():
        stored = [rig.informer.lister.cached(f"root|default/{name}") for name in ("a", "c")]
        assert [obj is not None and obj._meta for obj in stored] == [None, None]


@pytest.mark.parametrize(
    ("version", "shown"),
    [("12", 12.0), ("1234567890123456789", 567890123456789.0), ("", None), ("a1", None)],
)
async def test_the_version_that_is_measured_is_one_that_a_float_holds(
    rig: Rig, version: str, shown: float | None
) -> None:
    """IDX-12."""
    rig.source.lists.append(page(version))
    async with rig.running():
        value = rig.value("informer_resource_version")
        assert value is not None
        assert math.isnan(value) if shown is None else value == shown


async def test_metrics_tell_the_state_and_leave_with_the_informer(rig: Rig) -> None:
    rig.source.lists.append(page(10, raw_object("a", 1)))
    rig.source.watches.append([event("BOOKMARK", 11), HANG])
    async with rig.running():
        await rig.step(5)
        assert rig.value("informer_synced") == 1
        assert rig.value("informer_objects") == 1
        assert rig.value("informer_seconds_since_last_event") == 5
        assert rig.value("reflector_lists_total") == 1
        assert rig.value("reflector_watches_total") == 1
    assert rig.value("informer_objects") is None


def _decoded(name: str, version: int) -> CachedObject:
    from kcpctl.informers.objects import ObjectDecoder

    decoder = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)
    return decoder.decode(raw_object(name, version))


# A cluster that is gone


def of_two_clusters() -> Rig:
    rig = Rig("*", multi_cluster=True)
    rig.informer.add_handler(rig.handler)
    rig.source.lists.append(
        page(
            10,
            raw_object("a", 1, cluster="one"),
            raw_object("b", 2, cluster="one"),
            raw_object("a", 3, cluster="two"),
        )
    )
    return rig


async def test_removing_a_cluster_delivers_deletes_and_leaves_nothing_behind() -> None:
    """KCP-17 fixed, pitfall 14."""
    rig = of_two_clusters()
    rig.informer.add_index("name", lambda obj: [obj.meta.name])
    async with rig.running():
        del rig.handler.calls[:]
        rig.informer.remove("one")
        assert rig.handler.calls == [
            "delete one|default/a unknown",
            "delete one|default/b unknown",
        ]
        lister = rig.informer.lister
        assert lister.keys() == ["two|default/a"]
        assert lister.index_values(CLUSTER_INDEX) == ["two"]
        assert lister.index_values(CLUSTER_AND_NAMESPACE_INDEX) == ["two/default"]
        assert lister.index_values("name") == ["a"]


async def test_removing_a_cluster_again_or_an_unknown_one_does_nothing() -> None:
    """KCP-17 fixed."""
    rig = of_two_clusters()
    rig.informer.remove("one")  # nothing is known before the start
    async with rig.running():
        rig.informer.remove("one")
        del rig.handler.calls[:]
        rig.informer.remove("one")
        rig.informer.remove("three")
        assert rig.handler.calls == []
    rig.informer.remove("two")  # nor is anything delivered after the end
    assert rig.handler.calls == []


async def test_a_cluster_may_be_removed_by_another_thread() -> None:
    rig = of_two_clusters()
    async with rig.running():
        thread = threading.Thread(target=rig.informer.remove, args=("one",))
        thread.start()
        thread.join()
        await settle()
        assert rig.informer.lister.keys() == ["two|default/a"]


async def test_a_handler_may_remove_the_cluster_that_it_hears_of() -> None:
    """Each delete is delivered once."""
    rig = of_two_clusters()
    rig.informer.add_handler(HandlerFuncs(on_delete=lambda obj: rig.informer.remove(obj.cluster)))
    async with rig.running():
        rig.informer.remove("one")
        deletes = [call for call in rig.handler.calls if call.startswith("delete")]
        assert sorted(deletes) == ["delete one|default/a unknown", "delete one|default/b unknown"]


async def test_what_a_removed_cluster_still_sends_is_an_add() -> None:
    rig = of_two_clusters()
    gate = event("MODIFIED", raw_object("a", 11, cluster="one"))
    rig.source.watches.extend([[event("BOOKMARK", 10)], [gate, HANG]])
    async with rig.running():
        rig.informer.remove("one")
        await rig.step(1)
        assert rig.handler.calls[-1] == "add one|default/a"


# Transforms


def without_data(obj: dict[str, Any]) -> dict[str, Any]:
    if obj["metadata"]["name"] == "bad":
        raise ValueError("not this one")
    obj.pop("data", None)
    obj["metadata"].pop("annotations", None)
    return obj


async def test_a_transform_says_what_is_kept_and_cannot_lose_the_cluster() -> None:
    """INF-29, KCP-05 fixed."""
    rig = Rig("*", multi_cluster=True, transform=without_data)
    rig.source.lists.append(page(10, raw_object("a", 1, cluster="one", data={"x": "y"})))
    async with rig.running():
        assert rig.informer.lister.keys() == ["one|default/a"]
        stored = rig.informer.lister.get("one|default/a")
        assert stored["metadata"]["name"] == "a"
        assert "data" not in stored
        assert "annotations" not in stored["metadata"]


async def test_a_transform_that_fails_for_one_object_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """FIFO-18 fixed."""
    rig = Rig(transform=without_data)
    rig.source.lists.append(page(10, raw_object("a", 1), raw_object("bad", 2), raw_object("c", 3)))
    rig.source.watches.append(
        [event("ADDED", raw_object("bad", 11)), event("ADDED", raw_object("d", 12)), HANG]
    )
    async with rig.running():
        assert rig.informer.lister.keys() == [f"root|default/{name}" for name in "acd"]
        assert rig.value("informer_skipped_objects_total") == 2
        assert "not this one" in str(caplog.records[0].__dict__)


async def test_a_transform_may_not_change_what_the_object_is() -> None:
    """INF-29."""

    def renamed(obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"]["name"] = "other"
        return obj

    rig = Rig(transform=renamed)
    rig.source.lists.append(page(10, raw_object("a", 1)))
    async with rig.running():
        assert rig.informer.lister.keys() == []
        assert rig.informer.synced
