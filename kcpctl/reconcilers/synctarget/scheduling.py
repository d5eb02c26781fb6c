"""Whether workloads may be placed on a SyncTarget: pure functions of spec and time (2.2)."""

from __future__ import annotations

from typing import Final

from kcpctl.apis.conditions import INFO, WARNING, Condition, false, true
from kcpctl.apis.workload import SyncTargetSpec
from kcpctl.runtime import parse_time

__all__ = [
    "EVICTED",
    "EVICTING",
    "EVICT_AFTER_IGNORED",
    "LEAVING",
    "SCHEDULABLE",
    "leaving_condition",
    "next_eviction_look",
    "schedulable_condition",
    "seconds_to_eviction",
]

SCHEDULABLE: Final = "Schedulable"
_CORDONED: Final = "Cordoned"
EVICTING: Final = "Evicting"
EVICTED: Final = "Evicted"
EVICT_AFTER_IGNORED: Final = "EvictAfterIgnored"
LEAVING: Final = "Terminating"

# Nobody evicts by taints yet; one that would certainly keeps what is new away.
_KEEPING_AWAY: Final = frozenset({"NoSchedule", "NoExecute"})

# While something leaves: the syncer does the work meanwhile, nothing else tells of its end. The
# page's figure for what remains (2.2, 2.7).
_LOOK_AGAIN_SECONDS: Final = 5.0


def seconds_to_eviction(spec: SyncTargetSpec, now: float) -> float | None:
    """Return the seconds until workloads are to leave, 0 if that is now; None: they are not.

    ``evictAfter`` counts together with ``unschedulable`` only. Raises ValueError when it is no
    RFC 3339 time.
    """
    if not spec.unschedulable or not spec.evict_after:
        return None
    return max(parse_time(spec.evict_after) - now, 0.0)


def next_eviction_look(spec: SyncTargetSpec, now: float, *, assigned: bool) -> float | None:
    """Return the seconds until time alone changes Schedulable, or something may have left."""
    left = seconds_to_eviction(spec, now)
    if left is None or left > 0:
        return left
    return _LOOK_AGAIN_SECONDS if assigned else None


def leaving_condition() -> Condition:
    """Return Schedulable of a SyncTarget that is being deleted: the first step of that (2.6)."""
    message = "No new workloads are placed here: the SyncTarget is being deleted"
    return false(SCHEDULABLE, INFO, LEAVING, message)


def schedulable_condition(
    spec: SyncTargetSpec, now: float, *, assigned: bool, refused: str = ""
) -> Condition:
    """Return Schedulable; ``assigned`` (asked once eviction is due) tells what is left.

    ``refused`` is why nobody could ask, or could not ask it to leave.
    """
    left = seconds_to_eviction(spec, now)
    if left == 0 and refused:
        message = f"Workloads cannot be asked to leave the target: {refused}"
        return false(SCHEDULABLE, WARNING, EVICTING, message)
    if left == 0 and assigned:
        message = "Workloads leave the target: spec.evictAfter has passed and some are still there"
        return false(SCHEDULABLE, WARNING, EVICTING, message)
    if left == 0:
        message = "All workloads have left the target; clear spec.unschedulable to use it again"
        return false(SCHEDULABLE, WARNING, EVICTED, message)
    if spec.unschedulable:
        message = "No new workloads are placed here (spec.unschedulable)"
        return false(SCHEDULABLE, INFO, _CORDONED, message)
    for taint in spec.taints:
        if taint.effect in _KEEPING_AWAY:
            where = f"{taint.effect} taint {taint.key!r} in spec.taints"
            message = f"No new workloads are placed here ({where})"
            return false(SCHEDULABLE, INFO, _CORDONED, message)
    if spec.evict_after:
        message = (
            "Not cordoned; spec.evictAfter moves nothing away without spec.unschedulable, but once "
            "it has passed schedulers place nothing new here"
        )
        return true(SCHEDULABLE, EVICT_AFTER_IGNORED, message)
    return true(SCHEDULABLE, SCHEDULABLE, "Workloads can be placed")
