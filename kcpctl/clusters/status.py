"""What the pool tells about a connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["ConnectionReason", "ConnectionState", "ConnectionStatus"]


class ConnectionState(StrEnum):
    """Where a connection stands. A client is served in Syncing, Ready and Degraded only."""

    PENDING = "Pending"
    """Known, but not tried yet."""
    CONNECTING = "Connecting"
    """The first attempt with these credentials is under way."""
    SYNCING = "Syncing"
    """The last probe succeeded, and a shared watch has not read its state since it connected."""
    READY = "Ready"
    """The last probe succeeded, and every shared watch is up to date."""
    DEGRADED = "Degraded"
    """Probes fail, but not often enough yet to give the connection up."""
    DISCONNECTED = "Disconnected"
    """Not usable; attempts go on unless the credentials themselves are unusable."""
    DRAINING = "Draining"
    """Being removed from the pool: its watches, connections and tasks are ending."""
    GONE = "Gone"
    """Removed from the pool."""


class ConnectionReason(StrEnum):
    """Why a connection is in its state, fit for a condition's reason."""

    CONNECTED = "Connected"
    CONNECTION_FAILED = "ConnectionFailed"
    UNAUTHORIZED = "Unauthorized"
    CERTIFICATE_INVALID = "CertificateInvalid"
    NOT_CHECKED = "NotChecked"


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A connection at one moment.

    ``since`` is wall-clock seconds of the last change of state; ``reason`` one of
    :class:`ConnectionReason` or what the caller gave to ``ClusterPool.fail``; ``message`` one line
    without secrets; ``version`` the server's gitVersion, "" until it is known; ``source`` where
    the newest credentials are from; ``rotation`` why these do not work while those before them do;
    ``next_attempt_in_seconds`` None when no attempt is planned or one is under way;
    ``cached_objects`` how many objects its shared watches hold.
    """

    key: str
    state: ConnectionState
    since: float
    reason: str
    message: str
    version: str = ""
    server: str = ""
    next_attempt_in_seconds: float | None = None
    cached_objects: int = 0
    source: str = ""
    rotation: str = ""

    @property
    def connected(self) -> bool:
        """Whether a client is served."""
        return self.state in _SERVED


_SERVED: Final = frozenset(
    {ConnectionState.SYNCING, ConnectionState.READY, ConnectionState.DEGRADED}
)
