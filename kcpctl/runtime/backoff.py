"""Exponential back-off with full jitter (decision 15: one table, jitter everywhere)."""

from __future__ import annotations

import random

from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.entropy import SYSTEM_RANDOM

__all__ = ["Backoff"]


class Backoff:
    """The delays between attempts at one thing.

    ``next()`` returns a delay drawn evenly from (0, ceiling] and doubles the ceiling, from
    ``initial_seconds`` up to ``max_seconds``. After ``reset_after_seconds`` without being asked
    the ceiling starts over (RF-04). Not thread-safe: one owner.
    """

    def __init__(
        self,
        initial_seconds: float,
        max_seconds: float,
        *,
        factor: float = 2.0,
        reset_after_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        if not 0 < initial_seconds <= max_seconds:
            raise ValueError(f"want 0 < initial ({initial_seconds}) <= max ({max_seconds})")
        self.initial_seconds = initial_seconds
        self.max_seconds = max_seconds
        self.attempts = 0
        self._factor = factor
        self._reset_after_seconds = reset_after_seconds
        self._clock = clock
        self._rng = rng
        self._ceiling = initial_seconds
        self._asked_at = clock.monotonic()

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        now = self._clock.monotonic()
        idle = now - self._asked_at
        if self._reset_after_seconds is not None and idle >= self._reset_after_seconds:
            self.reset()
        self._asked_at = now
        self.attempts += 1
        ceiling = self._ceiling
        self._ceiling = min(ceiling * self._factor, self.max_seconds)
        return ceiling * (1.0 - self._rng.random())

    def reset(self) -> None:
        """Start over at ``initial_seconds``: the thing worked, or its credentials changed."""
        self.attempts = 0
        self._ceiling = self.initial_seconds
