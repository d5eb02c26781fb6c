"""What becomes of repeated events: series, combination of look-alikes, the spam filter."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from cachetools import LRUCache

from kcpctl.runtime import Clock

__all__ = ["Correlator", "ObjectReference", "Occurrence", "Series", "SpamFilter"]

_CACHE_SIZE: Final = 4096  # EV-09
# EV-13: the second occurrence is written at once, later ones when the series is refreshed or over.
_REFRESH_SECONDS: Final = 30 * 60.0
_END_SECONDS: Final = 6 * 60.0
# EV-07: from the tenth different message in ten minutes on they are one event.
_SIMILAR_LIMIT: Final = 10
_SIMILAR_WINDOW_SECONDS: Final = 600.0
_COMBINED: Final = "(combined from similar events): "
# EV-08: 25 at once, then one in five minutes.
_SPAM_BURST: Final = 25
_SPAM_SECONDS_PER_TOKEN: Final = 300.0

V = TypeVar("V")


class ObjectReference(NamedTuple):
    """The object that an event is about. ``namespace`` is "" for a cluster-scoped one."""

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""

    @property
    def identity(self) -> Hashable:
        """What stays the same while the object lives."""
        return (self.cluster, self.api_version, self.kind, self.namespace, self.name, self.uid)


class Occurrence(NamedTuple):
    """One call of ``EventRecorder.event``. ``at`` is wall-clock seconds."""

    regarding: ObjectReference
    type: str
    reason: str
    note: str
    action: str
    at: float


@dataclass(slots=True)
class Series:
    """One event object: its first occurrence, how often it came, how often that was written.

    ``name`` is "" until it has been created; ``writing`` while a write is under way.
    """

    first: Occurrence
    seen_at: float
    count: int = 0
    last: float = 0.0
    name: str = ""
    written_count: int = 0
    written_at: float = 0.0
    writing: bool = False

    def due(self, now: float) -> bool:
        """Whether a write should begin now (EV-13)."""
        if self.writing or self.count == self.written_count:
            return False
        return self.written_count < 2 or now - self.written_at >= _REFRESH_SECONDS

    def over(self, now: float) -> bool:
        """Whether it did not repeat for so long that a repeat begins a new series."""
        return now - self.seen_at >= _END_SECONDS


def _cache() -> LRUCache[Hashable, V]:
    """Keeps the entries used last (EV-09)."""
    return LRUCache(maxsize=_CACHE_SIZE)


def _entry(cache: LRUCache[Hashable, V], key: Hashable, make: Callable[[], V]) -> V:
    found = cache.get(key)
    if found is None:
        found = cache[key] = make()
    return found


@dataclass(slots=True)
class _Similar:
    since: float
    notes: set[str] = field(default_factory=set)


class Correlator:
    """Finds the series that an occurrence belongs to. One owner; not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: LRUCache[Hashable, Series] = _cache()
        self._similar: LRUCache[Hashable, _Similar] = _cache()

    def record(self, occurrence: Occurrence) -> Series:
        """Count ``occurrence`` and return its series."""
        now = self._clock.monotonic()
        group = (
            occurrence.regarding.identity,
            occurrence.type,
            occurrence.reason,
            occurrence.action,
        )
        similar = _entry(self._similar, group, lambda: _Similar(now))
        if now - similar.since >= _SIMILAR_WINDOW_SECONDS:
            similar.since, similar.notes = now, set()
        key: Hashable = (group, occurrence.note)
        if occurrence.note in similar.notes or len(similar.notes) < _SIMILAR_LIMIT - 1:
            similar.notes.add(occurrence.note)
        else:
            key = (group, None)
            occurrence = occurrence._replace(note=_COMBINED + occurrence.note)
        found = self._series.get(key)
        if found is not None and found.over(now):
            del self._series[key]
        series = _entry(self._series, key, lambda: Series(occurrence, now))
        series.count += 1
        series.last, series.seen_at = occurrence.at, now
        return series

    def forget(self, series: Series) -> None:
        """Drop a series that could not be written, so that a repeat tries anew."""
        for key, other in list(self._series.items()):
            if other is series:
                del self._series[key]

    def finish(self, *, everything: bool = False) -> list[Series]:
        """Drop the series that are over and return those whose count was not written yet."""
        now = self._clock.monotonic()
        ended = [
            (key, series) for key, series in self._series.items() if everything or series.over(now)
        ]
        for key, _ in ended:
            del self._series[key]
        return [
            series for _, series in ended if series.name and series.count > series.written_count
        ]


@dataclass(slots=True)
class _Bucket:
    at: float
    tokens: float = _SPAM_BURST


class SpamFilter:
    """A token bucket for each object: 25 writes, then one in 5 minutes (EV-08)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: LRUCache[Hashable, _Bucket] = _cache()

    def allow(self, regarding: ObjectReference) -> bool:
        """Take a token of the object; False when there is none."""
        now = self._clock.monotonic()
        bucket = _entry(self._buckets, regarding.identity, lambda: _Bucket(now))
        earned = (now - bucket.at) / _SPAM_SECONDS_PER_TOKEN
        bucket.tokens, bucket.at = min(bucket.tokens + earned, _SPAM_BURST), now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
