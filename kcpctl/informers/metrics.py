"""What informers measure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Final

from kcpctl.runtime import Metrics

__all__ = ["InformerMetrics"]

_LABELS: Final = ("name", "resource", "scope")
_GAUGES: Final = {
    "informer_synced": "1 when the first full state was received, stored and handed on",
    "informer_objects": "Objects in the store",
    "informer_streams_state": "1 when the last full state came as a stream, 0 when as a list",
    "informer_seconds_since_last_event": "Time since the server last showed a sign of life",
    "informer_resource_version": "The last 15 digits of the version that the store has reached",
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
_PENDING_HELP: Final = "Objects with changes that a buffered handler has not heard of yet"


class InformerMetrics:
    """The metrics of one informer; with no registry it does nothing. Safe from any thread.

    ``name`` tells factories apart, ``scope`` informers of the same resource. Gauges are asked at
    scrape time and are removed when the informer ends; counters stay.
    """

    def __init__(self, metrics: Metrics | None, name: str, resource: str, scope: str) -> None:
        self._metrics = metrics
        self._labels = (name, resource, scope)
        self._bound = False

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
        if self._metrics is None:
            return
        asked = (
            synced,
            objects,
            streams_state,
            silence_seconds,
            lambda: _measurable(resource_version()),
        )
        for (name, help_text), ask in zip(_GAUGES.items(), asked, strict=True):
            self._metrics.gauge(name, help_text, _LABELS).labels(*self._labels).set_function(ask)
        self._bound = True

    def unbind(self) -> None:
        """Remove the gauges. May be called twice."""
        if self._metrics is not None and self._bound:
            self._bound = False
            for name, help_text in _GAUGES.items():
                self._metrics.gauge(name, help_text, _LABELS).remove(*self._labels)

    def bind_pending(self, handler: str, ask: Callable[[], float]) -> None:
        """Ask for what the buffers of the handlers of that name hold."""
        if self._metrics is not None:
            gauge = self._metrics.gauge(_PENDING, _PENDING_HELP, (*_LABELS, "handler"))
            gauge.labels(*self._labels, handler).set_function(ask)

    def unbind_pending(self, handler: str) -> None:
        """Remove that gauge. May be called twice."""
        if self._metrics is not None:
            gauge = self._metrics.gauge(_PENDING, _PENDING_HELP, (*_LABELS, "handler"))
            with contextlib.suppress(KeyError):
                gauge.remove(*self._labels, handler)

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
