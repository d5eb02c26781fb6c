"""The settings of an election."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kcpctl.errors import UsageError
from kcpctl.runtime import SYSTEM_RANDOM, random_suffix

__all__ = ["ElectionOptions", "new_identity"]

# LE-02: a round of renewals must have room for a second try.
_JITTER: Final = 1.2


def new_identity(rng: random.Random = SYSTEM_RANDOM) -> str:
    """Return a name for this process that no other has, its restart included."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{random_suffix(8, rng)}"


@dataclass(frozen=True, slots=True)
class ElectionOptions:
    """Which Lease is fought for, and how fast.

    The durations have the field's names and defaults (LE-01): others take over when the Lease was
    not renewed for ``lease_seconds``, its holder gives up after ``renew_deadline_seconds`` without
    a renewal, and tries every ``retry_seconds``. Raises UsageError for what cannot work (LE-02).
    """

    name: str
    namespace: str
    identity: str
    lease_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the durations against one another."""
        if not (self.name and self.namespace and self.identity):
            raise UsageError("leader election needs a name, a namespace and an identity")
        durations = (self.lease_seconds, self.renew_deadline_seconds, self.retry_seconds)
        if min(durations) <= 0:
            raise UsageError("the durations of leader election must be longer than zero")
        if self.lease_seconds != int(self.lease_seconds):
            raise UsageError("the lease duration must be whole seconds: the Lease has no others")
        if self.lease_seconds <= self.renew_deadline_seconds:
            raise UsageError(
                f"the lease duration ({self.lease_seconds:g}s) must be longer than the renew "
                f"deadline ({self.renew_deadline_seconds:g}s)"
            )
        if self.renew_deadline_seconds <= self.retry_seconds * _JITTER:
            raise UsageError(
                f"the renew deadline ({self.renew_deadline_seconds:g}s) must be longer than "
                f"{_JITTER:g} times the retry period ({self.retry_seconds:g}s)"
            )
