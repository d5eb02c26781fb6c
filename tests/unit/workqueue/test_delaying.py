"""The delaying queue: DQ of the client-go behaviours, with decision 14."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kcpctl.runtime import start_thread
from kcpctl.testing import FakeClock, eventually
from kcpctl.workqueue import DelayingQueue, Fair, ShutDown
from kcpctl.workqueue.waiting import WaitingKeys


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> DelayingQueue[str]:
    return DelayingQueue("test", clock=clock)


def step_until(clock: FakeClock, seconds: float, check: Callable[[], bool]) -> None:
    """Let time pass until a thread has done something: it may not sleep yet at the first step.

    A few steps must do: a getter that nobody woke would come back with its own deadline.
    """
    steps = 0

    def step_and_check() -> bool:
        nonlocal steps
        if steps < 20 and not check():
            clock.step(seconds)
            steps += 1
        return check()

    eventually(step_and_check, poll_seconds=0.01)


def ready(queue: DelayingQueue[str]) -> list[str]:
    keys = []
    while len(queue):
        key = queue.get(0)
        queue.done(key)
        keys.append(key)
    return keys


def test_a_delayed_key_is_invisible_until_its_time(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-01, DQ-13."""
    queue.add_after("a", 5)
    clock.step(4.9)
    assert ready(queue) == []
    clock.step(0.1)
    assert ready(queue) == ["a"]


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_delay_is_an_immediate_add(queue: DelayingQueue[str], seconds: float) -> None:
    """DQ-02."""
    queue.add_after("a", seconds)
    assert ready(queue) == ["a"]


@pytest.mark.parametrize("delays", [(1, 5), (5, 1)])
def test_of_two_plans_the_earlier_wins_and_the_key_comes_once(
    queue: DelayingQueue[str], clock: FakeClock, delays: tuple[float, float]
) -> None:
    """DQ-03."""
    for delay in delays:
        queue.add_after("a", delay)
    clock.step(1)
    assert ready(queue) == ["a"]
    clock.step(10)
    assert ready(queue) == []


def test_a_key_may_be_delayed_again_after_it_fired(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-04."""
    queue.add_after("a", 1)
    clock.step(1)
    assert ready(queue) == ["a"]
    queue.add_after("a", 1)
    assert ready(queue) == []
    clock.step(1)
    assert ready(queue) == ["a"]


def test_keys_fire_in_order_of_time_and_all_that_are_due(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-05."""
    for key, delay in [("c", 3), ("a", 1), ("d", 9), ("b", 2)]:
        queue.add_after(key, delay)
    clock.step(3)
    assert ready(queue) == ["a", "b", "c"]


def test_an_immediate_add_cancels_a_waiting_one(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-06 fixed, decision 14."""
    queue.add_after("a", 5)
    queue.add("a")
    assert ready(queue) == ["a"]
    clock.step(10)
    assert ready(queue) == []


@pytest.mark.parametrize("workers_come_before_its_time", [True, False])
def test_a_plan_that_was_cancelled_does_not_let_a_later_one_fire_early(
    queue: DelayingQueue[str], clock: FakeClock, workers_come_before_its_time: bool
) -> None:
    """DQ-04, DQ-06: the cancelled one is still in the heap as long as others wait."""
    queue.add_after("other", 100)
    queue.add_after("a", 5)
    queue.add("a")
    queue.add_after("a", 9)
    if workers_come_before_its_time:
        assert ready(queue) == ["a"]
    clock.step(5)
    assert ready(queue) == ([] if workers_come_before_its_time else ["a"])
    clock.step(4)
    assert ready(queue) == ["a"]


def test_of_keys_due_at_once_the_first_to_be_planned_is_first(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-05: to plan it again for the same time does not put it behind."""
    for key in ["a", "b", "a"]:
        queue.add_after(key, 5)
    clock.step(5)
    assert ready(queue) == ["a", "b"]


def test_a_zero_delay_cancels_a_waiting_one_too(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    queue.add_after("a", 5)
    queue.add_after("a", 0)
    assert ready(queue) == ["a"]
    clock.step(10)
    assert ready(queue) == []


def test_a_key_that_falls_due_while_it_is_processed_runs_once_more(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-01 with WQ-05."""
    queue.add("a")
    queue.get(0)
    queue.add_after("a", 1)
    clock.step(1)
    assert len(queue) == 0
    queue.done("a")
    assert ready(queue) == ["a"]


def test_however_many_keys_are_planned_nobody_blocks(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-08 mended: there is no channel that could be full, and no worker is there to empty it."""
    for number in range(3000):
        queue.add_after(str(number), 1 + number % 7)
    assert len(queue.snapshot().waiting) == 3000
    clock.step(7)
    assert len(ready(queue)) == 3000


def test_a_worker_queues_a_thousand_of_the_keys_that_fell_due_at_most(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-05: they all come, in order; but nobody holds the lock until all of them are queued."""
    for number in range(2500):
        queue.add_after(str(number), 1 + number / 10_000)
    clock.step(2)
    left = []
    for number in range(2500):
        assert queue.get(0) == str(number)
        queue.done(str(number))
        left.append(len(queue._waiting.due))
    assert left[:2] == [1500, 500]
    assert left[-1] == 0


def test_keys_that_are_held_back_do_not_hide_others_that_are_due(clock: FakeClock) -> None:
    """Even if there are more of them than are queued at once."""
    queue: DelayingQueue[str] = DelayingQueue(clock=clock, ordering=Fair(max_per_cluster=1))
    queue.add("a|running")
    queue.get(0)
    for number in range(1500):
        queue.add_after(f"a|{number}", 1)
    queue.add_after("b|1", 2)
    clock.step(2)
    assert queue.get(0) == "b|1"


def test_a_waiting_key_can_be_seen_hurried_and_dropped_with_its_cluster(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-14 mended."""
    for key, delay in [("a|1", 5), ("a|2", 6), ("b|1", 7)]:
        queue.add_after(key, delay)
    assert queue.snapshot().waiting == {"a|1": 5, "a|2": 6, "b|1": 7}
    queue.add("b|1")
    queue.remove_cluster("a")
    assert queue.snapshot().waiting == {}
    clock.step(10)
    assert ready(queue) == ["b|1"]


def test_a_delay_that_is_no_number_is_none(queue: DelayingQueue[str]) -> None:
    """DQ-02: it would never be due, and upset the order of the others."""
    queue.add_after("a", float("nan"))
    assert ready(queue) == ["a"]


def test_a_delay_after_shutdown_is_ignored(queue: DelayingQueue[str], clock: FakeClock) -> None:
    """DQ-10."""
    queue.shut_down()
    queue.add_after("a", 1)
    clock.step(1)
    assert ready(queue) == []


def test_shutdown_drops_what_waits_but_not_what_is_due(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """DQ-11."""
    queue.add_after("due", 1)
    queue.add_after("later", 5)
    clock.step(1)
    queue.shut_down()
    assert ready(queue) == ["due"]
    assert queue.snapshot().waiting == {}
    with pytest.raises(ShutDown):
        queue.get(0)


def test_a_blocked_getter_gets_a_key_when_it_falls_due(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    got: list[str] = []
    thread = start_thread(lambda: got.append(queue.get(10_000)), name="getter", daemon=True)
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    queue.add_after("a", 5)
    clock.step(0)
    eventually(lambda: min(queue.snapshot().waiting.values(), default=0) == 5)
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    # The getter may still sleep on its old deadline; a step wakes whoever is due.
    step_until(clock, 5, lambda: not thread.is_alive())
    assert got == ["a"]


def test_an_earlier_plan_wakes_the_getter_that_keeps_the_time(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    queue.add_after("late", 500)
    got: list[str] = []
    thread = start_thread(lambda: got.append(queue.get()), name="getter", daemon=True)
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    queue.add_after("early", 1)
    step_until(clock, 0.5, lambda: not thread.is_alive())
    assert got == ["early"]


def test_the_time_is_kept_on_by_another_getter_when_one_leaves(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """Invariant 4 of the queue: a worker that leaves passes the timekeeper's role on."""
    queue.add_after("planned", 5)
    got: list[str] = []
    threads = [
        start_thread(lambda: got.append(queue.get(10_000)), name=f"getter-{n}", daemon=True)
        for n in range(2)
    ]
    eventually(lambda: clock.sleepers == 2, poll_seconds=0.002)
    queue.add("now")
    eventually(lambda: got == ["now"])
    # Only one sleeper is left, and it sleeps until the planned key is due.
    eventually(lambda: clock.sleepers == 1, poll_seconds=0.002)
    step_until(clock, 5, lambda: len(got) == 2)
    for thread in threads:
        thread.join(30)
    assert got == ["now", "planned"]
    assert clock.sleepers == 0


def test_a_key_that_is_ready_is_not_left_to_a_getter_that_keeps_the_time(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """Invariant 4: two adds may wake the same getter, which then wakes the next."""
    queue.add_after("planned", 500)
    got: list[str] = []
    threads = [
        start_thread(lambda: got.append(queue.get(10_000)), name=f"getter-{n}", daemon=True)
        for n in range(3)
    ]
    eventually(lambda: clock.sleepers == 3, poll_seconds=0.002)
    queue.add("a")
    queue.add("b")
    eventually(lambda: len(got) == 2, poll_seconds=0.002)
    step_until(clock, 100, lambda: len(got) == 3)
    for thread in threads:
        thread.join(30)
    assert sorted(got) == ["a", "b", "planned"]


def test_stale_entries_do_not_grow_with_the_number_of_cancelled_plans() -> None:
    waiting: WaitingKeys[int] = WaitingKeys()
    waiting.schedule(-1, 1e9, 0)
    for index in range(10_000):
        waiting.schedule(index % 10, float(index), 0)
        waiting.cancel(index % 10)
    assert waiting.times() == {-1: 1e9}
    assert len(waiting._heap) <= 2 + 64
    assert waiting.next_due() == 1e9
