"""The optional client-side limit on requests."""

from __future__ import annotations

from typing import Final

from kcpctl.errors import UsageError
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.logging import get_logger

__all__ = ["TokenBucket"]

_log = get_logger(__name__)

# RC-05.
_NOTED_SECONDS: Final = 0.05
_LONG_SECONDS: Final = 1.0
_LOG_INTERVAL_SECONDS: Final = 10.0


class TokenBucket:
    """Lets ``qps`` requests a second pass, and ``burst`` at once after a pause (RC-01).

    Without ``qps`` everything passes. ``acquire`` waits for a turn, in order of arrival. A caller
    that is cancelled while it waits gives its turn back. Waits above 50 ms are logged at debug
    level, one above 1 s every 10 s as a warning (RC-05). Clients may share one. On the I/O loop.
    """

    def __init__(
        self,
        qps: float | None,
        burst: int | None = None,
        *,
        host: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._host = host
        self._clock = clock
        self._warned_at: float | None = None
        self._tokens = 0.0
        self.change(qps, burst)

    @property
    def limits(self) -> bool:
        """Whether there is a limit at all."""
        return self._qps is not None

    def change(self, qps: float | None, burst: int | None = None) -> None:
        """Go on with another limit; it begins full. Who waits already keeps the turn it was given.

        Raises UsageError and changes nothing for one that would never let anything pass (RC-02).
        """
        if burst is None:
            burst = max(1, round((qps or 0) * 2))
        if (qps is not None and qps <= 0) or burst < 1:
            raise UsageError(f"want qps > 0 and burst >= 1, not {qps} and {burst}")
        self._qps, self._burst = qps, burst
        self._tokens = float(burst)
        self._filled_at = self._clock.monotonic()

    async def acquire(self) -> float:
        """Wait for a turn and return how many seconds that took."""
        if self._qps is None:
            return 0.0
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._qps)
        self._filled_at = now
        self._tokens -= 1
        if self._tokens >= 0:
            return 0.0
        wait_seconds = -self._tokens / self._qps
        self._tell(wait_seconds)
        try:
            await self._clock.asleep(wait_seconds)
        except BaseException:
            self._tokens += 1
            raise
        return wait_seconds

    def _tell(self, wait_seconds: float) -> None:
        now = self._clock.monotonic()
        recently = self._warned_at is not None and now - self._warned_at < _LOG_INTERVAL_SECONDS
        log = _log.debug
        if wait_seconds > _LONG_SECONDS and not recently:
            log, self._warned_at = _log.warning, now
        if wait_seconds > _NOTED_SECONDS:
            log("Waiting for the client's own limit", host=self._host, seconds=wait_seconds)
