"""The buffer of a slow handler: INF-02 to INF-04, INF-21, FIFO-01 and on, SY."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers import CachedObject, EventHandler
from kcpctl.informers.buffering import Backlog, Buffer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.runtime import start_thread
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.listerwatcher import raw_object

_DECODER = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)


def soon(check: Callable[[], bool]) -> None:
    eventually(check, poll_seconds=0.002)


def cached(name: str, version: int, *, uid: str = "") -> CachedObject:
    return _DECODER.decode(raw_object(name, version, uid=uid))


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.meta.name} {_version(obj)}" + " initial" * is_initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.meta.name} {_version(old)}->{_version(new)}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        unknown = " unknown" * final_state_unknown
        self.calls.append(f"delete {obj.meta.name} {_version(obj)}{unknown}")


def _version(obj: CachedObject) -> str:
    return obj.meta.resource_version


def tell(backlog: Backlog, handler: EventHandler) -> None:
    for call in backlog.take().calls(handler):
        call()


def told(backlog: Backlog) -> list[str]:
    """All that waits, in order."""
    recorder = Recorder()
    while backlog:
        tell(backlog, recorder)
    return recorder.calls


# How changes collapse


def test_updates_collapse_from_what_was_heard_to_the_newest() -> None:
    """INF-03."""
    backlog = Backlog()
    one, two, three = (cached("a", version) for version in (1, 2, 3))
    backlog.update(one, two)
    backlog.update(two, three)
    assert told(backlog) == ["update a 1->3"]


def test_an_add_that_was_updated_unheard_is_an_add_of_the_newest() -> None:
    backlog = Backlog()
    backlog.add(cached("a", 1), is_initial=True)
    backlog.update(cached("a", 1), cached("a", 2))
    assert told(backlog) == ["add a 2 initial"]


def test_what_came_and_went_unheard_was_never_there() -> None:
    backlog = Backlog()
    backlog.add(cached("a", 1), is_initial=True)
    backlog.delete(cached("a", 2), final_state_unknown=False)
    assert len(backlog) == backlog.initial == 0


def test_a_delete_tells_the_last_state() -> None:
    backlog = Backlog()
    backlog.update(cached("a", 1), cached("a", 2))
    backlog.delete(cached("a", 3), final_state_unknown=True)
    assert told(backlog) == ["delete a 3 unknown"]


def test_deleted_and_made_again_unheard_is_a_delete_and_an_add() -> None:
    """INF-06: of one change; no update goes from one uid to another because of the buffer."""
    backlog = Backlog()
    backlog.update(cached("a", 1, uid="one"), cached("a", 2, uid="one"))
    backlog.delete(cached("a", 3, uid="one"), final_state_unknown=True)
    backlog.add(cached("a", 4, uid="two"), is_initial=False)
    backlog.update(cached("a", 4, uid="two"), cached("a", 5, uid="two"))
    assert len(backlog) == 1
    assert told(backlog) == ["delete a 3 unknown", "add a 5"]


def test_a_successor_that_came_and_went_unheard_was_never_there() -> None:
    backlog = Backlog()
    backlog.delete(cached("a", 3, uid="one"), final_state_unknown=False)
    backlog.add(cached("a", 4, uid="two"), is_initial=False)
    backlog.delete(cached("a", 5, uid="two"), final_state_unknown=True)
    assert told(backlog) == ["delete a 3"]


def test_the_order_is_that_of_the_first_change_of_each() -> None:
    """FIFO-01, FIFO-07: whatever changes again keeps its place."""
    backlog = Backlog()
    for name in "abc":
        backlog.add(cached(name, 1), is_initial=False)
    backlog.update(cached("a", 1), cached("a", 2))
    backlog.delete(cached("b", 2), final_state_unknown=False)
    backlog.add(cached("b", 3), is_initial=False)
    assert told(backlog) == ["add a 2", "add c 1", "add b 3"]


class Model(EventHandler):
    """What the handler knows, checked against what there is, at each call."""

    def __init__(self) -> None:
        self.there: dict[str, CachedObject] = {}
        self.heard: dict[str, CachedObject] = {}
        self.last: dict[str, CachedObject] = {}
        self.waiting: dict[str, None] = {}
        self.initial: set[str] = set()

    def changed(self, key: str, *, initial: bool = False) -> None:
        if key not in self.waiting and initial:
            self.initial.add(key)
        self.waiting.setdefault(key)
        if key not in self.there and key not in self.heard:
            del self.waiting[key]
            self.initial.discard(key)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        assert obj.key not in self.heard
        assert obj is self.there[obj.key]
        assert is_initial == (obj.key in self.initial)
        self.heard[obj.key] = obj

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        assert new is self.there[new.key]
        assert old is self.heard[new.key]
        assert old.uid == new.uid
        self.heard[new.key] = new

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        assert obj is self.last[self.heard[obj.key].uid]
        assert final_state_unknown == (int(_version(obj)) % 2 == 0)
        del self.heard[obj.key]


@given(
    st.lists(
        st.tuples(st.sampled_from(["change", "delete", "resync", "take"]), st.sampled_from("abc")),
        max_size=60,
    ),
    st.integers(0, 20),
)
def test_whatever_happens_the_handler_hears_a_consistent_story(
    steps: list[tuple[str, str]], initial_steps: int
) -> None:
    """INF-03, FIFO-26: against a model of what is there and what was heard."""
    backlog, model = Backlog(), Model()

    def take() -> None:
        change = backlog.take()
        assert change.key == next(iter(model.waiting))
        for call in change.calls(model):
            call()
        del model.waiting[change.key]
        model.initial.discard(change.key)

    for version, (what, name) in enumerate(steps, start=1):
        key = f"root|default/{name}"
        old = model.there.get(key)
        if what == "take" and model.waiting:
            take()
        elif what == "change" and old is None:
            obj = model.there[key] = cached(name, version, uid=f"uid-{version}")
            backlog.add(obj, is_initial=version <= initial_steps)
            model.changed(key, initial=version <= initial_steps)
        elif what == "change" and old is not None:
            obj = model.there[key] = cached(name, version, uid=old.meta.uid)
            backlog.update(old, obj)
            model.changed(key)
        elif what == "resync" and old is not None:
            backlog.update(old, old)
            model.changed(key)
        elif what == "delete" and old is not None:
            del model.there[key]
            obj = model.last[old.uid] = cached(name, version, uid=old.uid)
            backlog.delete(obj, final_state_unknown=version % 2 == 0)
            model.changed(key)
        assert len(backlog) == len(model.waiting) <= 3
        assert backlog.initial == len(model.initial)
    while backlog:
        take()
    assert model.heard == model.there


# The thread


class Gate(Recorder):
    """Each call waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.entered.release()
        assert self.let_through.acquire(timeout=30)
        super().on_add(obj, is_initial=is_initial)


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.errors: list[str] = []
        self.synced = 0
        self.buffers: list[Buffer] = []

    def buffer(self, handler: EventHandler) -> Buffer:
        def failed(key: str, error: BaseException) -> None:
            self.errors.append(f"{key} {error}")

        def synced() -> None:
            self.synced += 1

        buffer = Buffer(
            handler,
            name="slow",
            informer="configmaps of root",
            clock=self.clock,
            on_error=failed,
            on_synced=synced,
        )
        self.buffers.append(buffer)
        return buffer


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    for buffer in rig.buffers:
        buffer.close(wait=True)


def add(buffer: Buffer, *names: str, initial: bool = False) -> None:
    for name in names:
        buffer.on_add(cached(name, 1), is_initial=initial)


def test_a_slow_handler_delays_nobody_and_hears_the_newest(rig: Rig) -> None:
    """INF-02, INF-05: the deliverer never waits, and calls come one at a time."""
    gate = Gate()
    buffer = rig.buffer(gate)
    add(buffer, "a")
    assert gate.entered.acquire(timeout=30)
    add(buffer, "b")
    buffer.on_update(cached("a", 1), cached("a", 2))
    buffer.on_update(cached("a", 2), cached("a", 3))
    assert len(buffer) == 2
    assert gate.calls == []
    gate.let_through.release(2)
    soon(lambda: len(gate.calls) == 3)
    assert gate.calls == ["add a 1", "add b 1", "update a 1->3"]
    assert len(buffer) == 0


def test_synced_is_when_the_last_initial_add_has_returned(rig: Rig) -> None:
    """INF-21, FIFO-29, SY-01, SY-04: not before all have come, nor while one is told."""
    gate = Gate()
    buffer = rig.buffer(gate)
    add(buffer, "a", initial=True)
    gate.let_through.release()
    soon(lambda: len(gate.calls) == 1)
    assert not buffer.synced
    add(buffer, "b", initial=True)
    add(buffer, "c")
    buffer.complete()
    assert gate.entered.acquire(timeout=30)
    assert gate.entered.acquire(timeout=30)
    assert not buffer.synced
    gate.let_through.release()
    soon(lambda: buffer.synced)
    soon(lambda: rig.synced == 1)
    gate.let_through.release()
    soon(lambda: len(gate.calls) == 3)
    assert buffer.synced


def test_an_initial_add_that_runs_is_waited_for(rig: Rig) -> None:
    """INF-21, SY-01: when all have come and none waits, the last may still run."""
    gate = Gate()
    buffer = rig.buffer(gate)
    add(buffer, "a", initial=True)
    assert gate.entered.acquire(timeout=30)
    buffer.complete()
    synced_before = buffer.synced
    gate.let_through.release()
    soon(lambda: buffer.synced)
    assert not synced_before


def test_a_buffer_without_initial_adds_is_synced_at_once(rig: Rig) -> None:
    """FIFO-06."""
    buffer = rig.buffer(Recorder())
    buffer.complete()
    assert buffer.synced


def test_an_initial_object_that_went_unheard_is_not_waited_for(rig: Rig) -> None:
    """SY-03: what is counted is what still has to be told."""
    gate = Gate()
    buffer = rig.buffer(gate)
    add(buffer, "a")
    assert gate.entered.acquire(timeout=30)
    add(buffer, "b", initial=True)
    buffer.complete()
    buffer.on_delete(cached("b", 2), final_state_unknown=False)
    assert buffer.synced
    gate.let_through.release()


def test_a_handler_that_raises_is_reported_and_synced_all_the_same(rig: Rig) -> None:
    """INF-15, INF-16 fixed; FIFO-19: the change is gone."""

    class Raising(Recorder):
        def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
            super().on_add(obj, is_initial=is_initial)
            if obj.meta.name == "a":
                raise SystemExit("no")

    handler = Raising()
    buffer = rig.buffer(handler)
    add(buffer, "a", "b", initial=True)
    buffer.complete()
    soon(lambda: buffer.synced)
    assert rig.errors == ["root|default/a no"]
    assert handler.calls == ["add a 1 initial", "add b 1 initial"]


def test_close_drops_what_waits_and_waits_for_the_call_that_runs(rig: Rig) -> None:
    """INF-12 fixed, INF-13."""
    gate = Gate()
    buffer = rig.buffer(gate)
    add(buffer, "a", "b", initial=True)
    assert gate.entered.acquire(timeout=30)
    buffer.complete()
    order: list[str] = []

    def close() -> None:
        buffer.close(wait=True)
        order.append(f"closed after {gate.calls}")

    closer = start_thread(close, name="closer")
    soon(lambda: len(buffer) == 0)
    assert order == []
    gate.let_through.release(2)
    closer.join(30)
    assert order == ["closed after ['add a 1 initial']"]
    add(buffer, "c")
    assert len(buffer) == 0
    assert not buffer.synced


def test_closing_wakes_the_thread_that_waits_for_changes(rig: Rig) -> None:
    """FIFO-08, INF-26."""
    recorder = Recorder()
    buffer = rig.buffer(recorder)
    add(buffer, "a")
    soon(lambda: bool(recorder.calls))
    threads = [one for one in threading.enumerate() if one.name == "kcpctl-handler-slow"]
    assert len(threads) == 1
    buffer.close(wait=True)
    assert not threads[0].is_alive()


def test_a_handler_may_close_its_own_buffer(rig: Rig) -> None:
    """INF-13: without waiting for itself."""
    calls: list[str] = []
    buffers: list[Buffer] = []

    class Once(Recorder):
        def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
            buffers[0].close(wait=True)
            calls.append(obj.key)

    buffers.append(rig.buffer(Once()))
    add(buffers[0], "a", "b")
    soon(lambda: bool(calls))
    buffers[0].close(wait=True)
    assert calls == ["root|default/a"]


def test_a_handler_that_ends_on_a_delete_does_not_hear_of_the_successor(rig: Rig) -> None:
    """INF-12 fixed: not even when both are one change."""
    calls: list[str] = []

    class UntilDelete(Gate):
        def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
            buffer.close(wait=True)
            calls.append("delete")

        def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
            calls.append("add")
            super().on_add(obj, is_initial=is_initial)

    handler = UntilDelete()
    buffer = rig.buffer(handler)
    add(buffer, "b")
    assert handler.entered.acquire(timeout=30)
    buffer.on_delete(cached("a", 2), final_state_unknown=False)
    add(buffer, "a")
    handler.let_through.release(10)
    soon(lambda: "delete" in calls)
    buffer.close(wait=True)
    assert calls == ["add", "delete"]


def test_closing_a_buffer_that_was_never_used_starts_no_thread(rig: Rig) -> None:
    buffer = rig.buffer(Recorder())
    buffer.close(wait=True)
    add(buffer, "a")
    assert not [one for one in threading.enumerate() if one.name == "kcpctl-handler-slow"]


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [one.__dict__["fields"] for one in caplog.records]


def slow_handler(clock: FakeClock, seconds: float) -> tuple[Recorder, Callable[[], None]]:
    """Return a handler whose calls take that long, once it may begin."""
    begin = threading.Event()

    class Slow(Recorder):
        def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
            assert begin.wait(30)
            clock.step(seconds)
            super().on_add(obj, is_initial=is_initial)

    return Slow(), begin.set


def test_a_slow_call_with_many_waiting_is_logged_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """INF-04, FIFO-33."""
    handler, begin = slow_handler(rig.clock, 0.25)
    buffer = rig.buffer(handler)
    add(buffer, *[f"o{number}" for number in range(1030)])
    begin()
    soon(lambda: len(handler.calls) == 1030)
    assert [one.getMessage() for one in caplog.records] == ["Event handler is slow"]
    assert lines(caplog) == [
        {
            "informer": "configmaps of root",
            "handler": "slow",
            "key": "root|default/o0",
            "seconds": 0.25,
            "pending": 1029,
        }
    ]


@pytest.mark.parametrize(("seconds", "count"), [(0.05, 1100), (0.25, 1000)])
def test_a_call_is_not_logged_when_it_is_fast_or_little_waits(
    rig: Rig, caplog: pytest.LogCaptureFixture, seconds: float, count: int
) -> None:
    """INF-04."""
    handler, begin = slow_handler(rig.clock, seconds)
    buffer = rig.buffer(handler)
    add(buffer, *[f"o{number}" for number in range(count)])
    begin()
    soon(lambda: len(handler.calls) == count)
    assert caplog.records == []
