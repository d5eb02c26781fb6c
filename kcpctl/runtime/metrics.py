"""The metrics registry: Prometheus collectors by name, made once and shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

C = TypeVar("C", Counter, Gauge, Histogram)
Own = TypeVar("Own", bound=Collector)


class Metrics:
    """One registry and its collectors.

    Asking twice for the same name gives the same collector, so several queues or controllers of
    one process share a metric and differ by label. There is no label by cluster name: the number
    of series must not grow with the number of workspaces. Safe from any thread.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._collectors: dict[str, Counter | Gauge | Histogram] = {}
        self._own: dict[type[Collector], Collector] = {}

    def _get(self, kind: type[C], name: str, make: Callable[[], C]) -> C:
        found = self._collectors.get(name)
        if found is None:
            found = self._collectors[name] = make()
        if not isinstance(found, kind):
            raise ValueError(f"metric {name} is a {type(found).__name__}, not a {kind.__name__}")
        return found

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter of that name (written with ``_total`` where it has it)."""
        return self._get(
            Counter, name, lambda: Counter(name, help_text, labels, registry=self.registry)
        )

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge of that name."""
        return self._get(
            Gauge, name, lambda: Gauge(name, help_text, labels, registry=self.registry)
        )

    def histogram(
        self, name: str, help_text: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> Histogram:
        """Return the histogram of that name; ``buckets`` are upper bounds in the metric's unit."""
        return self._get(
            Histogram,
            name,
            lambda: Histogram(
                name, help_text, labels, buckets=tuple(buckets), registry=self.registry
            ),
        )

    def collector(self, kind: type[Own]) -> Own:
        """Return the collector of that class, which is asked for its metrics at scrape time."""
        found = self._own.get(kind)
        if found is None:
            found = self._own[kind] = kind()
            self.registry.register(found)
        if not isinstance(found, kind):
            raise TypeError(f"collector of {kind.__name__} is a {type(found).__name__}")
        return found

    def render(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)
