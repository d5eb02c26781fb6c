"""The queue's metrics: WM of the client-go behaviours."""

from __future__ import annotations

import gc
import weakref

import pytest

from kcpctl.runtime import Metrics, start_thread
from kcpctl.testing import FakeClock
from kcpctl.workqueue import Fair, Priority, QueueMetrics, RateLimitingQueue
from kcpctl.workqueue.metrics import FOLDED_AT


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def queue(clock: FakeClock, metrics: Metrics) -> RateLimitingQueue[str]:
    return RateLimitingQueue("test", clock=clock, metrics=QueueMetrics(metrics, "test"))


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"name": "test"})


def test_depth_counts_what_still_has_to_run(
    queue: RateLimitingQueue[str], metrics: Metrics
) -> None:
    """WM-01."""
    queue.add("a")
    queue.add("b")
    assert value(metrics, "workqueue_depth") == 2
    queue.get(0)
    assert value(metrics, "workqueue_depth") == 1
    queue.add("a")
    assert value(metrics, "workqueue_depth") == 2


def test_adds_counts_effective_adds(queue: RateLimitingQueue[str], metrics: Metrics) -> None:
    """WM-02."""
    queue.add("a")
    queue.get(0)
    for _ in range(5):
        queue.add("a")
    assert value(metrics, "workqueue_adds_total") == 2


def test_queue_duration_runs_from_the_first_add(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """WM-03."""
    queue.add("a")
    clock.step(2)
    queue.add("a")
    clock.step(3)
    queue.get(0)
    assert value(metrics, "workqueue_queue_duration_seconds_sum") == 5
    assert value(metrics, "workqueue_queue_duration_seconds_count") == 1


class TickingClock(FakeClock):
    """A clock that goes on whenever somebody looks at it."""

    def monotonic(self) -> float:
        self.step(0.001)
        return super().monotonic()


def test_no_key_waits_for_less_than_no_time(metrics: Metrics) -> None:
    """WM-03: a key that falls due when a worker comes for it was not added later than that."""
    clock = TickingClock()
    queue: RateLimitingQueue[str] = RateLimitingQueue(
        "test", clock=clock, metrics=QueueMetrics(metrics, "test")
    )
    queue.add_after("a", 1)
    clock.step(1)
    queue.get(0)
    assert value(metrics, "workqueue_queue_duration_seconds_sum") == 0


def test_work_duration_runs_until_done(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """WM-04."""
    queue.add("a")
    queue.get(0)
    clock.step(4)
    queue.done("a")
    assert value(metrics, "workqueue_work_duration_seconds_sum") == 4


def test_ages_of_running_keys_are_taken_when_asked(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """WM-05, WM-06."""
    assert value(metrics, "workqueue_longest_running_processor_seconds") == 0
    queue.add("a")
    queue.get(0)
    clock.step(4)
    queue.add("b")
    queue.get(0)
    clock.step(1)
    assert value(metrics, "workqueue_unfinished_work_seconds") == 6
    assert value(metrics, "workqueue_longest_running_processor_seconds") == 5


def test_retries_counts_every_add_after(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """WM-08."""
    queue.add_after("a", 0)
    queue.add_after("b", 1)
    queue.add_rate_limited("c")
    assert value(metrics, "workqueue_retries_total") == 3
    queue.shut_down()
    queue.add_after("d", 0)
    assert value(metrics, "workqueue_retries_total") == 3


def test_delayed_keys_are_counted(queue: RateLimitingQueue[str], metrics: Metrics) -> None:
    """WM-10 fixed."""
    queue.add_after("a", 1)
    queue.add_after("b", 1)
    assert value(metrics, "workqueue_delayed") == 2
    assert value(metrics, "workqueue_depth") == 0


def test_gauges_end_when_the_last_key_is_done_after_shutdown(
    queue: RateLimitingQueue[str], metrics: Metrics
) -> None:
    """WM-07, WQ-15."""
    queue.add("a")
    queue.shut_down()
    assert value(metrics, "workqueue_depth") == 1
    queue.get(0)
    assert value(metrics, "workqueue_unfinished_work_seconds") is not None
    queue.done("a")
    assert value(metrics, "workqueue_unfinished_work_seconds") is None
    assert value(metrics, "workqueue_depth") is None
    assert value(metrics, "workqueue_adds_total") == 1


def test_metrics_do_not_keep_a_queue_that_was_shut_down_alive(metrics: Metrics) -> None:
    """WQ-15."""
    queue: RateLimitingQueue[str] | None = RateLimitingQueue(
        "test", metrics=QueueMetrics(metrics, "test")
    )
    assert queue is not None
    gone = weakref.ref(queue)
    queue.shut_down()
    queue.shut_down()
    queue = None
    gc.collect()
    assert gone() is None


def test_a_queue_that_ended_leaves_the_gauges_of_its_successor_alone(metrics: Metrics) -> None:
    ended: RateLimitingQueue[str] = RateLimitingQueue("test", metrics=QueueMetrics(metrics, "test"))
    ended.shut_down()
    successor: RateLimitingQueue[str] = RateLimitingQueue(
        "test", metrics=QueueMetrics(metrics, "test")
    )
    successor.add("a")
    ended.shut_down()
    assert value(metrics, "workqueue_depth") == 1


def test_a_queue_without_metrics_measures_nothing(metrics: Metrics) -> None:
    """WQ-21."""
    queue: RateLimitingQueue[str] = RateLimitingQueue("test")
    queue.add("a")
    queue.done(queue.get(0))
    assert b"workqueue" not in metrics.render()


def test_two_queues_of_one_registry_differ_by_name(metrics: Metrics) -> None:
    for name in ["one", "two"]:
        queue: RateLimitingQueue[str] = RateLimitingQueue(name, metrics=QueueMetrics(metrics, name))
        queue.add(name)
    for name in ["one", "two"]:
        assert metrics.registry.get_sample_value("workqueue_depth", {"name": name}) in {0, 1}
        assert metrics.registry.get_sample_value("workqueue_adds_total", {"name": name}) == 1


def test_each_queue_measures_where_it_was_told_to() -> None:
    """WM-09: there is no provider of the whole process, which the first one to come would set."""
    one, other = Metrics(), Metrics()
    for metrics, keys in [(one, ["a"]), (other, ["a", "b"])]:
        queue: RateLimitingQueue[str] = RateLimitingQueue(metrics=QueueMetrics(metrics, "test"))
        for key in keys:
            queue.add(key)
    assert (value(one, "workqueue_adds_total"), value(other, "workqueue_adds_total")) == (1, 2)


def test_there_is_one_depth_whatever_the_priorities_and_the_clusters(metrics: Metrics) -> None:
    """PQ-14 differs: the number of series does not grow with either."""
    queue: RateLimitingQueue[str] = RateLimitingQueue(
        ordering=Fair(), metrics=QueueMetrics(metrics, "test")
    )
    for number in range(100):
        queue.add(f"cluster-{number}|a", number)
    depths = [line for line in metrics.render().decode().splitlines() if "_depth{" in line]
    assert depths == ['workqueue_depth{name="test"} 100.0']


def test_a_priority_changes_nothing_in_what_counts_as_a_retry(metrics: Metrics) -> None:
    """PQ-15 differs: as WM-08, an add_after without a delay is one too, an add never."""
    queue: RateLimitingQueue[str] = RateLimitingQueue(
        ordering=Priority(), metrics=QueueMetrics(metrics, "test")
    )
    queue.add("a", 5)
    queue.add_after("a", 0, 7)
    queue.add_after("a", 1, 7)
    assert value(metrics, "workqueue_retries_total") == 2


def test_the_histograms_are_cumulative_decades_from_a_microsecond(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """Pitfalls 3.1: the names and buckets that dashboards know."""
    for seconds in [10, 0, 0.5, 0.5, 5000]:  # the first is exactly on a bound, and below it
        queue.add("a")
        clock.step(seconds)
        queue.get(0)
        clock.step(seconds / 10)
        queue.done("a")
    found = {}
    for line in metrics.render().decode().splitlines():
        if line.startswith("workqueue_queue_duration_seconds_bucket"):
            labels, _, count = line.rpartition(" ")
            found[labels.split('le="')[1].split('"')[0]] = float(count)
    assert list(found) == [
        *["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1.0", "10.0", "100.0", "1000.0"],
        "+Inf",
    ]
    assert [found[bound] for bound in ["1e-06", "0.1", "1.0", "10.0", "100.0"]] == [1, 1, 3, 4, 4]
    assert found["+Inf"] == value(metrics, "workqueue_queue_duration_seconds_count") == 5
    assert value(metrics, "workqueue_work_duration_seconds_sum") == pytest.approx(501.1)


def test_nothing_is_lost_when_the_logs_of_durations_are_counted(
    queue: RateLimitingQueue[str], metrics: Metrics, clock: FakeClock
) -> None:
    """More keys than a log holds, some of them still in it when the scrape comes."""
    for number in range(3 * FOLDED_AT + 7):
        queue.add("a")
        clock.step(number % 2)
        queue.get(0)
        queue.done("a")
        assert len(queue._metrics.works.log) < FOLDED_AT  # type: ignore[union-attr]
        assert len(queue._metrics.waits.log) < FOLDED_AT  # type: ignore[union-attr]
    for kind in ["queue", "work"]:
        count = value(metrics, f"workqueue_{kind}_duration_seconds_count")
        assert count == 3 * FOLDED_AT + 7
    assert value(metrics, "workqueue_queue_duration_seconds_sum") == (3 * FOLDED_AT + 6) / 2


def test_a_scrape_waits_until_nobody_is_inside_the_queue(
    queue: RateLimitingQueue[str], metrics: Metrics
) -> None:
    """Or it would count a log that a worker adds to."""
    queue.add("a")
    scraped: list[float | None] = []
    with queue._lock:
        scrape = start_thread(
            lambda: scraped.append(value(metrics, "workqueue_depth")), name="scrape"
        )
        scrape.join(0.01)
        assert scraped == []
    scrape.join(30)
    assert scraped == [1]


def test_a_later_queue_of_the_same_name_goes_on_with_the_counts(
    queue: RateLimitingQueue[str], metrics: Metrics
) -> None:
    queue.add_after("a", 0)
    queue.done(queue.get(0))
    queue.shut_down()
    later: RateLimitingQueue[str] = RateLimitingQueue("test", metrics=QueueMetrics(metrics, "test"))
    later.add_after("a", 0)
    later.done(later.get(0))
    for name in ["adds_total", "retries_total", "work_duration_seconds_count"]:
        assert value(metrics, f"workqueue_{name}") == 2
    assert value(metrics, "workqueue_queue_duration_seconds_count") == 2
