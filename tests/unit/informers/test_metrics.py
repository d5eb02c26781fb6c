"""The metrics of informers: INF-33 of the client-go behaviours."""

from __future__ import annotations

from kcpctl.informers.metrics import InformerMetrics
from kcpctl.runtime import Metrics


def value(metrics: Metrics, metric: str, **labels: str) -> float | None:
    wanted = {"name": "up", "resource": "configmaps", "scope": "", **labels}
    return metrics.registry.get_sample_value(metric, wanted)


def bound(metrics: Metrics, *, name: str = "up", objects: int, synced: bool) -> InformerMetrics:
    made = InformerMetrics(metrics, name, "configmaps", "")
    made.bind(
        synced=lambda: float(synced),
        objects=lambda: objects,
        streams_state=lambda: 1,
        silence_seconds=lambda: float(objects),
        resource_version=lambda: str(objects),
    )
    return made


def test_informers_of_one_name_share_their_series() -> None:
    """INF-33 mended: neither overwrites the other, and each takes only its own part away."""
    metrics = Metrics()
    one = bound(metrics, objects=3, synced=True)
    other = bound(metrics, objects=4, synced=False)
    assert value(metrics, "informer_objects") == 7
    assert value(metrics, "informer_synced") == 0
    assert value(metrics, "informer_seconds_since_last_event") == 4
    assert value(metrics, "informer_resource_version") == 3
    other.unbind()
    other.unbind()
    assert value(metrics, "informer_objects") == 3
    assert value(metrics, "informer_synced") == 1
    one.unbind()
    assert value(metrics, "informer_objects") is None


def test_names_tell_informers_apart() -> None:
    """INF-33."""
    metrics = Metrics()
    bound(metrics, objects=3, synced=True)
    bound(metrics, name="down", objects=4, synced=True)
    assert value(metrics, "informer_objects") == 3
    assert value(metrics, "informer_objects", name="down") == 4


def test_what_waits_is_told_by_handler() -> None:
    """INF-03."""
    metrics = Metrics()
    informer = InformerMetrics(metrics, "up", "configmaps", "")
    asks = [lambda: 1.0, lambda: 2.0, lambda: 4.0]
    for handler, ask in zip(["slow", "slow", "other"], asks, strict=True):
        informer.bind_pending(handler, ask)
    assert value(metrics, "informer_handler_pending", handler="slow") == 3
    informer.unbind_pending("slow", asks[0])
    assert value(metrics, "informer_handler_pending", handler="slow") == 2
    assert value(metrics, "informer_handler_pending", handler="other") == 4


def test_without_a_registry_nothing_is_measured() -> None:
    informer = InformerMetrics(None, "up", "configmaps", "")
    informer.bind_pending("slow", lambda: 1)
    informer.count("informer_handler_errors_total")
    informer.unbind()
