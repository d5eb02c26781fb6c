"""The controller's metrics: summed over workers, and over controllers of one name in a row."""

from __future__ import annotations

import pytest

from kcpctl.controller.metrics import ControllerMetrics
from kcpctl.runtime import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"controller": "things", **labels})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_every_series_is_there_before_anything_happened(metrics: Metrics) -> None:
    """One that is missing until the first error hides that error from rate()."""
    ControllerMetrics(metrics, "things", workers=2)
    for name in ("errors", "panics", "timeouts"):
        assert value(metrics, f"controller_runtime_reconcile_{name}_total") == 0
    assert value(metrics, "controller_runtime_terminal_reconcile_errors_total") == 0
    assert value(metrics, "controller_stale_sync_skips_total") == 0
    for result in ("success", "error", "requeue", "requeue_after"):
        assert value(metrics, "controller_runtime_reconcile_total", result=result) == 0
    assert value(metrics, "controller_runtime_max_concurrent_reconciles") == 2


def test_workers_are_added_up(metrics: Metrics) -> None:
    controller = ControllerMetrics(metrics, "things", workers=2)
    one, other = controller.worker(), controller.worker()
    one.ended("success", 0.004)
    other.ended("success", 0.3)
    other.ended("error", 70)
    one.active = other.active = 1
    one.stale_skips += 3
    other.panics += 1
    assert value(metrics, "controller_runtime_reconcile_total", result="success") == 2
    assert value(metrics, "controller_runtime_reconcile_total", result="error") == 1
    assert value(metrics, "controller_runtime_active_workers") == 2
    assert value(metrics, "controller_stale_sync_skips_total") == 3
    assert value(metrics, "controller_runtime_reconcile_panics_total") == 1
    seconds = "controller_runtime_reconcile_time_seconds"
    assert value(metrics, f"{seconds}_count") == 3
    assert value(metrics, f"{seconds}_sum") == pytest.approx(70.304)
    buckets = [
        value(metrics, f"{seconds}_bucket", le=le) for le in ("0.005", "0.25", "0.3", "60.0")
    ]
    assert buckets == [1, 1, 2, 2]
    assert value(metrics, f"{seconds}_bucket", le="+Inf") == 3


def test_a_later_controller_of_the_name_goes_on_with_the_counts(metrics: Metrics) -> None:
    """As the syncer's, which has new ones whenever its SyncTarget comes back."""
    before = ControllerMetrics(metrics, "things", workers=2).worker()
    before.ended("success", 0.3)
    before.errors = 4
    before.active = 1
    after = ControllerMetrics(metrics, "things", workers=3)
    after.worker().ended("success", 0.3)
    ControllerMetrics(metrics, "others", workers=1)
    assert value(metrics, "controller_runtime_reconcile_total", result="success") == 2
    assert value(metrics, "controller_runtime_reconcile_errors_total") == 4
    assert value(metrics, "controller_runtime_reconcile_time_seconds_count") == 2
    assert value(metrics, "controller_runtime_active_workers") == 0
    assert value(metrics, "controller_runtime_max_concurrent_reconciles") == 3
