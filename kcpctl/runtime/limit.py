"""``asyncio.timeout``, by a :class:`Clock`."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from kcpctl.runtime.clock import Clock

__all__ = ["Limit"]


class Limit:
    """``async with Limit(5, clock):`` cancels the block after 5 seconds and raises TimeoutError.

    It costs a timer, and no task: a probe with two tasks of its own took half as long again.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._over = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._stop = self._clock.call_later(self._seconds, self._end)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        if not self._over:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._over = True
        self._task.cancel()
