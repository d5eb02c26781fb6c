"""The write gate: no request that writes leaves this process without a lease."""

from __future__ import annotations

import math
from typing import Final

from kcpctl.errors import NotLeading
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["WriteGate"]

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class WriteGate:
    """Lets writes pass until a moment that whoever renews the lease keeps moving on.

    Closed at first. It closes by itself when nobody moves the moment: nothing that is stopped,
    stuck or asleep can hold it open. :meth:`close` is for good. The clock is one that goes on
    while the machine is suspended. Safe from any thread.

    What it cannot do: a request that is on the wire when the process is paused may land once.
    Versions in what is written are for that.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._until = -math.inf
        self._closed = False

    @property
    def remaining_seconds(self) -> float:
        """How long writes will pass from now on; 0 when they do not."""
        return 0.0 if self._closed else max(self._until - self._clock.boottime(), 0.0)

    def open_until(self, moment: float) -> None:
        """Let writes pass until ``moment`` on the clock's boottime."""
        self._until = moment

    def close(self) -> None:
        """Let no write pass any more."""
        self._closed = True

    def check(self, method: str, what: str) -> None:
        """Raise NotLeading if ``method`` writes and the gate is closed."""
        if method not in _READS and not self.remaining_seconds:
            raise NotLeading(f"{what} was not sent: this process does not hold its Lease")
