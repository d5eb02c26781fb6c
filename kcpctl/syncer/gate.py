"""The gate: whether the syncer may touch the downstream cluster at all (decision 10)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.errors import KcpctlError, NotFound
from kcpctl.syncer.target import Target

__all__ = ["Gate", "GateClosed", "Getter", "Verdict", "judge", "judge_metadata"]


class GateClosed(KcpctlError):
    """The SyncTarget is not (any more) the one that this syncer works for."""


class Verdict(Enum):
    """What a look at the SyncTarget says. The value is a reason for messages."""

    ACTIVE = "is served"
    GONE = "does not exist"
    REPLACED = "was deleted and made again (another uid)"
    DELETING = "is being deleted"


def judge(sync_target: Mapping[str, Any] | None, uid: str) -> Verdict:
    """Return whether a SyncTarget as read (None: not found) may be served under ``uid``."""
    if sync_target is None:
        return Verdict.GONE
    metadata = sync_target.get("metadata") or {}
    return judge_metadata(metadata.get("uid"), metadata.get("deletionTimestamp"), uid)


def judge_metadata(found_uid: str | None, deletion_timestamp: str | None, uid: str) -> Verdict:
    """Return the same for a SyncTarget of which only this is known."""
    if found_uid != uid:
        return Verdict.REPLACED
    return Verdict.DELETING if deletion_timestamp else Verdict.ACTIVE


class Getter(Protocol):
    """What the gate needs of the SyncTargets' blocking client."""

    def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        """Read one object; raises NotFound."""


class Gate:
    """Open while one SyncTarget is served; once closed it stays closed.

    ``require`` is cheap and asked before every write downstream. ``confirm`` asks the server and
    precedes every *removal* downstream: an upstream server that was restarted empty shows all
    objects as gone, and the watch of the SyncTarget may be the last to say so. It does not close
    the gate: a server that just starts may answer 404 for types it does not serve yet.
    Safe from any thread.
    """

    def __init__(self, target: Target, sync_targets: Getter) -> None:
        self.target = target
        self._sync_targets = sync_targets
        self._reason = ""

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
        """Read the SyncTarget live; raise GateClosed unless it is served."""
        self.require()
        try:
            found: Unstructured | None = self._sync_targets.get(self.target.name)
        except NotFound:
            found = None
        verdict = judge(found, self.target.uid)
        if verdict is not Verdict.ACTIVE:
            raise GateClosed(f"SyncTarget {self.target.name!r} {verdict.value}")
