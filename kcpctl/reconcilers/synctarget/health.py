"""Whether a syncer is alive, judged by the observer's own monotonic clock (decision 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from kcpctl.apis.synctarget_status import SyncTargetStatus
from kcpctl.controller.by_key import ByKey
from kcpctl.runtime import Clock, parse_time

__all__ = [
    "Heartbeat",
    "Observer",
    "Thresholds",
    "heartbeat_stamps",
    "next_look",
    "overdue_seconds",
]


class Thresholds(msgspec.Struct, frozen=True):
    """Ages at which a heartbeat is stale and a target unhealthy, and the time to the first."""

    heartbeat_seconds: float = 60.0
    unhealthy_seconds: float = 300.0
    grace_seconds: float = 60.0


class Heartbeat(msgspec.Struct, frozen=True):
    """What is known of a target's heartbeat.

    ``age_seconds`` is None when there never was one; ``waited_seconds`` how long one is waited
    for, None while the syncer is not deployed; ``error`` why it cannot be told, or "".
    """

    age_seconds: float | None = None
    waited_seconds: float | None = None
    error: str = ""


def heartbeat_stamps(status: SyncTargetStatus) -> tuple[str, ...]:
    """Return the stamps that say when the syncer was last alive.

    ``lastSyncTime`` counts only for writers that know neither of the other two (1.3).
    """
    stamps = (status.last_syncer_heartbeat_time, status.last_heartbeat_time)
    found = tuple([stamp for stamp in stamps if stamp])
    return found or ((status.last_sync_time,) if status.last_sync_time else ())


def next_look(heartbeat: Heartbeat, thresholds: Thresholds) -> float | None:
    """Return the seconds until the passing of time alone changes the verdict, or None."""
    age = heartbeat.age_seconds
    if heartbeat.error:
        return None
    if age is None:
        waited = heartbeat.waited_seconds
        left = None if waited is None else thresholds.grace_seconds - waited
        return left if left is not None and left > 0 else None
    for threshold in (thresholds.heartbeat_seconds, thresholds.unhealthy_seconds):
        if age < threshold:
            return threshold - age
    return None


def overdue_seconds(heartbeat: Heartbeat, thresholds: Thresholds) -> float | None:
    """Return for how long the heartbeat has been one of an unhealthy target; None: it is not."""
    age, waited = heartbeat.age_seconds, heartbeat.waited_seconds
    if heartbeat.error:
        return None
    if age is not None:
        overdue = age - thresholds.unhealthy_seconds
    elif waited is not None:
        overdue = waited - thresholds.grace_seconds
    else:
        return None
    return overdue if overdue >= 0 else None


@dataclass(slots=True)
class _Seen:
    """One object's stamps by slot: what they were, and the monotonic time that stands for."""

    uid: str
    since: float
    slots: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)


class Observer:
    """Ages of time stamps that others write, immune to jumps of anybody's clock.

    When a slot of an object is first looked at, its stamp is trusted (one in the future counts
    as now); afterwards a stamp that changed is as old as the moment in which that was seen.
    Another uid is another object. Any thread; one key at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: ByKey[_Seen] = ByKey()

    def age(self, key: str, uid: str, slot: str, stamps: Sequence[str]) -> float | None:
        """Return the age in seconds of the newest of ``stamps``; None without any.

        Raises ValueError for a stamp that is no RFC 3339 time.
        """
        texts = tuple(stamps)
        now = self._clock.monotonic()
        seen = self._seen.get(key)
        if seen is None or seen.uid != uid:
            seen = self._seen.keep(key, _Seen(uid, now))
        known = seen.slots.get(slot)
        if known is None or known[0] != texts:
            written = max(map(parse_time, texts), default=None)
            since = now
            if known is None and written is not None:
                since -= max(self._clock.time() - written, 0.0)
            known = seen.slots[slot] = (texts, since)
        return now - known[1] if texts else None

    def known_seconds(self, key: str) -> float:
        """Return for how long an object has been looked at; 0 for one that was not."""
        seen = self._seen.get(key)
        return 0.0 if seen is None else self._clock.monotonic() - seen.since

    def forget(self, key: str) -> None:
        """Drop everything about an object that is gone."""
        self._seen.forget(key)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop everything about the objects whose keys belong."""
        self._seen.remove(belongs)
