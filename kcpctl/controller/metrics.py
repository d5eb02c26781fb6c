"""The controller's metrics, under controller-runtime's names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kcpctl.runtime import Metrics

__all__ = ["ControllerMetrics", "Outcome", "WorkerMetrics"]

Outcome = Literal["success", "error", "requeue", "requeue_after"]

_LABELS: Final = ("controller",)
_OUTCOMES: Final[tuple[Outcome, ...]] = ("success", "error", "requeue", "requeue_after")
# controller-runtime's buckets, so that its dashboards fit.
_BUCKETS_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40),
    *(50, 60),
)
# By the attribute of WorkerMetrics that it is the sum of.
_COUNTERS: Final = {
    "errors": ("controller_runtime_reconcile_errors_total", "Reconciles that failed"),
    "terminal_errors": (
        "controller_runtime_terminal_reconcile_errors_total",
        "Reconciles that failed and wait for a change of the object",
    ),
    "panics": (
        "controller_runtime_reconcile_panics_total",
        "Reconciles that ended with an exception that is a bug",
    ),
    "timeouts": (
        "controller_runtime_reconcile_timeouts_total",
        "Reconciles that ran out of time",
    ),
    "stale_skips": (
        "controller_stale_sync_skips_total",
        "Times that a key was held since a cache had not seen its last write",
    ),
}


class WorkerMetrics:
    """What one worker counts: plain numbers that nobody else changes, so that it needs no lock."""

    __slots__ = (
        "active",
        "buckets",
        "errors",
        "outcomes",
        "panics",
        "seconds",
        "stale_skips",
        "terminal_errors",
        "timeouts",
    )

    def __init__(self) -> None:
        self.active = 0
        # A series that is missing until the first error hides the error from rate().
        self.outcomes: dict[Outcome, int] = dict.fromkeys(_OUTCOMES, 0)
        self.errors = 0
        self.terminal_errors = 0
        self.panics = 0
        self.timeouts = 0
        self.stale_skips = 0
        self.buckets = [0] * (len(_BUCKETS_SECONDS) + 1)
        self.seconds = 0.0

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Note how a reconcile ended, and how long it took."""
        self.outcomes[outcome] += 1
        self.buckets[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
        self.seconds += seconds

    def add(self, other: WorkerMetrics) -> None:
        """Add what another worker counted."""
        for outcome in _OUTCOMES:
            self.outcomes[outcome] += other.outcomes[outcome]
        for name in (*_COUNTERS, "active", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.buckets = [sum(pair) for pair in zip(self.buckets, other.buckets, strict=True)]


class ControllerMetrics:
    """The metrics of one controller, labelled with its name; summed up when they are asked for.

    prometheus-client's own counters and histograms take a lock for each observation, which cost a
    third of an empty reconcile. A later controller of the name goes on with the counts, so names
    must be unique among the controllers of one registry that run.
    """

    def __init__(self, metrics: Metrics, controller: str, *, workers: int) -> None:
        self.name = controller
        self.max_workers = workers
        self._workers: tuple[WorkerMetrics, ...] = ()
        metrics.collector(_Controllers).take_in(self)

    def worker(self) -> WorkerMetrics:
        """Return the metrics of one more worker."""
        made = WorkerMetrics()
        self._workers += (made,)
        return made

    def go_on_from(self, other: ControllerMetrics) -> None:
        """Take over the counts of an earlier controller of the same name."""
        before = other.total()
        before.active = 0
        self._workers += (before,)

    def total(self) -> WorkerMetrics:
        """Return what all workers counted."""
        total = WorkerMetrics()
        for worker in self._workers:
            total.add(worker)
        return total


class _Controllers(Collector):
    """Renders the controllers of one registry."""

    def __init__(self) -> None:
        self._controllers: dict[str, ControllerMetrics] = {}

    def take_in(self, controller: ControllerMetrics) -> None:
        earlier = self._controllers.get(controller.name)
        if earlier is not None:
            controller.go_on_from(earlier)
        self._controllers[controller.name] = controller

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "controller_runtime_reconcile_total",
            "Reconciles by how they ended",
            labels=(*_LABELS, "result"),
        )
        counters = {
            attribute: CounterMetricFamily(name, help_text, labels=_LABELS)
            for attribute, (name, help_text) in _COUNTERS.items()
        }
        seconds = HistogramMetricFamily(
            "controller_runtime_reconcile_time_seconds", "Duration of a reconcile", labels=_LABELS
        )
        active = GaugeMetricFamily(
            "controller_runtime_active_workers", "Workers that reconcile right now", labels=_LABELS
        )
        workers = GaugeMetricFamily(
            "controller_runtime_max_concurrent_reconciles",
            "Workers of the controller",
            labels=_LABELS,
        )
        for name, controller in list(self._controllers.items()):
            total = controller.total()
            for outcome, count in total.outcomes.items():
                outcomes.add_metric([name, outcome], count)
            for attribute, counter in counters.items():
                counter.add_metric([name], getattr(total, attribute))
            seconds.add_metric([name], _cumulative(total.buckets), total.seconds)
            active.add_metric([name], total.active)
            workers.add_metric([name], controller.max_workers)
        yield from (outcomes, *counters.values(), seconds, active, workers)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    """Return (upper bound, reconciles up to it) as the text format wants it."""
    total, found = 0, []
    bounds = [*(str(float(bound)) for bound in _BUCKETS_SECONDS), "+Inf"]
    for bound, count in zip(bounds, buckets, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
