"""Which events a change of status is worth (2.10): transitions only, a pure function."""

from __future__ import annotations

from collections.abc import Iterator

from kcpctl.apis.conditions import FALSE, READY, TRUE, Condition, get_condition
from kcpctl.apis.synctarget_status import SYNCER_DISCONNECTED, SYNCER_READY, SyncTargetStatus
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.controller import ObjectReference
from kcpctl.reconcilers.connected import NEW_CREDENTIALS_FAILED
from kcpctl.reconcilers.recorder import Transition
from kcpctl.reconcilers.synctarget.certificate import SYNCER_CERTIFICATE
from kcpctl.reconcilers.synctarget.conditions import (
    CLUSTER_CONNECTED,
    HEARTBEAT_HEALTHY,
    SYNCER_DEPLOYED,
    VALID,
    not_all_synced,
    tells_of_ignored,
)
from kcpctl.reconcilers.synctarget.rollout import DEPLOYMENT_FAILED, IMAGE_PULL_ERROR
from kcpctl.reconcilers.synctarget.scheduling import (
    EVICT_AFTER_IGNORED,
    EVICTED,
    EVICTING,
    SCHEDULABLE,
)

__all__ = ["reference_to", "transitions"]


def reference_to(target: SyncTarget, cluster: str) -> ObjectReference:
    """Return the SyncTarget as what an event is about, in its own logical cluster."""
    meta = target.metadata
    return ObjectReference(
        cluster,
        SYNCTARGETS.api_version,
        SYNCTARGETS.kind,
        "",
        meta.name,
        meta.uid,
        meta.resource_version,
    )


def transitions(old: SyncTargetStatus, new: SyncTargetStatus) -> list[Transition]:
    """Return the events between two statuses; equal statuses have none."""
    events = [
        event
        for type_, judge in (
            (VALID, _valid),
            (CLUSTER_CONNECTED, _connected),
            (SYNCER_DEPLOYED, _deployed),
            (SYNCER_CERTIFICATE, _certificate),
            (HEARTBEAT_HEALTHY, _heartbeat),
            (SCHEDULABLE, _schedulable),
            (READY, _ready),
        )
        if (after := get_condition(new.conditions, type_)) is not None
        for event in judge(get_condition(old.conditions, type_), after)
    ]
    return [*events, *_syncing(old, new)]


def _became(before: Condition | None, after: Condition, status: str) -> bool:
    """Whether the status was entered, or a False is now False for another reason."""
    if after.status != status:
        return False
    if before is None or before.status != status:
        return True
    return status == FALSE and before.reason != after.reason


def _valid(before: Condition | None, after: Condition) -> Iterator[Transition]:
    if _became(before, after, TRUE):
        yield Transition("Normal", "Validated", after.message)
    elif _became(before, after, FALSE):
        yield Transition("Warning", after.reason, after.message)
    if tells_of_ignored(after) and (before is None or before.message != after.message):
        yield Transition("Warning", "FieldsIgnored", after.message)


def _connected(before: Condition | None, after: Condition) -> Iterator[Transition]:
    was_failing = before is not None and before.reason == NEW_CREDENTIALS_FAILED
    failing = after.reason == NEW_CREDENTIALS_FAILED
    if _became(before, after, FALSE) or (failing and not was_failing):
        yield Transition("Warning", after.reason, after.message)


def _deployed(before: Condition | None, after: Condition) -> Iterator[Transition]:
    if _became(before, after, TRUE) and after.reason == "Deployed":
        yield Transition("Normal", "SyncerDeployed", after.message)
    elif _became(before, after, FALSE) and after.reason in {DEPLOYMENT_FAILED, IMAGE_PULL_ERROR}:
        yield Transition("Warning", after.reason, after.message)


def _certificate(before: Condition | None, after: Condition) -> Iterator[Transition]:
    if _became(before, after, FALSE):
        yield Transition("Warning", after.reason, after.message)


def _heartbeat(before: Condition | None, after: Condition) -> Iterator[Transition]:
    if before is not None and before.status == FALSE and after.status == TRUE:
        yield Transition("Normal", "HeartbeatResumed", after.message)
    elif _became(before, after, FALSE):
        yield Transition("Warning", "HeartbeatMissed", after.message)


def _schedulable(before: Condition | None, after: Condition) -> Iterator[Transition]:
    was = "" if before is None else before.status
    if after.status == FALSE and was != FALSE:
        yield Transition("Normal", "Cordoned", after.message)
    elif after.status == TRUE and was == FALSE:
        yield Transition("Normal", "Uncordoned", after.message)
    if before is not None and before.reason == after.reason:
        return
    if after.reason == EVICTING:
        yield Transition("Warning", "EvictionStarted", after.message)
    elif after.reason == EVICTED:
        yield Transition("Normal", "Drained", after.message)
    elif after.reason == EVICT_AFTER_IGNORED:
        yield Transition("Warning", EVICT_AFTER_IGNORED, after.message)


def _ready(before: Condition | None, after: Condition) -> Iterator[Transition]:
    if _became(before, after, TRUE):
        yield Transition("Normal", "Ready", after.message)
    elif after.reason == SYNCER_DISCONNECTED and _became(before, after, FALSE):
        yield Transition("Warning", after.reason, after.message)


def _syncing(old: SyncTargetStatus, new: SyncTargetStatus) -> Iterator[Transition]:
    """What the syncer fails at. Its condition is in both statuses: Ready tells which is news."""
    syncer = get_condition(new.conditions, SYNCER_READY)
    before, after = (get_condition(one.conditions, READY) for one in (old, new))
    if syncer is None or after is None or after.message != not_all_synced(syncer.reason):
        return
    if before is None or before.message != after.message:
        yield Transition("Warning", syncer.reason, syncer.message)
