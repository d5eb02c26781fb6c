"""How old a SyncTarget's heartbeat is, as far as clocks can be believed (decision 4)."""

from __future__ import annotations

from kcpctl.apis.conditions import is_true
from kcpctl.apis.workload import SyncTarget
from kcpctl.reconcilers.synctarget.conditions import HEARTBEAT_HEALTHY
from kcpctl.reconcilers.synctarget.health import Observer, Thresholds, heartbeat_stamps

__all__ = ["heartbeat_age"]


def heartbeat_age(
    observer: Observer, key: str, target: SyncTarget, thresholds: Thresholds
) -> float | None:
    """Return the heartbeat's age in seconds, None without one.

    A process that begins to look at a target which the status calls healthy does not believe its
    own clock that the heartbeat is stale, for as long as a heartbeat may take: one of the two
    clocks may be wrong by hours. Raises ValueError for a stamp that is no RFC 3339 time.
    """
    stamps = heartbeat_stamps(target.status)
    age = observer.age(key, target.metadata.uid, "heartbeat", stamps)
    known = observer.known_seconds(key)
    healthy = is_true(target.status.conditions, HEARTBEAT_HEALTHY)
    if age is not None and healthy and known < thresholds.heartbeat_seconds:
        return min(age, known)
    return age
