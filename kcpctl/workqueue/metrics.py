"""The queue's metrics, under the names that existing dashboards know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
    """The metrics of one queue, labelled with its name. Safe from any thread.

    The gauges are asked at scrape time, so no task refreshes them (WM-05, WM-06) and none can be
    left behind (WQ-15). A queue drops its gauges when it was shut down and its last key is done
    (WM-07); the counters stay. Names must be unique within one registry.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.name = name
        self._metrics = metrics
        self._bound = False
        self.adds = metrics.counter(
            "workqueue_adds_total", "Keys added, duplicates left out", _LABELS
        ).labels(name)
        self.retries = metrics.counter(
            "workqueue_retries_total", "Keys added with a delay", _LABELS
        ).labels(name)
        self.queue_seconds = metrics.histogram(
            "workqueue_queue_duration_seconds",
            "Time from the first add of a key until it is handed out",
            _LABELS,
            buckets=_BUCKETS_SECONDS,
        ).labels(name)
        self.work_seconds = metrics.histogram(
            "workqueue_work_duration_seconds",
            "Time from handing a key out until it is done",
            _LABELS,
            buckets=_BUCKETS_SECONDS,
        ).labels(name)

    def bind(
        self,
        *,
        depth: Callable[[], float],
        delayed: Callable[[], float],
        unfinished_seconds: Callable[[], float],
        longest_seconds: Callable[[], float],
    ) -> None:
        """Ask the queue for these whenever the metrics are rendered."""
        asked = (depth, delayed, unfinished_seconds, longest_seconds)
        for (metric, help_text), ask in zip(_GAUGES.items(), asked, strict=True):
            self._metrics.gauge(metric, help_text, _LABELS).labels(self.name).set_function(ask)
        self._bound = True

    def unbind(self) -> None:
        """Remove the gauges, and with them the references to the queue. May be called twice."""
        if self._bound:
            self._bound = False
            for metric, help_text in _GAUGES.items():
                self._metrics.gauge(metric, help_text, _LABELS).remove(self.name)
