"""The queue's metrics, under the names that existing dashboards know."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kcpctl.runtime import Metrics, ShortLock

__all__ = ["QueueMetrics"]

# Decades from 1 us to 1000 s, as Kubernetes components have them.
_BUCKETS_SECONDS: Final = tuple(10.0**exponent for exponent in range(-6, 4))
# After so many keys the logs of durations are counted: sorting more at once costs more for each.
FOLDED_AT: Final = 256
_LABELS: Final = ("name",)

_GAUGES: Final = {
    "workqueue_depth": "Keys that wait to be handed out, or will after their current run",
    "workqueue_delayed": "Keys that wait for their time (a back-off or a planned run)",
    "workqueue_unfinished_work_seconds": "Sum of the ages of all keys being processed",
    "workqueue_longest_running_processor_seconds": "Age of the oldest key being processed",
}


class _Durations:
    """A histogram that is filled with ``log.append`` and counts only when ``fold`` is called.

    To sort a few hundred numbers and look for the bounds among them costs a third of looking for
    each number among the bounds.
    """

    def __init__(self) -> None:
        self.log: list[float] = []
        # How many were not longer than each bound, and the last one: how many at all.
        self.counts = [0] * (len(_BUCKETS_SECONDS) + 1)
        self.seconds = 0.0

    def fold(self) -> None:
        self.log.sort()
        for index, bound in enumerate(_BUCKETS_SECONDS):
            self.counts[index] += bisect_right(self.log, bound)
        self.counts[-1] += len(self.log)
        self.seconds += sum(self.log)
        self.log.clear()


class QueueMetrics:
    """The metrics of one queue, labelled with its name.

    Plain numbers that the queue changes under its own lock: prometheus-client's counters and
    histograms have locks of their own, which cost twice what the queue does. They are read, and
    the gauges asked, at scrape time; so no task refreshes them (WM-05, WM-06) and none can be left
    behind (WQ-15). A queue drops its gauges when it was shut down and its last key is done (WM-07);
    the counters stay, and a later queue of that name goes on with them. Names must be unique among
    the queues of one registry that run.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.name = name
        self.adds = 0
        self.retries = 0
        self.waits = _Durations()
        self.works = _Durations()
        self._lock = ShortLock()
        self._gauges: Callable[[], tuple[float, ...]] = tuple
        metrics.collector(_Queues).take_in(self)

    def fold(self) -> None:
        """Count what the logs hold; under the queue's lock."""
        self.waits.fold()
        self.works.fold()

    def bind(self, lock: ShortLock, gauges: Callable[[], tuple[float, ...]]) -> None:
        """Read everything under the queue's lock from now on, and ask it for the gauges."""
        self._lock = lock
        self._gauges = gauges

    def unbind(self) -> None:
        """Remove the gauges, and with them the references to the queue. May be called twice."""
        self._gauges = tuple

    def go_on_from(self, other: QueueMetrics) -> None:
        """Take over the counts of an earlier queue of the same name: counters never go back."""
        (adds, retries), _, durations = other.read()
        self.adds, self.retries = int(adds), int(retries)
        for mine, (counts, seconds) in zip((self.waits, self.works), durations, strict=True):
            mine.counts, mine.seconds = counts, seconds

    def read(self) -> tuple[list[float], tuple[float, ...], list[tuple[list[int], float]]]:
        """Return the counters, the gauges (none when unbound) and the histograms."""
        with self._lock:
            self.fold()
            return (
                [self.adds, self.retries],
                self._gauges(),
                [(list(each.counts), each.seconds) for each in (self.waits, self.works)],
            )


class _Queues(Collector):
    """Renders the queues of one registry."""

    def __init__(self) -> None:
        self._queues: dict[str, QueueMetrics] = {}

    def take_in(self, queue: QueueMetrics) -> None:
        earlier = self._queues.get(queue.name)
        if earlier is not None:
            queue.go_on_from(earlier)
        self._queues[queue.name] = queue

    def collect(self) -> Iterator[Metric]:
        counters = [
            CounterMetricFamily(
                "workqueue_adds_total", "Keys added, duplicates left out", labels=_LABELS
            ),
            CounterMetricFamily(
                "workqueue_retries_total", "Keys added with a delay", labels=_LABELS
            ),
        ]
        gauges = [
            GaugeMetricFamily(name, help_text, labels=_LABELS)
            for name, help_text in _GAUGES.items()
        ]
        histograms = [
            HistogramMetricFamily(
                "workqueue_queue_duration_seconds",
                "Time from the first add of a key until it is handed out",
                labels=_LABELS,
            ),
            HistogramMetricFamily(
                "workqueue_work_duration_seconds",
                "Time from handing a key out until it is done",
                labels=_LABELS,
            ),
        ]
        for name, queue in list(self._queues.items()):
            totals, values, durations = queue.read()
            for counter, count in zip(counters, totals, strict=True):
                counter.add_metric([name], count)
            for gauge, value in zip(gauges, values, strict=False):
                gauge.add_metric([name], value)
            for histogram, (counts, seconds) in zip(histograms, durations, strict=True):
                histogram.add_metric([name], _with_bounds(counts), seconds)
        yield from counters
        yield from gauges
        yield from histograms


def _with_bounds(counts: list[int]) -> list[tuple[str, float]]:
    """Return (upper bound, keys up to it) as the text format wants it."""
    return list(zip([*map(str, _BUCKETS_SECONDS), "+Inf"], map(float, counts), strict=True))
