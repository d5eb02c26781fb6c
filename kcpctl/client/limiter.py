"""The optional client-side limit on requests."""

from __future__ import annotations

from kcpctl.errors import UsageError
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock

__all__ = ["TokenBucket"]


class TokenBucket:
    """Lets ``qps`` requests a second pass, and ``burst`` at once after a pause (RC-01).

    ``acquire`` waits for a turn, in order of arrival. A caller that is cancelled while it waits
    gives its turn back. One owner, on the I/O loop.
    """

    def __init__(self, qps: float, burst: int | None = None, *, clock: Clock = SYSTEM_CLOCK):
        burst = max(1, round(qps * 2)) if burst is None else burst
        if qps <= 0 or burst < 1:
            # RC-02: such a bucket would never let anything pass.
            raise UsageError(f"want qps > 0 and burst >= 1, not {qps} and {burst}")
        self._qps = qps
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock.monotonic()

    async def acquire(self) -> float:
        """Wait for a turn and return how many seconds that took."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._qps)
        self._filled_at = now
        self._tokens -= 1
        if self._tokens >= 0:
            return 0.0
        wait_seconds = -self._tokens / self._qps
        try:
            await self._clock.asleep(wait_seconds)
        except BaseException:
            self._tokens += 1
            raise
        return wait_seconds
