"""The conditions that the controller owns, and how each follows from what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kcpctl.apis.conditions import (
    ERROR,
    FALSE,
    INFO,
    READY,
    TRUE,
    UNKNOWN,
    WARNING,
    Condition,
    false,
    get_condition,
    is_false,
    is_true,
    true,
    unknown,
)
from kcpctl.apis.synctarget_status import (
    CLUSTER_CONNECTED,
    SUSPENDED,
    SYNCER_READY,
    SyncTargetStatus,
)
from kcpctl.reconcilers.problem import Problem
from kcpctl.reconcilers.synctarget.health import Heartbeat, Thresholds

__all__ = [
    "CLUSTER_CONNECTED",
    "DECLARED",
    "DELETING",
    "HEARTBEAT_HEALTHY",
    "OPTIONAL",
    "RESOURCES_AVAILABLE",
    "SYNCER_DEPLOYED",
    "VALID",
    "declared_condition",
    "heartbeat_condition",
    "not_all_synced",
    "ready_condition",
    "tells_of_ignored",
    "unhealthy_stamps",
    "valid_condition",
]

VALID: Final = "Valid"
SYNCER_DEPLOYED: Final = "SyncerDeployed"
HEARTBEAT_HEALTHY: Final = "HeartbeatHealthy"
DECLARED: Final = "Declared"
DELETING: Final = "Deleting"
RESOURCES_AVAILABLE: Final = "ResourcesAvailable"
OPTIONAL: Final = (SYNCER_READY, "APIImporterReady", "SyncerAuthorized")
"""Conditions of other writers that count for Ready where they are present."""

_WITHOUT_EFFECT: Final = "; without effect: "


def valid_condition(problem: Problem | None, ignored: Sequence[str] = ()) -> Condition:
    """Return Valid; ``ignored`` are the fields that have no effect, which is no error."""
    if problem is None:
        also = f"{_WITHOUT_EFFECT}{', '.join(ignored)}" if ignored else ""
        return true(VALID, "Valid", f"The spec passes every rule{also}")
    return false(VALID, problem.severity, problem.reason, problem.message)


def tells_of_ignored(valid: Condition) -> bool:
    """Whether Valid names fields that have no effect."""
    return valid.status == TRUE and _WITHOUT_EFFECT in valid.message


def heartbeat_condition(heartbeat: Heartbeat, thresholds: Thresholds) -> Condition:
    """Return HeartbeatHealthy. No message holds a figure that grows."""
    age = heartbeat.age_seconds
    if heartbeat.error:
        return unknown(HEARTBEAT_HEALTHY, "HealthCheckFailed", heartbeat.error)
    if age is None:
        if not _grace_is_over(heartbeat, thresholds):
            return unknown(
                HEARTBEAT_HEALTHY, "NoHeartbeatYet", "The syncer has not sent a heartbeat yet"
            )
        return false(
            HEARTBEAT_HEALTHY,
            WARNING,
            "HeartbeatMissing",
            f"The syncer sent no heartbeat within {_text(thresholds.grace_seconds)}",
        )
    if age < thresholds.heartbeat_seconds:
        return true(HEARTBEAT_HEALTHY, "HeartbeatReceived", "The syncer sends heartbeats")
    return false(
        HEARTBEAT_HEALTHY,
        WARNING,
        "ErrorHeartbeat",
        f"The syncer sent no heartbeat for more than {_text(thresholds.heartbeat_seconds)}",
    )


def declared_condition() -> Condition:
    """Return ResourcesAvailable of a SyncTarget whose spec says what it has."""
    message = "The capacity is what spec.capacity declares; what the cluster has does not count"
    return true(RESOURCES_AVAILABLE, DECLARED, message)


def ready_condition(
    conditions: Sequence[Condition],
    *,
    managed: bool,
    deleting: bool,
    heartbeat: Heartbeat,
    thresholds: Thresholds,
) -> Condition:
    """Return Ready, the first match of decision 2."""
    if deleting:
        return false(READY, INFO, "Terminating", "The SyncTarget is being deleted")
    valid = get_condition(conditions, VALID)
    if valid is not None and valid.status == FALSE:
        return false(READY, valid.severity, "ValidationFailed", valid.message)
    if managed:
        for status in (FALSE, UNKNOWN):
            for type_ in (CLUSTER_CONNECTED, SYNCER_DEPLOYED):
                found = get_condition(conditions, type_) or unknown(type_, "NotChecked", "")
                if found.status == status:
                    return Condition(
                        type=READY,
                        status=status,
                        severity=found.severity,
                        reason=found.reason,
                        message=found.message,
                    )
    if (verdict := _ready_by_heartbeat(heartbeat, thresholds)) is not None:
        return verdict
    for type_ in OPTIONAL:
        optional = get_condition(conditions, type_)
        if optional is not None and optional.status == FALSE and optional.severity == ERROR:
            return false(READY, ERROR, optional.reason, optional.message)
    syncer = get_condition(conditions, SYNCER_READY)
    if syncer is not None and syncer.status == FALSE and syncer.severity == WARNING:
        return true(READY, "Ready", not_all_synced(syncer.reason))
    if is_false(conditions, HEARTBEAT_HEALTHY):
        return true(READY, "Ready", "Workloads can be placed, but the last heartbeat is overdue")
    if syncer is not None and syncer.reason == SUSPENDED:
        return true(READY, "Ready", "Workloads can be placed, but syncing is suspended")
    return true(READY, "Ready", "Workloads can be placed")


def not_all_synced(reason: str) -> str:
    """Return the message of Ready while the syncer fails at some objects."""
    return f"Workloads can be placed, but not everything is synced ({reason})"


def unhealthy_stamps(status: SyncTargetStatus) -> tuple[str, ...]:
    """Return since when the heartbeat was missed, once the status says that it is not Ready.

    Ready has a cause of its own where the cluster is away as well, and may change it; this stamp
    stays until the next heartbeat.
    """
    heartbeat = get_condition(status.conditions, HEARTBEAT_HEALTHY)
    if heartbeat is None or heartbeat.status != FALSE or is_true(status.conditions, READY):
        return ()
    return (heartbeat.last_transition_time,) if heartbeat.last_transition_time else ()


def _ready_by_heartbeat(heartbeat: Heartbeat, thresholds: Thresholds) -> Condition | None:
    age = heartbeat.age_seconds
    if heartbeat.error:
        return unknown(READY, "HealthCheckFailed", heartbeat.error)
    if age is None:
        if not _grace_is_over(heartbeat, thresholds):
            return unknown(READY, "WaitingForSyncer", "The syncer has not sent a heartbeat yet")
        return false(
            READY,
            ERROR,
            "Unhealthy",
            f"The syncer sent no heartbeat within {_text(thresholds.grace_seconds)} of its start",
        )
    if age >= thresholds.unhealthy_seconds:
        return false(
            READY,
            ERROR,
            "Unhealthy",
            f"The syncer sent no heartbeat for more than {_text(thresholds.unhealthy_seconds)}",
        )
    return None


def _grace_is_over(heartbeat: Heartbeat, thresholds: Thresholds) -> bool:
    waited = heartbeat.waited_seconds
    return waited is not None and waited >= thresholds.grace_seconds


def _text(seconds: float) -> str:
    """Return 90 as ``1m30s``."""
    minutes, rest = divmod(seconds, 60)
    return (f"{minutes:.0f}m" if minutes else "") + (f"{rest:g}s" if rest or not minutes else "")
