"""From a snapshot to the status: the decisions of the controller, without any I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from kcpctl.apis.conditions import (
    ERROR,
    FALSE,
    READY,
    TRUE,
    Condition,
    get_condition,
    is_false,
    is_true,
    set_condition,
)
from kcpctl.apis.synctarget_status import (
    DEPLOYING,
    FAILED,
    NOT_READY,
    PENDING,
    PHASE_READY,
    TERMINATING,
    SyncTargetStatus,
)
from kcpctl.apis.workload import MANAGED, SyncTarget, deployment_mode
from kcpctl.clusters import ConnectionStatus
from kcpctl.reconcilers.connected import connected_condition, only_reconnecting
from kcpctl.reconcilers.problem import Problem
from kcpctl.reconcilers.synctarget.certificate import (
    SYNCER_CERTIFICATE,
    Signing,
    certificate_condition,
)
from kcpctl.reconcilers.synctarget.checks import health_of
from kcpctl.reconcilers.synctarget.conditions import (
    CLUSTER_CONNECTED,
    DECLARED,
    RESOURCES_AVAILABLE,
    SYNCER_DEPLOYED,
    VALID,
    declared_condition,
    heartbeat_condition,
    ready_condition,
    valid_condition,
)
from kcpctl.reconcilers.synctarget.health import Heartbeat, Thresholds, next_look, overdue_seconds
from kcpctl.reconcilers.synctarget.linking import (
    LINK_LOOK_SECONDS,
    VIRTUAL_WORKSPACE_LINKED,
    Link,
    linked_condition,
    virtual_workspaces,
)
from kcpctl.reconcilers.synctarget.rollout import (
    WAITING_FOR_CERTIFICATE,
    Rollout,
    deployed_condition,
)
from kcpctl.reconcilers.synctarget.scheduling import (
    Eviction,
    leaving_condition,
    next_eviction_look,
    planned_eviction,
    schedulable_condition,
)

__all__ = ["Decision", "Snapshot", "decide"]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision depends on.

    Attributes
    ----------
    target: the SyncTarget as stored.
    invalid: the rule or reference that makes it not Valid.
    ignored: the fields of its spec that have no effect.
    credentials: why there is no usable kubeconfig (Managed).
    connection: the pool's view of the cluster (Managed).
    source: where the connection's credentials are from, for messages.
    rollout: the syncer's Deployment (Managed and connected).
    signing: the syncer's certificate, where syncers have some.
    heartbeat: the syncer's heartbeat.
    unhealthy_seconds: for how long the status has said that the target is unhealthy, None if it
        has not yet.
    link: where its workspace is served, None where nobody serves workspaces through an export.
    assigned: whether anything is assigned to it; asked only when its eviction is due.
    refused: why the workspace did not let us ask, "" when it did.
    now: wall-clock seconds, for transition times and evictAfter only.
    """

    target: SyncTarget
    invalid: Problem | None = None
    ignored: Sequence[str] = ()
    credentials: Problem | None = None
    connection: ConnectionStatus | None = None
    source: str = ""
    rollout: Rollout | None = None
    signing: Signing | None = None
    heartbeat: Heartbeat = Heartbeat()
    thresholds: Thresholds = Thresholds()
    unhealthy_seconds: float | None = None
    link: Link | None = None
    assigned: bool = False
    refused: str = ""
    now: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """The status to write, and when the passing of time alone calls for another look."""

    status: SyncTargetStatus
    requeue_after_seconds: float | None = None


def decide(snapshot: Snapshot) -> Decision:
    """Return what follows from ``snapshot``; the same snapshot always gives the same.

    While the target is being deleted, or its spec is not Valid, nobody looks at its cluster: the
    conditions about that stay what they were, with the generation that they were observed for.
    """
    target = snapshot.target
    managed = deployment_mode(target.spec) == MANAGED
    deleting = target.metadata.deletion_timestamp is not None
    conditions, heartbeat = list(target.status.conditions), snapshot.heartbeat
    eviction = None
    if deleting:
        conditions = _set(snapshot, conditions, leaving_condition())
    else:
        conditions = _set(snapshot, conditions, valid_condition(snapshot.invalid, snapshot.ignored))
    if snapshot.invalid is None and not deleting:
        conditions = _certified(snapshot, conditions, managed=managed)
        conditions = _deployed(snapshot, conditions, managed=managed)
        heartbeat = _waiting(conditions, heartbeat, managed=managed)
        conditions = _set(snapshot, conditions, heartbeat_condition(heartbeat, snapshot.thresholds))
        eviction = _plan_eviction(snapshot, heartbeat)
        schedulable = schedulable_condition(
            target.spec, eviction, assigned=snapshot.assigned, refused=snapshot.refused
        )
        conditions = _declared(snapshot, _set(snapshot, conditions, schedulable))
        conditions = _linked(snapshot, conditions)
    ready = ready_condition(
        conditions,
        managed=managed,
        deleting=deleting,
        heartbeat=heartbeat,
        thresholds=snapshot.thresholds,
    )
    conditions = _set(snapshot, conditions, ready)
    settled = deleting or snapshot.invalid is not None
    status = msgspec.structs.replace(
        target.status,
        observed_generation=target.metadata.generation,
        conditions=conditions,
        phase=_decide_phase(target, conditions, managed=managed),
        virtual_workspaces=(
            target.status.virtual_workspaces if settled else virtual_workspaces(snapshot.link)
        ),
        health=health_of(conditions),
        capacity=_capacity(target) if snapshot.invalid is None else target.status.capacity,
    )
    return Decision(status, None if settled else _requeue(snapshot, heartbeat, eviction))


def _plan_eviction(snapshot: Snapshot, heartbeat: Heartbeat) -> Eviction | None:
    """The grace of an unhealthy target begins once its status says what it is."""
    unhealthy = overdue_seconds(heartbeat, snapshot.thresholds) is not None
    seconds = (snapshot.unhealthy_seconds or 0.0) if unhealthy else None
    return planned_eviction(snapshot.target.spec, snapshot.now, seconds)


def _requeue(snapshot: Snapshot, heartbeat: Heartbeat, eviction: Eviction | None) -> float | None:
    by_heartbeat = next_look(heartbeat, snapshot.thresholds)
    look = next_eviction_look(eviction, assigned=snapshot.assigned)
    if snapshot.link is not None and snapshot.link.problem:
        look = LINK_LOOK_SECONDS if look is None else min(look, LINK_LOOK_SECONDS)
    if by_heartbeat is None or look is None:
        return look if by_heartbeat is None else by_heartbeat
    return min(by_heartbeat, look)


def _set(
    snapshot: Snapshot, conditions: Sequence[Condition], condition: Condition
) -> list[Condition]:
    condition.observed_generation = snapshot.target.metadata.generation
    return set_condition(conditions, condition, snapshot.now)


def _without(conditions: list[Condition], condition: Condition | None) -> list[Condition]:
    """Return the conditions but for that one; None takes nothing away."""
    if condition is None:
        return conditions
    return [one for one in conditions if one is not condition]


def _deployed(snapshot: Snapshot, conditions: list[Condition], *, managed: bool) -> list[Condition]:
    """Set ClusterConnected and SyncerDeployed."""
    if managed:
        if _still_stands(snapshot):
            return conditions
        connected = connected_condition(
            CLUSTER_CONNECTED, snapshot.credentials, snapshot.connection, snapshot.source
        )
        conditions = _set(snapshot, conditions, connected)
        delayed = snapshot.rollout is not None and snapshot.rollout.delay
        if delayed and is_true(conditions, SYNCER_DEPLOYED):
            return conditions  # nothing is known that would differ from what was seen last
        rollout = _with_certificate(snapshot.rollout, conditions)
        return _set(snapshot, conditions, deployed_condition(connected, rollout))
    before = get_condition(conditions, SYNCER_DEPLOYED)
    if before is not None and before.reason != "NotManaged":
        # The target was Managed: what the controller said of the cluster is no longer kept up.
        conditions = _without(conditions, get_condition(conditions, CLUSTER_CONNECTED))
    not_managed = Condition(
        type=SYNCER_DEPLOYED,
        status=TRUE,
        reason="NotManaged",
        message="Somebody else runs the syncer (spec.deployment.mode is External)",
    )
    return _set(snapshot, conditions, not_managed)


def _with_certificate(rollout: Rollout | None, conditions: Sequence[Condition]) -> Rollout | None:
    """A syncer that does not run yet may be waiting for its first certificate."""
    certificate = get_condition(conditions, SYNCER_CERTIFICATE)
    if rollout is None or rollout.waiting or certificate is None or certificate.status != FALSE:
        return rollout
    return replace(rollout, waiting=certificate.message, waiting_for=WAITING_FOR_CERTIFICATE)


def _still_stands(snapshot: Snapshot) -> bool:
    """Whether nothing is known yet that would differ from what the status says."""
    target = snapshot.target
    before = get_condition(target.status.conditions, CLUSTER_CONNECTED)
    return snapshot.credentials is None and only_reconnecting(
        snapshot.connection, before, target.metadata.generation
    )


def _certified(
    snapshot: Snapshot, conditions: list[Condition], *, managed: bool
) -> list[Condition]:
    certificate = certificate_condition(snapshot.signing, conditions, managed=managed)
    if certificate is None:
        return _without(conditions, get_condition(conditions, SYNCER_CERTIFICATE))
    return _set(snapshot, conditions, certificate)


def _linked(snapshot: Snapshot, conditions: list[Condition]) -> list[Condition]:
    """Set VirtualWorkspaceLinked, which is no part of Ready."""
    if snapshot.link is not None:
        return _set(snapshot, conditions, linked_condition(snapshot.link))
    if get_condition(conditions, VIRTUAL_WORKSPACE_LINKED) is None:
        return conditions
    return [one for one in conditions if one.type != VIRTUAL_WORKSPACE_LINKED]


def _declared(snapshot: Snapshot, conditions: list[Condition]) -> list[Condition]:
    """Say that spec.capacity overrides what is found, until a quota controller says more (2.9)."""
    found = get_condition(conditions, RESOURCES_AVAILABLE)
    if found is not None and found.reason != DECLARED:
        return conditions
    if snapshot.target.spec.capacity:
        return _set(snapshot, conditions, declared_condition())
    return _without(conditions, found)


def _waiting(conditions: list[Condition], heartbeat: Heartbeat, *, managed: bool) -> Heartbeat:
    """The grace runs while the syncer is deployed, or in External mode the object valid."""
    if not is_true(conditions, SYNCER_DEPLOYED if managed else VALID):
        return Heartbeat(heartbeat.age_seconds, None, heartbeat.error)
    return Heartbeat(heartbeat.age_seconds, heartbeat.waited_seconds or 0.0, heartbeat.error)


def _capacity(target: SyncTarget) -> dict[str, str | int]:
    """What is declared wins; what is found is the syncer's to write."""
    return dict(target.spec.capacity) if target.spec.capacity else target.status.capacity


def _decide_phase(target: SyncTarget, conditions: Sequence[Condition], *, managed: bool) -> str:
    """Return the phase: a total function (decision 3)."""
    if target.metadata.deletion_timestamp is not None:
        return TERMINATING
    deployed = get_condition(conditions, SYNCER_DEPLOYED)
    hopeless = deployed is not None and deployed.status == FALSE and deployed.severity == ERROR
    if is_false(conditions, VALID) or hopeless:
        return FAILED
    if is_true(conditions, READY):
        return PHASE_READY
    if not is_true(conditions, VALID):
        return PENDING
    if not managed or _was_deployed(target):
        return NOT_READY
    underway = not is_true(conditions, SYNCER_DEPLOYED) or not is_true(
        conditions, CLUSTER_CONNECTED
    )
    return DEPLOYING if underway else NOT_READY


def _was_deployed(target: SyncTarget) -> bool:
    """Whether the stored phase says that this generation was deployed before."""
    same = target.status.observed_generation == target.metadata.generation
    return same and target.status.phase in {PHASE_READY, NOT_READY}
