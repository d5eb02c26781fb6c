"""What informers measure."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kcpctl.runtime import Metrics

__all__ = ["InformerMetrics"]

_LABELS: Final = ("name", "resource", "scope")
# With what is told of several informers of the same labels together.
_GAUGES: Final[dict[str, tuple[str, Callable[[Iterable[float]], float]]]] = {
    "informer_synced": ("1 when the first full state was received, stored and handed on", min),
    "informer_objects": ("Objects in the store", sum),
    "informer_streams_state": (
        "1 when the last full state came as a stream, 0 when as a list",
        min,
    ),
    "informer_seconds_since_last_event": ("Time since the server last showed a sign of life", max),
    "informer_resource_version": (
        "The last 15 digits of the version that the store has reached",
        min,
    ),
    "informer_handler_pending": (
        "Objects with changes that a buffered handler has not heard of yet",
        sum,
    ),
}
_COUNTERS: Final = {
    "reflector_lists_total": "Full states that were read, as lists or as streams",
    "reflector_watchlists_total": "Full states that were read as a stream",
    "reflector_watchlist_fallbacks_total": "Streams of a state given up for a list",
    "reflector_watches_total": "Watches that were started",
    "reflector_short_watches_total": "Watches that ended in under a second without an event",
    "informer_skipped_objects_total": "Objects and events that could not be used",
    "informer_store_errors_total": "Events that the store could not take",
    "informer_handler_errors_total": "Exceptions of event handlers",
    "informer_ignore_errors_total": "Exceptions of ignore functions",
    "informer_index_errors_total": "Exceptions of index functions",
}
_RELISTS: Final = "reflector_relists_total"
_EXACT_DIGITS: Final = 15
_PENDING: Final = "informer_handler_pending"

_Ask = Callable[[], float]


class _Gauges(Collector):
    """The gauges of all informers of one registry, asked for at scrape time.

    Informers of the same labels share a series: all of their objects, the oldest sign of life.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock; by gauge and labels.
        self._asked: dict[str, dict[tuple[str, ...], list[_Ask]]] = {name: {} for name in _GAUGES}

    def add(self, name: str, labels: tuple[str, ...], ask: _Ask) -> None:
        with self._lock:
            self._asked[name].setdefault(labels, []).append(ask)

    def remove(self, name: str, labels: tuple[str, ...], ask: _Ask) -> None:
        with self._lock:
            asked = self._asked[name].get(labels, [])
            if ask in asked:
                asked.remove(ask)
            if not asked:
                self._asked[name].pop(labels, None)

    def collect(self) -> Iterator[Metric]:
        for name, (help_text, together) in _GAUGES.items():
            labels = (*_LABELS, "handler") if name == _PENDING else _LABELS
            family = GaugeMetricFamily(name, help_text, labels=labels)
            with self._lock:
                series = [(values, list(asked)) for values, asked in self._asked[name].items()]
            for values, asked in series:
                family.add_metric(values, together(ask() for ask in asked))
            yield family


class InformerMetrics:
    """The metrics of one informer; with no registry it does nothing. Safe from any thread.

    ``name`` tells factories apart, ``scope`` informers of the same resource; informers of the same
    labels share their series (INF-33). Gauges are asked at scrape time and leave with the informer;
    counters stay.
    """

    def __init__(self, metrics: Metrics | None, name: str, resource: str, scope: str) -> None:
        self._metrics = metrics
        self._labels = (name, resource, scope)
        self._gauges = None if metrics is None else metrics.collector(_Gauges)
        self._bound: list[tuple[str, _Ask]] = []

    def bind(
        self,
        *,
        synced: Callable[[], float],
        objects: Callable[[], float],
        streams_state: Callable[[], float],
        silence_seconds: Callable[[], float],
        resource_version: Callable[[], str],
    ) -> None:
        """Ask for these whenever the metrics are rendered."""
        if self._gauges is None:
            return
        self._bound = [
            ("informer_synced", synced),
            ("informer_objects", objects),
            ("informer_streams_state", streams_state),
            ("informer_seconds_since_last_event", silence_seconds),
            ("informer_resource_version", lambda: _measurable(resource_version())),
        ]
        for name, ask in self._bound:
            self._gauges.add(name, self._labels, ask)

    def unbind(self) -> None:
        """Remove the gauges. May be called twice."""
        if self._gauges is not None:
            for name, ask in self._bound:
                self._gauges.remove(name, self._labels, ask)

    def bind_pending(self, handler: str, ask: _Ask) -> None:
        """Ask for what the buffer of a handler of that name holds."""
        if self._gauges is not None:
            self._gauges.add(_PENDING, (*self._labels, handler), ask)

    def unbind_pending(self, handler: str, ask: _Ask) -> None:
        """Remove that gauge. May be called twice."""
        if self._gauges is not None:
            self._gauges.remove(_PENDING, (*self._labels, handler), ask)

    def count(self, name: str) -> None:
        """Add one to a counter of this module."""
        if self._metrics is not None:
            self._metrics.counter(name, _COUNTERS[name], _LABELS).labels(*self._labels).inc()

    def count_relist(self, cause: str) -> None:
        """Note why the next list is needed; the reflector names the causes."""
        if self._metrics is not None:
            counter = self._metrics.counter(
                _RELISTS, "Ends of list and watch cycles, by cause", (*_LABELS, "cause")
            )
            counter.labels(*self._labels, cause).inc()


def _measurable(version: str) -> float:
    """Return a version as a number that a float holds exactly (IDX-12); NaN for other texts."""
    return float(version[-_EXACT_DIGITS:]) if version.isdecimal() else math.nan
