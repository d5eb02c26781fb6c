"""Whether workloads may be placed on a SyncTarget: pure functions of spec and time (2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kcpctl.apis.conditions import INFO, WARNING, Condition, false, true
from kcpctl.apis.duration import parse_duration
from kcpctl.apis.workload import SyncTargetSpec
from kcpctl.runtime import parse_time

__all__ = [
    "EVICTED",
    "EVICTING",
    "EVICT_AFTER_IGNORED",
    "LEAVING",
    "SCHEDULABLE",
    "Eviction",
    "leaving_condition",
    "next_eviction_look",
    "planned_eviction",
    "schedulable_condition",
]

SCHEDULABLE: Final = "Schedulable"
_CORDONED: Final = "Cordoned"
EVICTING: Final = "Evicting"
EVICTED: Final = "Evicted"
EVICT_AFTER_IGNORED: Final = "EvictAfterIgnored"
LEAVING: Final = "Terminating"

# Of spec.evictionGracePeriod (1.1).
_DEFAULT_GRACE: Final = "5m"

# Nobody evicts by taints yet; one that would certainly keeps what is new away.
_KEEPING_AWAY: Final = frozenset({"NoSchedule", "NoExecute"})

# While something leaves: the syncer does the work meanwhile, nothing else tells of its end. The
# page's figure for what remains (2.2, 2.7).
_LOOK_AGAIN_SECONDS: Final = 5.0
# While it leaves a target whose syncer is away. A heartbeat brings the next look earlier; until
# then only somebody else can take away, or assign, anything.
_LOOK_WITHOUT_SYNCER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Eviction:
    """When workloads are to leave a SyncTarget.

    Attributes
    ----------
    seconds: until then; 0 if that is now.
    unhealthy_for: the grace that an unhealthy target has, as in the spec; "" when people say so.
    asks: whether what is assigned is asked to leave by kcpctl itself.
    """

    seconds: float
    unhealthy_for: str = ""
    asks: bool = True


def planned_eviction(
    spec: SyncTargetSpec, now: float, unhealthy_seconds: float | None
) -> Eviction | None:
    """Return when workloads are to leave, None if they are not.

    What people say of a target comes first: one that is ``unschedulable`` is evicted by
    ``evictAfter``, which counts together with that only, and by nothing else. Any other one is
    when it has been unhealthy for ``evictionGracePeriod``; ``unhealthy_seconds`` is None while it
    is not. Without another place known for them, workloads are asked to leave only where the spec
    states the period itself, and not while the target is suspended, which removes nothing.
    Raises ValueError when a time or duration is none.
    """
    if spec.unschedulable:
        return Eviction(max(parse_time(spec.evict_after) - now, 0.0)) if spec.evict_after else None
    if unhealthy_seconds is None:
        return None
    grace = spec.eviction_grace_period or _DEFAULT_GRACE
    grace_seconds = parse_duration(grace)
    if grace_seconds == 0:
        return None
    suspended = spec.maintenance is not None and spec.maintenance.suspend
    return Eviction(
        max(grace_seconds - unhealthy_seconds, 0.0),
        unhealthy_for=grace,
        asks=bool(spec.eviction_grace_period) and not suspended,
    )


def next_eviction_look(eviction: Eviction | None, *, assigned: bool) -> float | None:
    """Return the seconds until time alone changes Schedulable, or something may have left."""
    if eviction is None or eviction.seconds > 0:
        return None if eviction is None else eviction.seconds
    if not assigned:
        return None
    return _LOOK_WITHOUT_SYNCER_SECONDS if eviction.unhealthy_for else _LOOK_AGAIN_SECONDS


def leaving_condition() -> Condition:
    """Return Schedulable of a SyncTarget that is being deleted: the first step of that (2.6)."""
    message = "No new workloads are placed here: the SyncTarget is being deleted"
    return false(SCHEDULABLE, INFO, LEAVING, message)


def schedulable_condition(
    spec: SyncTargetSpec, eviction: Eviction | None, *, assigned: bool, refused: str = ""
) -> Condition:
    """Return Schedulable; ``assigned`` (asked once eviction is due) tells what is left.

    ``refused`` is why nobody could ask, or could not ask it to leave.
    """
    if eviction is not None and eviction.seconds == 0:
        return _evicting_condition(eviction, assigned=assigned, refused=refused)
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


def _evicting_condition(eviction: Eviction, *, assigned: bool, refused: str) -> Condition:
    grace = eviction.unhealthy_for
    cause = f"its syncer has been silent for {grace} since it became Unhealthy" if grace else ""
    if refused:
        message = f"Workloads cannot be asked to leave the target: {refused}"
        return false(SCHEDULABLE, WARNING, EVICTING, message)
    if not eviction.asks:
        message = (
            f"No new workloads are placed here, for {cause}; what is assigned stays until somebody "
            "moves it. A spec.evictionGracePeriod that is set has it asked to leave"
        )
        return false(SCHEDULABLE, WARNING, EVICTING, message)
    if assigned:
        why = cause or "spec.evictAfter has passed and some are still there"
        message = f"Workloads leave the target: {why}"
        return false(SCHEDULABLE, WARNING, EVICTING, message)
    way_out = (
        f"{cause}. The next heartbeat opens it again"
        if grace
        else "clear spec.unschedulable to use it again"
    )
    message = f"All workloads have left the target; {way_out}"
    return false(SCHEDULABLE, WARNING, EVICTED, message)
