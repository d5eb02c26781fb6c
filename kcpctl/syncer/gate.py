"""The gate: whether the syncer may touch the downstream cluster at all (decision 10, 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Protocol

from kcpctl.apis.admission import Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import LEGACY_SYNCTARGET_FINALIZER, SYNCTARGET_FINALIZER
from kcpctl.apis.workload import ORPHAN
from kcpctl.errors import KcpctlError, NotFound
from kcpctl.runtime import SYSTEM_CLOCK, Clock
from kcpctl.syncer.target import Target

__all__ = ["Gate", "GateClosed", "Getter", "Verdict", "is_gone", "judge"]


_HELD_BY: Final = frozenset({SYNCTARGET_FINALIZER, LEGACY_SYNCTARGET_FINALIZER})
# Less than any server takes to restart.
_PROOF_SECONDS: Final = 0.5


class GateClosed(KcpctlError):
    """The SyncTarget is not (any more) the one that this syncer works for, or is suspended."""


class Verdict(Enum):
    """What a look at the SyncTarget says. The value is a reason for messages."""

    ACTIVE = "is served"
    SUSPENDED = "is suspended (spec.maintenance.suspend)"
    UNCLEAR = "has a spec.selector or spec.supportedResourceTypes that makes no sense"
    GONE = "does not exist"
    REPLACED = "was deleted and made again (another uid)"
    DRAINING = "is being deleted, and its workloads leave the cluster"
    DELETING = "is being deleted, and its workloads are left alone"

    @property
    def has_syncer(self) -> bool:
        """Whether it is ours to send heartbeats for, if not to sync."""
        return self in {Verdict.ACTIVE, Verdict.DRAINING} or self.is_paused

    @property
    def is_paused(self) -> bool:
        """Whether there are heartbeats only: nothing is taken, and nothing that is there goes."""
        return self in {Verdict.SUSPENDED, Verdict.UNCLEAR}


def judge(sync_target: Mapping[str, Any] | None, uid: str) -> Verdict:
    """Return whether a SyncTarget as read (None: not found) may be served under ``uid``.

    Whether its workloads leave is over when the controller has let it go.
    """
    if sync_target is None:
        return Verdict.GONE
    metadata = sync_target.get("metadata") or {}
    spec = sync_target.get("spec") or {}
    if metadata.get("uid") != uid:
        return Verdict.REPLACED
    if metadata.get("deletionTimestamp") is not None:
        held = not _HELD_BY.isdisjoint(metadata.get("finalizers") or ())
        leaves = held and spec.get("deletionPolicy") != ORPHAN
        return Verdict.DRAINING if leaves else Verdict.DELETING
    if (spec.get("maintenance") or {}).get("suspend"):
        return Verdict.SUSPENDED
    try:
        Admission.of(spec)
    except ValueError:
        return Verdict.UNCLEAR
    return Verdict.ACTIVE


class Getter(Protocol):
    """What the gate needs of the SyncTargets' blocking client."""

    def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        """Read one object; raises NotFound."""


def is_gone(error: Exception) -> bool:
    """Whether a server says that an object is not there.

    One that starts, and any proxy, answers 404 to everything for a while, and gives no reason.
    """
    return isinstance(error, NotFound) and bool(error.reason)


class Gate:
    """Open while one SyncTarget is served in the way it was; once closed it stays closed.

    ``serves`` is that way: the verdict that must stay. ``require`` is cheap and asked before all
    work. ``reconfirm`` precedes every write: a server that was restarted may show objects of a
    successor before the watch of the SyncTarget tells of its own. ``confirm`` asks the server each
    time and precedes every *removal* downstream: one that was restarted empty shows all objects as
    gone. Neither closes the gate: a server that just starts may answer 404 for types it does not
    serve yet.
    Safe from any thread.
    """

    def __init__(
        self,
        target: Target,
        sync_targets: Getter,
        *,
        serves: Verdict = Verdict.ACTIVE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.target = target
        self.serves = serves
        self._sync_targets = sync_targets
        self._clock = clock
        self._reason = ""
        self._confirmed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether work may go on."""
        return not self._reason

    def close(self, reason: str) -> None:
        """Let nothing pass any more."""
        self._reason = reason

    def require(self) -> None:
        """Raise GateClosed unless open."""
        if self._reason:
            raise GateClosed(f"SyncTarget {self.target.name!r} {self._reason}")

    def confirm(self) -> None:
        """Read the SyncTarget live; raise GateClosed unless it is still served in that way."""
        self.require()
        asked_at = self._clock.monotonic()
        try:
            found: Unstructured | None = self._sync_targets.get(self.target.name)
        except NotFound:
            found = None
        verdict = judge(found, self.target.uid)
        if verdict is not self.serves:
            raise GateClosed(f"SyncTarget {self.target.name!r} {verdict.value}")
        self._confirmed_at = asked_at

    def reconfirm(self) -> None:
        """Confirm, unless that was done a moment ago: many writes in a row ask but now and then."""
        self.require()
        at = self._confirmed_at
        if at is None or self._clock.monotonic() - at >= _PROOF_SECONDS:
            self.confirm()
