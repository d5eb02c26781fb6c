"""The dedupe queue: WQ of the client-go behaviours, with decision 14."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from kcpctl.runtime import Metrics, start_thread
from kcpctl.testing import FakeClock, eventually
from kcpctl.workqueue import (
    DelayingQueue,
    Fair,
    Fifo,
    Ordering,
    Priority,
    QueueMetrics,
    RateLimitingQueue,
    ShutDown,
    WorkQueue,
)


class Call:
    """A blocking call on a thread of its own, with its outcome."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.result: object = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = start_thread(self._run, name="test-call", daemon=True)

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:  # noqa: BLE001 - the outcome is what the test looks at
            self.error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Call:
        self._thread.join(30)
        assert not self.running, "the call still blocks"
        return self


def ready(queue: WorkQueue[str]) -> list[str]:
    """Take and finish everything that is ready."""
    keys = []
    while len(queue):
        key = queue.get(0)
        queue.done(key)
        keys.append(key)
    return keys


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue("test")


def test_done_of_a_key_never_handed_out_raises_and_changes_nothing(queue: WorkQueue[str]) -> None:
    """WQ-22 fixed, decision 14."""
    queue.add("a")
    with pytest.raises(ValueError, match="'a' of work queue 'test' was not handed out"):
        queue.done("a")
    assert ready(queue) == ["a"]


def test_done_twice_raises(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.done(queue.get(0))
    with pytest.raises(ValueError, match="not handed out"):
        queue.done("a")


def test_get_gives_up_in_time() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue("test", clock=clock)
    getter = Call(lambda: queue.get(10))
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    clock.step(9.9)
    assert getter.running
    clock.step(0.2)
    assert isinstance(getter.join().error, TimeoutError)


def test_get_with_no_time_does_not_block(queue: WorkQueue[str]) -> None:
    with pytest.raises(TimeoutError, match="'test'"):
        queue.get(0)


def test_an_added_key_is_handed_out(queue: WorkQueue[str]) -> None:
    """WQ-02."""
    queue.add("a")
    assert len(queue) == 1
    assert queue.get(0) == "a"


def test_a_queued_key_that_is_added_again_is_handed_out_once(queue: WorkQueue[str]) -> None:
    """WQ-03."""
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert ready(queue) == ["a"]


def test_a_processing_key_is_not_given_to_a_second_worker(queue: WorkQueue[str]) -> None:
    """WQ-04."""
    queue.add("a")
    queue.get(0)
    queue.add("a")
    assert len(queue) == 0
    with pytest.raises(TimeoutError):
        queue.get(0)


def test_adds_while_processing_give_exactly_one_more_run(queue: WorkQueue[str]) -> None:
    """WQ-05."""
    queue.add("a")
    key = queue.get(0)
    for _ in range(5):
        queue.add("a")
    queue.done(key)
    assert ready(queue) == ["a"]


def test_a_key_that_comes_back_goes_to_the_tail(queue: WorkQueue[str]) -> None:
    """WQ-06."""
    queue.add("a")
    queue.get(0)
    queue.add("b")
    queue.add("a")
    queue.done("a")
    assert ready(queue) == ["b", "a"]


def test_an_add_wakes_a_blocked_getter(queue: WorkQueue[str]) -> None:
    """WQ-07."""
    getter = Call(queue.get)
    queue.add("a")
    assert getter.join().result == "a"


def test_every_add_wakes_one_of_several_getters() -> None:
    """WQ-02: no wake-up is lost when adds come before the woken getter runs."""
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    getters = [Call(lambda: queue.get(1000)) for _ in range(4)]
    eventually(lambda: clock.sleepers == 4, poll_seconds=0.002)
    for key in "abcd":
        queue.add(key)
    assert sorted(str(getter.join().result) for getter in getters) == list("abcd")


def test_a_done_key_that_is_dirty_wakes_a_getter(queue: WorkQueue[str]) -> None:
    """WQ-06."""
    queue.add("a")
    queue.get(0)
    queue.add("a")
    getter = Call(queue.get)
    queue.done("a")
    assert getter.join().result == "a"


def test_an_add_after_shutdown_is_ignored(queue: WorkQueue[str]) -> None:
    """WQ-08."""
    queue.shut_down()
    queue.add("a")
    assert len(queue) == 0
    assert queue.shutting_down


def test_a_shut_down_queue_hands_out_what_it_holds_and_then_ends(queue: WorkQueue[str]) -> None:
    """WQ-09."""
    queue.add("a")
    queue.add("b")
    queue.shut_down()
    assert ready(queue) == ["a", "b"]
    with pytest.raises(ShutDown, match="'test' is shut down"):
        queue.get()


def test_shutdown_wakes_all_getters_and_does_not_wait_for_workers(queue: WorkQueue[str]) -> None:
    """WQ-10."""
    queue.add("busy")
    queue.get(0)
    getters = [Call(queue.get) for _ in range(3)]
    queue.shut_down()
    assert all(isinstance(getter.join().error, ShutDown) for getter in getters)


def test_a_key_dirty_at_shutdown_is_still_handed_out_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.get(0)
    queue.add("a")
    queue.shut_down()
    queue.done("a")
    assert ready(queue) == ["a"]


def drain(queue: WorkQueue[str], timeout_seconds: float | None = None) -> Call:
    call = Call(lambda: queue.shut_down_with_drain(timeout_seconds))
    eventually(lambda: queue.shutting_down)
    return call


def test_a_drain_waits_for_keys_in_flight(queue: WorkQueue[str]) -> None:
    """WQ-11."""
    queue.add("a")
    queue.get(0)
    draining = drain(queue)
    assert draining.running
    queue.done("a")
    assert draining.join().result is True


def test_a_drain_waits_for_queued_keys_too(queue: WorkQueue[str]) -> None:
    """WQ-11 fixed, decision 14."""
    queue.add("a")
    draining = drain(queue)
    assert draining.running
    assert ready(queue) == ["a"]
    assert draining.join().result is True


def test_a_drain_hands_out_a_key_that_became_dirty_while_processed(queue: WorkQueue[str]) -> None:
    """WQ-12, WQ-24: the drain does not end between done and the next get."""
    queue.add("a")
    queue.get(0)
    queue.add("a")
    draining = drain(queue)
    queue.done("a")
    assert queue.get(0) == "a"
    assert draining.running
    queue.done("a")
    assert draining.join().result is True


@pytest.mark.parametrize("make", [Fifo, Priority, Fair, lambda: Fair(max_per_cluster=1)])
def test_every_ordering_drains_alike(make: Callable[[], Ordering[str]]) -> None:
    """WQ-08 to WQ-14, PQ-12 mended: what was added before comes, what is added after does not."""
    queue: DelayingQueue[str] = DelayingQueue(ordering=make())
    for key, priority in [("a|1", 0), ("a|2", 5), ("b|1", -100)]:
        queue.add(key, priority)
    running = queue.get(0)
    queue.add(running)
    queue.add_after("a|later", 60)
    draining = drain(queue)
    queue.add("a|late")
    queue.done(running)
    assert sorted(ready(queue)) == ["a|1", "a|2", "b|1"]
    assert draining.join().result is True
    with pytest.raises(ShutDown):
        queue.get()
    assert queue.shut_down_with_drain()


def test_shutdown_releases_a_blocked_drain(queue: WorkQueue[str]) -> None:
    """WQ-13."""
    queue.add("a")
    queue.get(0)
    draining = drain(queue)
    queue.shut_down()
    assert draining.join().result is False


def test_a_drain_that_begins_after_a_shutdown_does_not_hold_up_the_released_one(
    queue: WorkQueue[str],
) -> None:
    """WQ-13, WQ-14: the first drain may not have looked yet when the second one begins."""
    queue.add("a")
    queue.get(0)
    first = drain(queue)
    eventually(lambda: len(queue._drainers._waiters) == 1)  # type: ignore[attr-defined]
    with queue._lock:
        # As shut_down does, and another drain, before anybody else gets the lock.
        queue._shut_downs += 1
        queue._drainers.notify_all()
        second = Call(queue.shut_down_with_drain)
    assert first.join().result is False
    assert second.running
    queue.done("a")
    assert second.join().result is True


def test_a_drain_ends_with_its_time() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("stuck")
    queue.get(0)
    draining = drain(queue, 30)
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    clock.step(30)
    assert draining.join().result is False


def test_several_drains_end_together(queue: WorkQueue[str]) -> None:
    """WQ-24: a separate notify-all for drainers."""
    queue.add("a")
    queue.get(0)
    drains = [drain(queue), drain(queue)]
    queue.done("a")
    assert [each.join().result for each in drains] == [True, True]


def test_both_shutdowns_may_come_in_any_order_and_often(queue: WorkQueue[str]) -> None:
    """WQ-14."""
    assert queue.shut_down_with_drain()
    queue.shut_down()
    queue.shut_down()
    assert queue.shut_down_with_drain()


class Key(str):
    """A string that can be referred to weakly."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("make", [Fifo, Priority, Fair, lambda: Fair(max_per_cluster=1)])
@pytest.mark.parametrize("others", [[], ["a|before", "a|after"]])
def test_a_queue_does_not_keep_a_finished_key_alive(
    make: Callable[[], Ordering[str]], others: list[str]
) -> None:
    """WQ-16: whether it is the last one of its cluster or its cluster goes on."""
    queue: RateLimitingQueue[str] = RateLimitingQueue(
        ordering=make(), metrics=QueueMetrics(Metrics(), "test")
    )
    for other in others:
        queue.add(other)
    key = Key("a|1")
    gone = weakref.ref(key)
    queue.add_rate_limited(key, 5)
    queue.forget(key)
    queue.add(key)
    while (taken := queue.get(0)) is not key:
        queue.done(taken)
    queue.add("a|last")
    queue.done(taken)
    del key, taken
    gc.collect()
    assert gone() is None


def test_len_counts_ready_keys_only() -> None:
    """WQ-17."""
    queue: DelayingQueue[str] = DelayingQueue()
    queue.add("processing")
    queue.get(0)
    queue.add("processing")
    queue.add_after("waiting", 10)
    queue.add("ready")
    assert len(queue) == 1


def test_the_order_is_that_of_the_first_add(queue: WorkQueue[str]) -> None:
    """WQ-18."""
    for key in ["c", "a", "b", "a", "c"]:
        queue.add(key)
    assert ready(queue) == ["c", "a", "b"]


class Latest(Fifo[str]):
    """An ordering that hands out what was touched last."""

    def touch(self, key: str, priority: int) -> None:
        self._keys.remove(key)
        self._keys.append(key)

    def pop(self) -> str:
        return self._keys.pop()


def test_another_ordering_decides_and_is_told_of_repeated_adds() -> None:
    """WQ-19."""
    queue: WorkQueue[str] = WorkQueue(ordering=Latest())
    for key in ["a", "b", "c", "a"]:
        queue.add(key)
    assert ready(queue) == ["a", "c", "b"]


def test_an_ordering_is_not_told_of_a_key_that_it_does_not_hold() -> None:
    """WQ-19: touch is for queued keys, not for processing ones."""
    queue: WorkQueue[str] = WorkQueue(ordering=Latest())
    queue.add("a")
    queue.get(0)
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert ready(queue) == ["a"]


def test_keys_are_any_hashable() -> None:
    """WQ-20."""
    queue: WorkQueue[tuple[str, int]] = WorkQueue()
    queue.add(("a", 1))
    assert queue.get(0) == ("a", 1)


def test_a_key_that_the_ordering_refuses_leaves_no_trace() -> None:
    """WQ-20: Fair wants strings, and no key may be dirty without being queued."""
    queue: WorkQueue[object] = WorkQueue(ordering=Fair())  # type: ignore[arg-type]
    queue.add("a|1")
    with pytest.raises(AttributeError):
        queue.add(("a", 1))
    queue.done(queue.get(0))
    assert queue.snapshot().queued == {}
    assert queue.shut_down_with_drain(0)


def test_a_key_whose_worker_died_comes_to_nobody_until_it_is_done(queue: WorkQueue[str]) -> None:
    """WQ-23: so workers call done in finally; a drain with a time does not hang."""
    queue.add("a")

    def die() -> None:
        queue.get(0)
        raise RuntimeError("without done")

    assert isinstance(Call(die).join().error, RuntimeError)
    queue.add("a")
    with pytest.raises(TimeoutError):
        queue.get(0)
    assert not queue.shut_down_with_drain(0)
    queue.done("a")
    assert ready(queue) == ["a"]


def test_how_long_a_worker_has_had_a_key_can_be_seen() -> None:
    """WQ-25: there is no limit, but the snapshot names the key of a reconcile that hangs."""
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a|stuck")
    queue.get(0)
    clock.step(7200)
    assert queue.snapshot().processing == {"a|stuck": 7200}
    assert queue.snapshot().by_cluster()["a"].processing == {"a|stuck": 7200}


def test_the_snapshot_tells_queued_waiting_and_processing_with_their_times() -> None:
    clock = FakeClock()
    queue: DelayingQueue[str] = DelayingQueue(clock=clock)
    queue.add("processing")
    queue.get(0)
    clock.step(2)
    queue.add("queued")
    queue.add("processing")
    queue.add_after("waiting", 10)
    clock.step(3)
    snapshot = queue.snapshot()
    assert snapshot.queued == {"queued": 3, "processing": 3}
    assert snapshot.waiting == {"waiting": 7}
    assert snapshot.processing == {"processing": 5}


def test_no_worker_is_left_waiting_when_another_gives_up() -> None:
    """A key that was signalled to a getter whose time is over goes to the next one."""
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    impatient = Call(lambda: queue.get(1))
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    patient = Call(lambda: queue.get(1000))
    eventually(lambda: clock.sleepers == 2, poll_seconds=0.002)
    clock.step(1)
    queue.add("a")
    impatient.join()
    queue.add("b")
    assert patient.join().result in {"a", "b"}


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads change after a microsecond instead of five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


_ADDS: Final = 9000


def stress(queue: DelayingQueue[str]) -> list[tuple[str, str]]:
    """Let three producers and four workers run freely; return what they wrote into the log.

    "add" is written before the key is added, "begin" after a worker got it, "end" before it gives
    it back: so two runs that overlap in the log did overlap, and of an add that is not lost the
    log has a run that began later.
    """
    log: list[tuple[str, str]] = []
    together = threading.Barrier(7)

    def work() -> None:
        together.wait(30)
        while True:
            try:
                key = queue.get()
            except ShutDown:
                return
            log.append(("begin", key))
            for _ in range(10):
                pass  # CPython changes threads at loops and calls
            log.append(("end", key))
            queue.done(key)

    def produce(offset: int) -> None:
        together.wait(30)
        for index in range(_ADDS // 3):
            number = (index * 7 + offset) % 6
            key = f"{number % 2}|{number}"
            log.append(("add", key))
            if index % 3:
                queue.add(key, index % 2)
            else:
                queue.add_after(key, 0.00005 * (index % 5))

    workers = [start_thread(work, name=f"worker-{n}", daemon=True) for n in range(4)]
    producers = [
        start_thread(lambda offset=n: produce(offset), name=f"producer-{n}")  # type: ignore[misc]
        for n in range(3)
    ]
    for thread in producers:
        thread.join()
    eventually(lambda: not queue.snapshot().waiting, poll_seconds=0.002)
    assert queue.shut_down_with_drain(10)
    for thread in workers:
        thread.join(30)
    return log


@pytest.mark.usefixtures("switching_often")
@pytest.mark.parametrize("make", [Fifo, Priority, Fair, lambda: Fair(max_per_cluster=1)])
def test_free_threads_never_run_a_key_twice_at_once_and_lose_no_add(
    make: Callable[[], Ordering[str]],
) -> None:
    """WQ-01, WQ-05: what the log of a free-running stress tells."""
    log = stress(DelayingQueue(ordering=make()))
    running: set[str] = set()
    missing: set[str] = set()
    for what, key in log:
        if what == "add":
            missing.add(key)
        elif what == "begin":
            assert key not in running, "two workers have the same key"
            running.add(key)
            missing.discard(key)
        else:
            running.remove(key)
    assert (running, missing) == (set(), set())
    counts = Counter(what for what, _ in log)
    assert counts["add"] == _ADDS
    assert counts["begin"] <= _ADDS, "a run that nobody asked for"
