"""From what was found to the status of a ClusterRegistration, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from kcpctl.apis.conditions import (
    ERROR,
    INFO,
    READY,
    TRUE,
    WARNING,
    Condition,
    false,
    get_condition,
    is_false,
    is_true,
    set_condition,
    true,
    unknown,
)
from kcpctl.apis.nodes import much_the_same
from kcpctl.apis.tmc import (
    ClusterCapabilities,
    ClusterRegistration,
    ClusterRegistrationStatus,
    SyncTargetReference,
)
from kcpctl.clusters import ConnectionStatus
from kcpctl.reconcilers.clusterregistration.facts import Facts
from kcpctl.reconcilers.connected import connected_condition, only_reconnecting
from kcpctl.reconcilers.problem import Problem
from kcpctl.runtime import format_time, parse_time

__all__ = ["CONNECTED", "HEALTHY", "SYNC_TARGET_CREATED", "Snapshot", "decide"]

CONNECTED: Final = "Connected"
HEALTHY: Final = "Healthy"
SYNC_TARGET_CREATED: Final = "SyncTargetCreated"
DELETING: Final = "Deleting"

# How old the time of the last answer may become before it is written for its own sake.
_STALE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a status depends on.

    Attributes
    ----------
    registration: the ClusterRegistration as stored.
    credentials: why there is no usable kubeconfig.
    connection: the pool's view of the cluster.
    source: where the connection's credentials are from, for messages.
    facts: what was found on the cluster last; None before the first look.
    failure: why the last look at it failed, "" if it did not.
    sync_target: name of the SyncTarget that was made from the registration, "" for none.
    not_created: why there is none although one is asked for.
    in_use: what the deletion waits for.
    now: wall-clock seconds.
    """

    registration: ClusterRegistration
    credentials: Problem | None = None
    connection: ConnectionStatus | None = None
    source: str = ""
    facts: Facts | None = None
    failure: str = ""
    sync_target: str = ""
    not_created: Problem | None = None
    in_use: str = ""
    now: float = 0.0


def decide(snapshot: Snapshot) -> ClusterRegistrationStatus:
    """Return the status; the same snapshot always gives the same."""
    registration, status = snapshot.registration, snapshot.registration.status
    wanted = [*_observed(snapshot), *_created(snapshot)]
    if snapshot.in_use:
        wanted.append(true(DELETING, "InUse", snapshot.in_use))
    gone = {SYNC_TARGET_CREATED, DELETING} - {one.type for one in wanted}
    conditions = [one for one in status.conditions if one.type not in gone]
    for condition in wanted:
        conditions = _set(snapshot, conditions, condition)
    conditions = _set(snapshot, conditions, _ready(snapshot, conditions))
    changed = msgspec.structs.replace(
        status,
        observed_generation=registration.metadata.generation,
        conditions=conditions,
        phase=_phase(snapshot, conditions),
        sync_target_ref=SyncTargetReference(snapshot.sync_target) if snapshot.sync_target else None,
    )
    return _with_facts(snapshot, changed)


def _set(
    snapshot: Snapshot, conditions: Sequence[Condition], condition: Condition
) -> list[Condition]:
    condition.observed_generation = snapshot.registration.metadata.generation
    return set_condition(conditions, condition, snapshot.now)


def _observed(snapshot: Snapshot) -> list[Condition]:
    """Return Connected and Healthy; nothing while a known connection is only being made anew."""
    registration = snapshot.registration
    before = get_condition(registration.status.conditions, CONNECTED)
    unchanged = snapshot.credentials is None and only_reconnecting(
        snapshot.connection, before, registration.metadata.generation
    )
    if snapshot.in_use or unchanged:
        return []
    connected = connected_condition(
        CONNECTED, snapshot.credentials, snapshot.connection, snapshot.source
    )
    if connected.status != TRUE:
        healthy = unknown(HEALTHY, "NotConnected", "The cluster is not connected")
    elif snapshot.failure:
        healthy = false(HEALTHY, ERROR, "HealthCheckFailed", snapshot.failure)
    elif snapshot.facts is None:
        healthy = unknown(HEALTHY, "NotChecked", "The cluster has not been looked at yet")
    else:
        missing = snapshot.facts.unknown
        message = f"The cluster answers, but not about {missing}" if missing else ""
        healthy = true(HEALTHY, "Healthy", message or "The cluster answers")
    return [connected, healthy]


def _created(snapshot: Snapshot) -> list[Condition]:
    if problem := snapshot.not_created:
        return [false(SYNC_TARGET_CREATED, WARNING, problem.reason, problem.message)]
    if snapshot.sync_target:
        message = f"SyncTarget {snapshot.sync_target} is made from this registration"
        return [true(SYNC_TARGET_CREATED, "Created", message)]
    return []


def _ready(snapshot: Snapshot, conditions: Sequence[Condition]) -> Condition:
    if snapshot.registration.metadata.deletion_timestamp is not None:
        return false(READY, INFO, "Terminating", "The ClusterRegistration is being deleted")
    for type_ in (CONNECTED, HEALTHY):
        found = get_condition(conditions, type_) or unknown(type_, "NotChecked", "Not tried yet")
        if found.status != TRUE:
            return Condition(
                type=READY,
                status=found.status,
                severity=found.severity,
                reason=found.reason,
                message=found.message,
            )
    return true(READY, "Ready", "The cluster can be used")


def _phase(snapshot: Snapshot, conditions: Sequence[Condition]) -> str:
    if is_true(conditions, READY):
        return "Ready"
    if any(is_false(conditions, type_) for type_ in (CONNECTED, HEALTHY)):
        return "Failed"
    return "Pending" if snapshot.connection is None else "Registered"


def _with_facts(snapshot: Snapshot, status: ClusterRegistrationStatus) -> ClusterRegistrationStatus:
    """Add what was found; figures that hardly moved stay, so that rest means no writes."""
    facts, connection = snapshot.facts, snapshot.connection
    capacity = dict(snapshot.registration.spec.capacity)
    if facts is None:
        # What is declared counts before anything was found, and instead of it.
        return msgspec.structs.replace(status, capacity=capacity) if capacity else status
    stamp = format_time(snapshot.now)
    capabilities = ClusterCapabilities(
        kubernetes_version=connection.version if connection is not None else "",
        supported_api_versions=list(facts.api_versions),
        available_resources=list(facts.resources),
        node_count=facts.nodes.count,
    )
    before = status.capabilities
    if before is not None:
        capabilities = msgspec.structs.replace(
            capabilities, features=before.features, last_detected=before.last_detected
        )
    if capabilities != before:
        capabilities = msgspec.structs.replace(capabilities, last_detected=stamp)
    found = msgspec.structs.replace(
        status,
        capabilities=capabilities,
        capacity=capacity or _moved(status.capacity, facts.nodes.capacity),
        allocatable=_moved(status.allocatable, facts.nodes.allocatable),
    )
    if snapshot.failure or connection is None or not connection.connected:
        return found
    last = status.last_heartbeat_time
    if (
        found != snapshot.registration.status
        or not last
        or _age(last, snapshot.now) >= (_STALE_SECONDS)
    ):
        return msgspec.structs.replace(found, last_heartbeat_time=stamp)
    return found


def _moved(before: dict[str, str | int], after: Mapping[str, str]) -> dict[str, str | int]:
    return before if much_the_same(before, after) else dict(after)


def _age(stamp: str, now: float) -> float:
    try:
        return now - parse_time(stamp)
    except ValueError:
        return _STALE_SECONDS
