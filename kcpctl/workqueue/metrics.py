"""The queue's metrics, under the names that existing dashboards know."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kcpctl.runtime import Metrics

__all__ = ["QueueMetrics"]

# Decades from 1 us to 1000 s, as Kubernetes components have them.
_BUCKETS_SECONDS: Final = tuple(10.0**exponent for exponent in range(-6, 4))
_LABELS: Final = ("name",)

_GAUGES: Final = {
    "workqueue_depth": "Keys that wait to be handed out, or will after their current run",
    "workqueue_delayed": "Keys that wait for their time (a back-off or a planned run)",
    "workqueue_unfinished_work_seconds": "Sum of the ages of all keys being processed",
    "workqueue_longest_running_processor_seconds": "Age of the oldest key being processed",
}


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
        self._waited = [0] * (len(_BUCKETS_SECONDS) + 1)
        self._worked = [0] * (len(_BUCKETS_SECONDS) + 1)
        self._waited_seconds = 0.0
        self._worked_seconds = 0.0
        self._gauges: tuple[Callable[[], float], ...] = ()
        metrics.collector(_Queues).take_in(self)

    def waited(self, seconds: float) -> None:
        """Note how long a key waited from its first add until it was handed out."""
        self._waited[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
        self._waited_seconds += seconds

    def worked(self, seconds: float) -> None:
        """Note how long a key was processed."""
        self._worked[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
        self._worked_seconds += seconds

    def bind(
        self,
        *,
        depth: Callable[[], float],
        delayed: Callable[[], float],
        unfinished_seconds: Callable[[], float],
        longest_seconds: Callable[[], float],
    ) -> None:
        """Ask the queue for these whenever the metrics are rendered."""
        self._gauges = (depth, delayed, unfinished_seconds, longest_seconds)

    def unbind(self) -> None:
        """Remove the gauges, and with them the references to the queue. May be called twice."""
        self._gauges = ()

    def go_on_from(self, other: QueueMetrics) -> None:
        """Take over the counts of an earlier queue of the same name: counters never go back."""
        self.adds, self.retries = other.adds, other.retries
        self._waited, self._waited_seconds = list(other._waited), other._waited_seconds
        self._worked, self._worked_seconds = list(other._worked), other._worked_seconds

    def read(self) -> tuple[list[float], list[float], list[tuple[list[int], float]]]:
        """Return the counters, the gauges (none when unbound) and the histograms."""
        return (
            [self.adds, self.retries],
            [ask() for ask in self._gauges],
            [
                (list(self._waited), self._waited_seconds),
                (list(self._worked), self._worked_seconds),
            ],
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
            counts, values, durations = queue.read()
            for counter, count in zip(counters, counts, strict=True):
                counter.add_metric([name], count)
            for gauge, value in zip(gauges, values, strict=False):
                gauge.add_metric([name], value)
            for histogram, (buckets, seconds) in zip(histograms, durations, strict=True):
                histogram.add_metric([name], _cumulative(buckets), seconds)
        yield from counters
        yield from gauges
        yield from histograms


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    """Return (upper bound, keys up to it) as the text format wants it."""
    total, found = 0, []
    for bound, count in zip([*map(str, _BUCKETS_SECONDS), "+Inf"], buckets, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
