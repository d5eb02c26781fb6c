"""The fair ordering: what pitfall 1 asks for, with WQ-01 to WQ-07 kept."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.runtime import start_thread
from kcpctl.testing import FakeClock, eventually
from kcpctl.workqueue import (
    DelayingQueue,
    Fair,
    Priority,
    RateLimitingQueue,
    ShutDown,
    WorkQueue,
)
from kcpctl.workqueue.keys import cluster_of_key


def fair(**options: int | None) -> WorkQueue[str]:
    return WorkQueue("test", ordering=Fair(max_per_cluster=options.get("most")))


def ready(queue: WorkQueue[str]) -> list[str]:
    keys = []
    while len(queue):
        keys.append(queue.get(0))
        queue.done(keys[-1])
    return keys


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_below_one_is_refused_by_name(weight: int) -> None:
    with pytest.raises(ValueError, match="'root:a' must be 1 or more"):
        Fair(weights={"root:a": weight})


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_per_cluster"):
        Fair(max_per_cluster=0)


def test_clusters_take_turns_and_a_cluster_is_first_come_first_served() -> None:
    queue = fair()
    for key in ["a|1", "a|2", "a|3", "b|1", "c|1", "b|2"]:
        queue.add(key)
    assert ready(queue) == ["a|1", "b|1", "c|1", "a|2", "b|2", "a|3"]


def test_a_quiet_clusters_key_comes_within_one_round_behind_50_000_of_another() -> None:
    """Pitfall 1."""
    queue = fair()
    for number in range(50_000):
        queue.add(f"noisy|{number}")
    queue.get(0)
    queue.add("quiet|1")
    assert "quiet|1" in {queue.get(0), queue.get(0)}


def test_keys_without_a_cluster_are_one_cluster() -> None:
    queue = fair()
    for key in ["x", "ns/y", "a|1"]:
        queue.add(key)
    assert ready(queue) == ["x", "a|1", "ns/y"]


def test_a_turn_is_as_long_as_the_weight() -> None:
    queue: WorkQueue[str] = WorkQueue(ordering=Fair(weights={"a": 3}))
    for number in range(6):
        queue.add(f"a|{number}")
        queue.add(f"b|{number}")
    assert [key[0] for key in ready(queue)] == list("aaabaaabbbbb")


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 7), min_size=2), st.integers(0, 40))
def test_with_a_backlog_everywhere_the_shares_are_the_weights(
    weights: dict[str, int], extra: int
) -> None:
    ordering = Fair(weights=weights)
    for name in weights:
        for number in range(300):
            ordering.push(f"{name}|{number}", 0)
    whole_round = sum(weights.values())
    rounds = 3
    served = Counter(ordering.pop()[0] for _ in range(rounds * whole_round))
    assert served == {name: rounds * weight for name, weight in weights.items()}
    more = Counter(ordering.pop()[0] for _ in range(extra))
    for name, weight in weights.items():
        assert more[name] <= weight * (extra // whole_round + 1), "never a turn more than due"


def test_the_limit_holds_keys_back_until_a_worker_is_done() -> None:
    queue = fair(most=2)
    for key in ["a|1", "a|2", "a|3", "b|1"]:
        queue.add(key)
    assert [queue.get(0) for _ in range(3)] == ["a|1", "b|1", "a|2"]
    assert len(queue) == 1, "it is queued all the same"
    with pytest.raises(TimeoutError):
        queue.get(0)
    queue.done("b|1")
    with pytest.raises(TimeoutError):
        queue.get(0)
    queue.done("a|1")
    assert queue.get(0) == "a|3"


def test_the_limit_counts_keys_that_come_and_go_one_by_one() -> None:
    """A cluster that never has two keys queued has its workers counted all the same."""
    queue = fair(most=2)
    for number in [1, 2]:
        queue.add(f"a|{number}")
        queue.get(0)
    for number in [3, 4, 5]:
        queue.add(f"a|{number}")
        with pytest.raises(TimeoutError):
            queue.get(0)
        queue.done(f"a|{number - 2}")
        assert queue.get(0) == f"a|{number}"


def test_done_wakes_a_worker_for_a_key_that_was_held_back() -> None:
    queue = fair(most=1)
    queue.add("a|1")
    queue.add("a|2")
    queue.get(0)
    got: list[str] = []
    waiting = start_thread(lambda: got.append(queue.get()), name="getter", daemon=True)
    eventually(lambda: queue._sleepers == 1, poll_seconds=0.002)
    queue.done("a|1")
    waiting.join(30)
    assert got == ["a|2"]


def test_a_limit_counts_the_keys_that_came_before_it_was_set() -> None:
    ordering = Fair()
    queue: WorkQueue[str] = WorkQueue(ordering=ordering)
    queue.add("a|1")
    queue.arrange(lambda: ordering.limit(1))
    assert queue.get(0) == "a|1"
    queue.add("a|2")
    with pytest.raises(TimeoutError):
        queue.get(0)


def test_a_key_that_was_handed_out_before_there_was_a_limit_is_given_back_all_the_same() -> None:
    ordering = Fair()
    queue: WorkQueue[str] = WorkQueue(ordering=ordering)
    queue.add("a|1")
    queue.get(0)
    queue.arrange(lambda: ordering.limit(1))
    queue.add("a|1")
    queue.done("a|1")
    for number in [1, 2]:
        queue.add(f"b|{number}")
    assert [queue.get(0), queue.get(0)] == ["a|1", "b|1"]
    with pytest.raises(TimeoutError):
        queue.get(0)


def test_a_key_that_comes_back_waits_for_its_clusters_turn() -> None:
    """WQ-06: at the tail, and the worker's place was free before it was queued."""
    queue = fair(most=1)
    queue.add("a|1")
    queue.get(0)
    queue.add("a|1")
    queue.add("b|1")
    queue.done("a|1")
    assert ready(queue) == ["b|1", "a|1"]


def test_a_limit_does_not_cost_a_cluster_the_rest_of_its_turn() -> None:
    queue: WorkQueue[str] = WorkQueue(ordering=Fair(weights={"a": 3}, max_per_cluster=1))
    for number in range(6):
        queue.add(f"a|{number}")
        queue.add(f"b|{number}")
    assert [key[0] for key in ready(queue)] == list("aaabaaabbbbb")


def test_the_priority_of_one_cluster_is_nothing_to_another() -> None:
    queue = fair()
    queue.add("a|1", -100)
    queue.add("b|1", 5)
    queue.add("a|2", 0)
    queue.add("b|2", 9)
    queue.add("a|3", -100)
    queue.add("a|3", 0)
    assert ready(queue) == ["a|2", "b|2", "a|3", "b|1", "a|1"]


def test_a_cluster_whose_keys_all_have_one_priority_keeps_their_order() -> None:
    queue = fair()
    for key in ["a|1", "a|2", "a|3"]:
        queue.add(key, -100)
    queue.add("a|2", -100)
    assert ready(queue) == ["a|1", "a|2", "a|3"]


def test_shutdown_ends_the_workers_that_wait_for_a_key_that_is_held_back() -> None:
    """WQ-09, WQ-10: the held back key is still handed out, to one of them."""
    queue = fair(most=1)
    queue.add("a|1")
    queue.add("a|2")
    queue.get(0)
    ended: list[str] = []

    def work() -> None:
        try:
            while True:
                queue.done(queue.get())
        except ShutDown:
            ended.append("shut down")

    threads = [start_thread(work, name=f"worker-{n}", daemon=True) for n in range(3)]
    eventually(lambda: queue._sleepers == 3, poll_seconds=0.002)
    queue.shut_down()
    eventually(lambda: queue._sleepers == 3, poll_seconds=0.002)
    assert ended == []
    queue.done("a|1")
    for thread in threads:
        thread.join(30)
    assert ended == ["shut down"] * 3


def test_a_drain_waits_for_keys_that_are_held_back() -> None:
    """WQ-11 mended."""
    queue = fair(most=1)
    queue.add("a|1")
    queue.add("a|2")
    queue.get(0)
    queue.done("a|1")
    assert not queue.shut_down_with_drain(0)
    assert ready(queue) == ["a|2"]
    assert queue.shut_down_with_drain(0)


@pytest.mark.parametrize("most", [None, 1, 3])
def test_a_cluster_without_keys_leaves_nothing_behind(most: int | None) -> None:
    ordering = Fair(max_per_cluster=most)
    queue: WorkQueue[str] = WorkQueue(ordering=ordering)
    for number in range(100):
        queue.add(f"{number}|1")
        queue.add(f"{number}|2", 5)
        queue.add(f"x{number}|3")
        queue.remove_cluster(f"x{number}")
    ready(queue)
    assert not ordering._round
    assert not ordering._clusters
    assert not ordering._running
    assert not ordering._uncounted


def test_a_removed_cluster_takes_its_queued_and_waiting_keys_and_its_failures_along() -> None:
    """RL-17: only its own, and what is processed ends without another run."""
    clock = FakeClock()
    queue: RateLimitingQueue[str] = RateLimitingQueue(clock=clock, ordering=Fair(max_per_cluster=2))
    queue.add("gone|running")
    queue.get(0)
    for name in ["gone", "other"]:
        queue.add(f"{name}|queued")
        queue.add(f"{name}|running")
        queue.add_after(f"{name}|waiting", 5)
        queue.add_rate_limited(f"{name}|failed")
    queue.remove_cluster("gone")
    queue.done("gone|running")
    clock.step(100)
    assert sorted(ready(queue)) == [
        "other|failed",
        "other|queued",
        "other|running",
        "other|waiting",
    ]
    assert queue.num_requeues("gone|failed") == 0
    assert queue.num_requeues("other|failed") == 1


def test_to_remove_a_cluster_nobody_looks_at_the_keys_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The queue's lock is held meanwhile, and a shard that goes takes thousands of clusters."""
    queue: RateLimitingQueue[str] = RateLimitingQueue(clock=FakeClock(), ordering=Fair())
    for number in range(1000):
        queue.add(f"c{number}|queued")
        queue.add_after(f"c{number}|waiting", 60)
        queue.add_rate_limited(f"c{number}|failed")
    looked_at: list[object] = []

    def note(key: object) -> str:
        looked_at.append(key)
        return cluster_of_key(str(key))

    monkeypatch.setattr("kcpctl.workqueue.keys.cluster_of_key", note)
    monkeypatch.setattr("kcpctl.workqueue.queue.cluster_of_key", note)
    queue.get(0)
    queue.remove_cluster("c7")
    assert looked_at == ["c0|queued"], "what is being processed, at most"
    assert set(queue.snapshot().by_cluster()) == {f"c{n}" for n in range(1000) if n != 7}


@pytest.mark.parametrize("most", [None, 1])
def test_a_removed_cluster_may_come_back_and_has_one_turn_in_a_round(most: int | None) -> None:
    """However it stood in the round: by its single key, by several, or with priorities."""
    queue = fair(most=most)
    for keys in [["a|1"], ["a|1", "a|2"], ["a|1", "a|2", "a|3"]]:
        for key in keys:
            queue.add(key, 5 * (key == "a|3"))
        queue.add("b|1")
        queue.remove_cluster("a")
        queue.remove_cluster("a")
        queue.add("b|2")
        queue.add("a|8")
        queue.add("a|9")
        assert ready(queue) == ["b|1", "a|8", "b|2", "a|9"]


def test_the_only_key_there_is_goes_with_its_cluster() -> None:
    queue = fair()
    queue.add("a|1")
    queue.remove_cluster("b")
    assert ready(queue) == ["a|1"]
    queue.add("a|1")
    queue.remove_cluster("a")
    assert ready(queue) == []


def test_a_single_key_that_is_raised_goes_before_its_clusters_next_ones() -> None:
    """A cluster with a single key has no record, until somebody ranks it."""
    queue = fair()
    queue.add("a|1")
    queue.add("a|1", -5)
    queue.add("a|1", 5)
    queue.add("a|2", 3)
    queue.add("a|3", 9)
    assert ready(queue) == ["a|3", "a|1", "a|2"]


def test_a_drain_ends_when_the_cluster_it_waits_for_is_removed() -> None:
    queue = fair()
    queue.add("gone|1")
    assert not queue.shut_down_with_drain(0)
    queue.remove_cluster("gone")
    assert queue.shut_down_with_drain(0)


def test_the_snapshot_can_be_looked_at_by_cluster() -> None:
    clock = FakeClock()
    queue: DelayingQueue[str] = DelayingQueue(clock=clock, ordering=Fair())
    queue.add("a|1")
    queue.get(0)
    queue.add("b|1")
    queue.add_after("a|2", 5)
    clock.step(2)
    found = queue.snapshot().by_cluster()
    assert set(found) == {"a", "b"}
    assert (found["a"].processing, found["a"].waiting) == ({"a|1": 2}, {"a|2": 3})
    assert (found["a"].queued, found["b"].queued) == ({}, {"b|1": 2})


def test_a_turn_that_ended_for_want_of_keys_is_over() -> None:
    ordering = Fair(weights={"a": 3})
    ordering.push("a|1", 0)
    ordering.pop()
    for key in ["b|1", "b|2", "c|1"]:
        ordering.push(key, 0)
    assert [ordering.pop() for _ in range(3)] == ["b|1", "c|1", "b|2"]


def test_a_key_that_comes_while_its_cluster_has_all_its_workers_is_held_back() -> None:
    queue = fair(most=1)
    queue.add("a|1")
    queue.get(0)
    queue.add("a|2")
    with pytest.raises(TimeoutError):
        queue.get(0)


def test_a_key_of_a_removed_cluster_that_comes_again_has_no_priority_left() -> None:
    queue: DelayingQueue[str] = DelayingQueue(ordering=Priority())
    queue.add("a|1", 5)
    queue.remove_cluster("a")
    queue.add("a|1")
    queue.get(0)
    queue.add_after("a|1", 0)
    queue.done("a|1")
    queue.add("b|1", 3)
    assert ready(queue) == ["b|1", "a|1"]


def test_after_shutdown_removing_a_cluster_ends_whoever_waits_for_its_keys() -> None:
    """WQ-10, WQ-11: a worker that sleeps until a place is free, and a drain."""
    queue = fair(most=1)
    queue.add("a|1")
    queue.add("a|2")
    queue.get(0)
    ended: list[str] = []

    def work() -> None:
        with pytest.raises(ShutDown):
            queue.get()
        ended.append("worker")

    worker = start_thread(work, name="worker", daemon=True)
    eventually(lambda: queue._sleepers == 1, poll_seconds=0.002)
    queue.shut_down()
    queue.remove_cluster("a")
    worker.join(30)
    assert ended == ["worker"]


def test_a_blocked_drain_ends_when_its_last_keys_are_removed() -> None:
    """WQ-11."""
    queue = fair()
    queue.add("a|1")
    drained: list[bool] = []
    drainer = start_thread(
        lambda: drained.append(queue.shut_down_with_drain(10)), name="drain", daemon=True
    )
    eventually(lambda: queue.shutting_down, poll_seconds=0.002)
    queue.remove_cluster("a")
    drainer.join(30)
    assert drained == [True]


def test_a_limit_that_is_set_later_counts_for_keys_that_are_queued_already() -> None:
    """A controller learns from the informers that it watches that there are many clusters."""
    ordering = Fair()
    queue: WorkQueue[str] = WorkQueue(ordering=ordering)
    for key in ("a|1", "b|1", "b|2", "c|1"):
        queue.add(key)
    queue.arrange(lambda: ordering.limit(1))
    for key in ("a|2", "c|2"):
        queue.add(key)
    taken = [queue.get(0) for _ in range(3)]
    assert sorted(taken) == ["a|1", "b|1", "c|1"]
    with pytest.raises(TimeoutError):
        queue.get(0)
    queue.done("c|1")
    assert queue.get(0) == "c|2"
    for key in ("a|1", "b|1", "c|2"):
        queue.done(key)
    assert ready(queue) == ["a|2", "b|2"]


@given(st.lists(st.sampled_from(["a|1", "a|2", "a|3", "b|1", "c|1"])), st.integers(1, 3))
def test_a_limit_that_is_set_later_is_as_one_from_the_start(keys: list[str], most: int) -> None:
    late, ordering = Fair(), Fair(max_per_cluster=most)
    queues: list[WorkQueue[str]] = [WorkQueue(ordering=late), WorkQueue(ordering=ordering)]
    for queue in queues:
        for key in keys:
            queue.add(key)
    queues[0].arrange(lambda: late.limit(most))
    assert ready(queues[0]) == ready(queues[1])
