"""Several threads on one queue, interleaved as hypothesis says, one step at a time.

All that a queue does happens under its lock, so what threads can do to each other is decided by
who goes next: which of those that were woken, whose time is over, or that make a new call. Here a
scheduler decides. Every thread is parked except the one it lets go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcpctl.runtime import start_thread
from kcpctl.workqueue import DelayingQueue, Fair, Fifo, Ordering, Priority, ShutDown

KEYS = ["a|1", "a|2", "b|1"]


class Parked:
    """One getter, which stands where it would sleep."""

    def __init__(self, waiter: threading.Lock, deadline: float | None) -> None:
        self.waiter = waiter
        self.deadline = deadline
        self.go = threading.Semaphore(0)


class Scheduler:
    """A clock whose waits give the control back; a notified thread goes on only when told to.

    It puts itself in the condition's line as ``Condition.wait`` does, and looks there whether it
    was notified.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.parked: dict[str, Parked] = {}
        self.back = threading.Semaphore(0)

    def monotonic(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        waiter = threading.Lock()
        waiter.acquire()
        condition._waiters.append(waiter)  # type: ignore[attr-defined]
        deadline = None if timeout_seconds is None else self.now + timeout_seconds
        parked = self.parked[threading.current_thread().name] = Parked(waiter, deadline)
        condition.release()
        self.back.release()
        parked.go.acquire()
        condition.acquire()
        if waiter in condition._waiters:  # type: ignore[attr-defined]
            condition._waiters.remove(waiter)  # type: ignore[attr-defined]
            return False
        return True

    def runnable(self) -> list[str]:
        return [
            name
            for name, parked in self.parked.items()
            if not parked.waiter.locked()
            or (parked.deadline is not None and parked.deadline <= self.now)
        ]

    def let_go(self, name: str) -> None:
        self.parked.pop(name).go.release()
        assert self.back.acquire(timeout=30), f"{name} neither ended nor waits"


class World:
    """A queue, its workers, what they have in hand, and what must still run."""

    def __init__(self, ordering: Ordering[str]) -> None:
        self.scheduler = Scheduler()
        self.queue: DelayingQueue[str] = DelayingQueue(
            clock=self.scheduler,  # type: ignore[arg-type]
            ordering=ordering,
        )
        self.threads: dict[str, threading.Thread] = {}
        self.in_hand: dict[str, str] = {}
        self.wanted: set[str] = set()
        self.down = False

    def busy(self, worker: str) -> bool:
        return worker in self.scheduler.parked or worker in self.in_hand

    def get(self, worker: str, timeout_seconds: float | None) -> None:
        def call() -> None:
            try:
                key = self.queue.get(timeout_seconds)
                assert key not in self.in_hand.values(), "handed out twice (WQ-04)"
                self.in_hand[worker] = key
                self.wanted.discard(key)
            except (ShutDown, TimeoutError):
                pass
            finally:
                self.scheduler.back.release()

        self.threads[worker] = start_thread(call, name=worker, daemon=True)
        assert self.scheduler.back.acquire(timeout=30)

    def done(self, worker: str) -> None:
        self.queue.done(self.in_hand.pop(worker))

    def add(self, key: str, seconds: float, priority: int) -> None:
        if self.down:
            return
        if seconds:
            self.queue.add_after(key, seconds, priority)
        else:
            self.queue.add(key, priority)
        # What a late worker plans for a cluster that was removed is dropped.
        if not (seconds and self.queue.was_removed(key)):
            self.wanted.add(key)

    def remove_cluster(self, name: str) -> None:
        self.queue.remove_cluster(name)
        self.wanted = {key for key in self.wanted if not key.startswith(f"{name}|")}

    def shut_down(self) -> None:
        # What waits for its time is dropped (DQ-11).
        self.wanted = set(self.queue.snapshot().queued)
        self.queue.shut_down()
        self.down = True

    def settle(self, choose: Callable[[list[str]], str]) -> None:
        while runnable := self.scheduler.runnable():
            self.scheduler.let_go(choose(runnable))

    def check_nobody_sleeps_by_mistake(self) -> None:
        """When all who were woken have gone on, a getter sleeps for want of keys only."""
        sleepers = self.scheduler.parked.values()
        if not sleepers:
            return
        assert not self.queue._ordering.can_pop(), "a key is ready and its wake-up was lost"
        if self.down:
            assert self.queue._ready(), "shut down and empty, and a getter sleeps (WQ-10)"
        elif (due := self.queue._waiting.next_due()) is not None:
            wakes = [parked.deadline for parked in sleepers if parked.deadline is not None]
            assert wakes, "keys wait, and nobody keeps the time"
            assert min(wakes) <= due, "the timekeeper oversleeps (DQ-05)"

    def finish(self) -> None:
        """Two honest workers and time: everything that was added is handed out (WQ-05)."""
        for worker in list(self.in_hand):
            self.done(worker)
        self.settle(lambda runnable: runnable[0])
        for _ in range(40):
            for worker in list(self.in_hand):
                self.done(worker)
            self.settle(lambda runnable: runnable[-1])
            self.scheduler.now += 1
            self.settle(lambda runnable: runnable[0])
            if not self.busy("last"):
                self.get("last", None)
            self.check_nobody_sleeps_by_mistake()
        self.queue.shut_down()
        self.settle(lambda runnable: runnable[0])
        assert not self.wanted, "an add was lost"
        assert not self.scheduler.parked, "a getter sleeps after shutdown (WQ-10)"


@pytest.mark.parametrize(
    "make",
    [Fifo, Priority, Fair, lambda: Fair(max_per_cluster=1)],
    ids=["fifo", "priority", "fair", "limited"],
)
@settings(max_examples=100)
@given(data=st.data())
def test_no_interleaving_loses_a_wake_up_or_an_add(
    make: Callable[[], Ordering[str]], data: st.DataObject
) -> None:
    """WQ-01 to WQ-10, DQ-01, DQ-05, with up to four workers."""
    world = World(make())
    workers = [f"w{number}" for number in range(4)]
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        choices: list[tuple[str, str]] = [("go", name) for name in world.scheduler.runnable()]
        choices += [("done", worker) for worker in world.in_hand]
        choices += [("get", worker) for worker in workers if not world.busy(worker)][:1]
        choices += [("add", key) for key in KEYS] + [("time", ""), ("settle", ""), ("remove", "a")]
        if not world.down:
            choices.append(("down", ""))
        what, name = data.draw(st.sampled_from(choices))
        if what == "go":
            world.scheduler.let_go(name)
        elif what == "done":
            world.done(name)
        elif what == "get":
            world.get(name, data.draw(st.sampled_from([None, None, 1.0, 3.0])))
        elif what == "add":
            seconds = data.draw(st.sampled_from([0, 0, 1, 2, 5]))
            world.add(name, seconds, data.draw(st.sampled_from([-100, 0])))
        elif what == "time":
            world.scheduler.now += data.draw(st.sampled_from([0.5, 1, 5]))
        elif what == "remove":
            world.remove_cluster(name)
        elif what == "down" and data.draw(st.booleans()):
            world.shut_down()
        else:
            world.settle(lambda runnable: data.draw(st.sampled_from(runnable)))
            world.check_nobody_sleeps_by_mistake()
    world.finish()


def test_an_add_wakes_nobody_while_a_worker_is_on_its_way() -> None:
    """WQ-02 differs: that one wakes the next when it has its key, so none stays asleep."""
    world = World(Fifo())
    for worker in ["w1", "w2", "w3"]:
        world.get(worker, None)
    for key in ["a|1", "a|2"]:
        world.add(key, 0, 0)
    assert len(world.scheduler.runnable()) == 1
    world.settle(lambda runnable: runnable[0])
    assert sorted(world.in_hand.values()) == ["a|1", "a|2"]
    assert len(world.scheduler.parked) == 1


@pytest.mark.parametrize("how", ["done", "removed"])
def test_after_shutdown_whoever_waits_for_a_key_that_is_held_back_ends_when_it_is_gone(
    how: str,
) -> None:
    """WQ-09, WQ-10: one worker gets it, or nobody, and all the others end."""
    world = World(Fair(max_per_cluster=1))
    for key in ["a|1", "a|2"]:
        world.add(key, 0, 0)
    for worker in ["w1", "w2", "w3", "w4"]:
        world.get(worker, None)
    world.shut_down()
    world.settle(lambda runnable: runnable[0])
    assert len(world.scheduler.parked) == 3
    if how == "done":
        world.done("w1")
    else:
        world.remove_cluster("a")
    world.settle(lambda runnable: runnable[0])
    assert not world.scheduler.parked
    assert list(world.in_hand.values()) == (["a|2"] if how == "done" else ["a|1"])


def test_only_one_of_the_workers_that_wait_keeps_the_time_and_only_for_the_next_key() -> None:
    """DQ-09: one timer, for the head; whoever is planned earlier moves it."""
    world = World(Fifo())
    for worker in ["w1", "w2", "w3"]:
        world.get(worker, None)

    def deadlines() -> list[float]:
        world.settle(lambda runnable: runnable[0])
        parked = world.scheduler.parked.values()
        return [each.deadline for each in parked if each.deadline is not None]

    assert deadlines() == []
    for key, seconds, head in [("a|1", 50, 50), ("a|2", 70, 50), ("b|1", 30, 30)]:
        world.add(key, seconds, 0)
        assert deadlines() == [head]
    world.add("b|1", 0, 0)
    assert deadlines() == [50]


def test_whoever_keeps_the_time_is_woken_for_an_earlier_plan_also_while_another_is_on_its_way() -> (
    None
):
    """DQ-05: w1 was woken for a key that w2 took, and w3 keeps the time before w1 has looked."""
    world = World(Fifo())
    world.get("w1", None)
    world.add("a|1", 0, 0)
    world.get("w2", None)
    world.add("a|2", 50, 0)
    world.get("w3", None)
    world.add("b|1", 10, 0)
    world.settle(lambda runnable: runnable[0])
    world.check_nobody_sleeps_by_mistake()


def test_whoever_keeps_the_time_gives_up_in_time() -> None:
    world = World(Fifo())
    world.add("a|1", 50, 0)
    world.get("w1", 10)
    assert [each.deadline for each in world.scheduler.parked.values()] == [10]


def test_whoever_keeps_the_time_looks_up_within_the_hour() -> None:
    """DQ-07: and a plan for the end of time is nothing that a wait cannot take."""
    world = World(Fifo())
    world.get("w1", None)
    world.add("a|1", float("inf"), 0)
    world.settle(lambda runnable: runnable[0])
    assert [each.deadline for each in world.scheduler.parked.values()] == [3600]
    world.scheduler.now = 3600
    world.settle(lambda runnable: runnable[0])
    assert [each.deadline for each in world.scheduler.parked.values()] == [7200]


@pytest.mark.parametrize("drain", [False, True])
def test_shutdown_ends_whoever_keeps_the_time_at_once_and_may_come_again(drain: bool) -> None:
    """DQ-12: no time passes, and nothing of a timer is left behind."""
    world = World(Fifo())
    for worker in ["w1", "w2"]:
        world.get(worker, None)
    world.add("a|1", 50, 0)
    world.settle(lambda runnable: runnable[0])
    for _ in range(2):
        if drain:
            assert world.queue.shut_down_with_drain(0)
        else:
            world.queue.shut_down()
        world.settle(lambda runnable: runnable[0])
        assert not world.scheduler.parked
