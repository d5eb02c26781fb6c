"""The budget of connects: many clusters at once, and a hanging one holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from kcpctl.runtime import Clock

__all__ = ["PATIENCE_SECONDS", "ConnectBudget"]

PATIENCE_SECONDS: Final = 2.0  # decision 16


class ConnectBudget:
    """At most ``size`` connects share the budget at one time.

    A connect that takes longer than 2 s leaves the budget and goes on outside it, so clusters
    that accept and never answer cost nobody a place for longer. Belongs on the I/O loop.
    """

    def __init__(self, size: int, *, clock: Clock) -> None:
        self._places = asyncio.Semaphore(size)
        self._clock = clock

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for the block, for 2 s at most."""
        await self._places.acquire()
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        keep_waiting = self._clock.call_later(PATIENCE_SECONDS, leave)
        try:
            yield
        finally:
            keep_waiting()
            leave()
