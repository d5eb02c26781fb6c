"""The ordering by priority: PQ of the client-go behaviours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.testing import FakeClock
from kcpctl.workqueue import LOW_PRIORITY, DelayingQueue, Priority, ShutDown


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> DelayingQueue[str]:
    return DelayingQueue("test", clock=clock, ordering=Priority())


def ready(queue: DelayingQueue[str]) -> list[str]:
    keys = []
    while len(queue):
        keys.append(queue.get(0))
        queue.done(keys[-1])
    return keys


def test_a_locked_key_that_is_added_again_waits_for_done(queue: DelayingQueue[str]) -> None:
    """PQ-01."""
    queue.add("a", priority=5)
    key = queue.get(0)
    queue.add("a", priority=9)
    with pytest.raises(TimeoutError):
        queue.get(0)
    queue.done(key)
    assert ready(queue) == ["a"]


def test_higher_goes_first_and_equals_in_the_order_of_arrival(queue: DelayingQueue[str]) -> None:
    """PQ-02."""
    for key, priority in [("a", -100), ("b", 0), ("c", 7), ("d", 0), ("e", -100), ("f", 7)]:
        queue.add(key, priority)
    assert ready(queue) == ["c", "f", "b", "d", "a", "e"]


def test_a_lower_priority_never_demotes(queue: DelayingQueue[str]) -> None:
    """PQ-03."""
    queue.add("a", 5)
    queue.add("b", 3)
    queue.add("a", -5)
    assert ready(queue) == ["a", "b"]


def test_a_raise_keeps_its_arrival(queue: DelayingQueue[str]) -> None:
    """PQ-04 mended: the raised keys do not stand in line anew, nor change places."""
    for key, priority in [("a", -100), ("b", -100), ("c", 0), ("d", -100), ("e", 0)]:
        queue.add(key, priority)
    for key in ["b", "a", "d"]:
        queue.add(key, 0)
    assert ready(queue) == ["a", "b", "c", "d", "e"]


def test_a_key_raised_twice_is_handed_out_once(queue: DelayingQueue[str]) -> None:
    """PQ-03."""
    for key in ["a", "b", "c"]:
        queue.add(key, LOW_PRIORITY)
    for priority in [0, 5]:
        queue.add("b", priority)
    queue.add("c", 0)
    assert ready(queue) == ["b", "c", "a"]


def test_keys_that_were_raised_keep_their_order_when_one_of_them_is_raised_again(
    queue: DelayingQueue[str],
) -> None:
    """PQ-04 mended: they are in a heap, from which one is taken."""
    for key in ["a", "b", "c", "d"]:
        queue.add(key, LOW_PRIORITY)
    for key in ["a", "c", "b", "d"]:
        queue.add(key, 0)
    queue.add("a", 5)
    assert ready(queue) == ["a", "b", "c", "d"]


def test_while_processing_the_highest_priority_is_kept_for_the_next_run(
    queue: DelayingQueue[str],
) -> None:
    """PQ-01, PQ-03."""
    queue.add("a")
    queue.get(0)
    queue.add("a", 1)
    queue.add("a", 5)
    queue.add("a", -5)
    queue.add("b", 3)
    queue.done("a")
    assert ready(queue) == ["a", "b"]


def test_an_immediate_add_replaces_the_waiting_one_and_keeps_its_priority(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """PQ-06, PQ-08."""
    queue.add_after("a", 10, 5)
    queue.add("a")
    queue.add("b", 3)
    assert ready(queue) == ["a", "b"]
    clock.step(11)
    assert ready(queue) == []


def test_of_two_plans_the_earlier_time_and_the_higher_priority_win(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """PQ-05, PQ-08."""
    queue.add_after("b", 1, 3)
    queue.add_after("a", 1, -5)
    queue.add_after("a", 9, 5)
    clock.step(1)
    assert ready(queue) == ["a", "b"]


def test_len_counts_ready_keys_only(queue: DelayingQueue[str]) -> None:
    """PQ-07."""
    queue.add_after("a", 1, 5)
    queue.add("b", -5)
    assert len(queue) == 1


def test_a_key_that_is_queued_again_keeps_the_priority_it_runs_with(
    queue: DelayingQueue[str], clock: FakeClock
) -> None:
    """PQ-16: for a retry, not for an event; and not for the run after that."""
    queue.add("a", 5)
    queue.get(0)
    queue.add_after("a", 1)
    queue.done("a")
    queue.add_after("a", 1)
    queue.add_after("b", 1, 3)
    clock.step(1)
    assert ready(queue) == ["a", "b"]
    queue.add("b", 3)
    queue.add_after("a", 0)
    assert ready(queue) == ["b", "a"]


def test_a_steady_stream_of_urgent_keys_starves_nobody(queue: DelayingQueue[str]) -> None:
    """PQ-10 mended: each lower level has its share, here two levels of them."""
    for number in range(20):
        queue.add(f"low-{number}", LOW_PRIORITY)
        queue.add(f"lowest-{number}", -200)
    served = []
    for number in range(400):
        queue.add(f"urgent-{number}")
        served.append(queue.get(0))
        queue.done(served[-1])
    for kind in ["low-", "lowest-"]:
        runs = [index for index, key in enumerate(served) if key.startswith(kind)]
        assert len(runs) == 20, "in the order of arrival, and all of them"
        assert [served[index] for index in runs] == [f"{kind}{n}" for n in range(20)]
        assert max(after - before for before, after in pairwise(runs)) <= 11
    assert sum(key.startswith("urgent") for key in served[:100]) >= 75


def test_with_a_backlog_on_three_levels_each_has_its_share() -> None:
    """PQ-10 mended: only keys of higher levels count as preferred."""
    ordering: Priority[str] = Priority()
    for number in range(40):
        for name, priority in [("H", 0), ("M", LOW_PRIORITY), ("L", -200)]:
            ordering.push(f"{name}{number}", priority)
    served = "".join(ordering.pop()[0] for _ in range(30))
    assert served == "HHHHHHHHLMHHHHHHHLHMHHHHHHLHHM"


def test_shutdown_hands_out_what_is_queued_and_a_drain_waits_for_it(
    queue: DelayingQueue[str],
) -> None:
    """PQ-12 mended: the same as with the other orderings, and twice is no error."""
    queue.add("a", 1)
    queue.add("b", -1)
    assert not queue.shut_down_with_drain(0)
    assert ready(queue) == ["a", "b"]
    assert queue.shut_down_with_drain(0)
    queue.shut_down()
    with pytest.raises(ShutDown):
        queue.get()


def test_an_add_is_visible_at_once(queue: DelayingQueue[str]) -> None:
    """PQ-13 mended."""
    queue.add("a", 1)
    assert len(queue) == 1


def test_a_level_without_keys_leaves_nothing_behind() -> None:
    ordering: Priority[str] = Priority()
    for priority in range(100):
        ordering.push("a", priority)
        ordering.touch("a", priority + 1)
        ordering.pop()
        ordering.push("b", priority)
        ordering.remove_cluster("")
    assert not ordering.can_pop()
    assert (ordering._levels, ordering._order, ordering._held) == ({}, [], {})


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([-100, 0, 5]))))
def test_without_ageing_it_is_a_sort_by_priority_and_arrival(adds: list[tuple[str, int]]) -> None:
    """PQ-02 to PQ-04: eight keys are too few for anybody to be passed over too often."""
    ordering: Priority[str] = Priority()
    held: dict[str, int] = {}
    for key, priority in adds:
        (ordering.touch if key in held else ordering.push)(key, priority)
        held[key] = max(held.get(key, priority), priority)
    arrivals = list(held)
    expected = sorted(held, key=lambda key: (-held[key], arrivals.index(key)))
    assert [ordering.pop() for _ in held] == expected
