"""The controller's metrics, under controller-runtime's names."""

from __future__ import annotations

from typing import Final, Literal

from kcpctl.runtime import Metrics

__all__ = ["ControllerMetrics", "Outcome"]

Outcome = Literal["success", "error", "requeue", "requeue_after"]

_LABELS: Final = ("controller",)
# controller-runtime's buckets, so that its dashboards fit.
_BUCKETS_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40),
    *(50, 60),
)


class ControllerMetrics:
    """The metrics of one controller, labelled with its name. Safe from any thread."""

    def __init__(self, metrics: Metrics, controller: str, *, workers: int) -> None:
        total = metrics.counter(
            "controller_runtime_reconcile_total",
            "Reconciles by how they ended",
            (*_LABELS, "result"),
        )
        # A series that is missing until the first error hides the error from rate().
        outcomes: tuple[Outcome, ...] = ("success", "error", "requeue", "requeue_after")
        self.outcomes = {outcome: total.labels(controller, outcome) for outcome in outcomes}
        self.errors = metrics.counter(
            "controller_runtime_reconcile_errors_total", "Reconciles that failed", _LABELS
        ).labels(controller)
        self.terminal_errors = metrics.counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciles that failed and wait for a change of the object",
            _LABELS,
        ).labels(controller)
        self.panics = metrics.counter(
            "controller_runtime_reconcile_panics_total",
            "Reconciles that ended with an exception that is a bug",
            _LABELS,
        ).labels(controller)
        self.seconds = metrics.histogram(
            "controller_runtime_reconcile_time_seconds",
            "Duration of a reconcile",
            _LABELS,
            buckets=_BUCKETS_SECONDS,
        ).labels(controller)
        self.active_workers = metrics.gauge(
            "controller_runtime_active_workers", "Workers that reconcile right now", _LABELS
        ).labels(controller)
        metrics.gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers of the controller", _LABELS
        ).labels(controller).set(workers)
