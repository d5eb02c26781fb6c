"""What the syncer says of itself: from the state of its session to the condition SyncerReady."""

from __future__ import annotations

from dataclasses import dataclass

from kcpctl.apis.conditions import INFO, Condition, false, true
from kcpctl.apis.synctarget_status import DRAINED, SUSPENDED, SYNCER_READY

__all__ = ["SessionState", "syncer_ready"]


@dataclass(frozen=True, slots=True)
class SessionState:
    """What SyncerReady depends on.

    Attributes
    ----------
    suspended: whether the session is paused, by the SyncTarget's owner or by rules without sense.
    working: whether all caches have synced once and the work between them has begun.
    drains: whether the SyncTarget is being deleted, and what is assigned leaves.
    drained: whether nothing is left to leave.
    """

    suspended: bool = False
    working: bool = False
    drains: bool = False
    drained: bool = False


def syncer_ready(state: SessionState) -> Condition | None:
    """Return SyncerReady; None while there is nothing to say yet."""
    if state.suspended:
        message = (
            "Nothing is synced in either direction, and what is there stays as it is: "
            "spec.maintenance.suspend is set, or spec.selector makes no sense (see Valid)"
        )
        return false(SYNCER_READY, INFO, SUSPENDED, message)
    if state.drained:
        message = "Nothing is left on the cluster (the SyncTarget is being deleted)"
        return false(SYNCER_READY, INFO, DRAINED, message)
    if state.drains:
        message = "What is assigned leaves the cluster (the SyncTarget is being deleted)"
        return false(SYNCER_READY, INFO, "Draining", message)
    if state.working:
        return true(SYNCER_READY, "SyncerConnected", "The syncer reaches both sides and works")
    return None
