"""What the syncer says of itself: from the state of its session to the condition SyncerReady."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kcpctl.apis.conditions import ERROR, INFO, WARNING, Condition, false, true
from kcpctl.apis.synctarget_status import (
    DRAINED,
    DRAINING,
    SUSPENDED,
    SYNCER_DISCONNECTED,
    SYNCER_READY,
)

__all__ = ["LASTING_SECONDS", "SessionState", "syncer_ready"]

LASTING_SECONDS: Final = 30.0
"""How long an object may fail before the condition tells of it."""
_COLLISION: Final = "NamespaceCollision"
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class SessionState:
    """What SyncerReady depends on.

    Attributes
    ----------
    suspended: whether the session is paused, by the SyncTarget's owner or by rules without sense.
    working: whether all caches have synced once and the work between them has begun.
    unreachable: why the cluster cannot be worked with, "" if it can.
    failing: what has not been synced for long, as "controller key", and the reason in one word.
    drains: whether the SyncTarget is being deleted, and what is assigned leaves.
    drained: whether nothing is left to leave.
    """

    suspended: bool = False
    working: bool = False
    unreachable: str = ""
    failing: Mapping[str, str] = field(default_factory=dict)
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
        if state.unreachable:
            message += f"; not yet: {state.unreachable}"
        return false(SYNCER_READY, INFO, DRAINING, message)
    if state.unreachable:
        return false(SYNCER_READY, ERROR, SYNCER_DISCONNECTED, state.unreachable)
    if not state.working:
        return None
    if state.failing:
        return _failing(state.failing)
    return true(SYNCER_READY, "SyncerConnected", "The syncer reaches both sides and works")


def _failing(problems: Mapping[str, str]) -> Condition:
    """Name a few objects, collisions first: what fails in full, with its figures, is in the log."""
    ordered = sorted(problems.items(), key=lambda item: (item[1] != _COLLISION, item[0]))
    shown = ", ".join(f"{_name(what)} ({reason})" for what, reason in ordered[:_SHOWN])
    more = " and others" if len(ordered) > _SHOWN else ""
    reason = _COLLISION if ordered[0][1] == _COLLISION else "SyncFailed"
    message = f"Not synced for more than {LASTING_SECONDS:g}s: {shown}{more}; the syncer logs why"
    return false(SYNCER_READY, WARNING, reason, message)


def _name(what: str) -> str:
    """Return ``deployments shop/web`` of ``syncer-deployments root:demo|shop/web``."""
    controller, _, key = what.partition(" ")
    return f"{controller.removeprefix('syncer-')} {key.rpartition('|')[2]}"
