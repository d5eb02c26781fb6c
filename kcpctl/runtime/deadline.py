"""A deadline for a piece of work on a worker thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from kcpctl.errors import DeadlineExceeded
from kcpctl.runtime.clock import Clock

__all__ = ["Deadline"]

T = TypeVar("T")


class Deadline:
    """When a piece of work has to be over.

    From :meth:`start` to :meth:`end` every blocking call that this thread makes on an I/O loop
    (:meth:`IOLoop.run`, so every call of a blocking client) keeps it: one that takes longer is
    cancelled and raises DeadlineExceeded, and so does one that begins later. Nothing else of a
    thread can be interrupted: not computations, nor calls that do not go through the loop.
    """

    def __init__(self, seconds: float, *, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._at = clock.monotonic() + seconds

    def start(self) -> None:
        """Let this thread keep it."""
        _current.set(self)

    def end(self) -> None:
        """Let this thread take its time again."""
        _current.set(None)

    @classmethod
    @contextmanager
    def within(cls, seconds: float, *, clock: Clock) -> Iterator[None]:
        """Keep a deadline inside the block; one that is kept already and comes sooner stays."""
        outer, inner = _current.get(), cls(seconds, clock=clock)
        token = _current.set(outer if outer is not None and outer._at < inner._at else inner)
        try:
            yield
        finally:
            _current.reset(token)

    @staticmethod
    def current() -> Deadline | None:
        """Return what this thread has to keep, if anything."""
        return _current.get()

    async def keep(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` does, or cancel it in time."""
        left = self._at - self._clock.monotonic()
        if left <= 0:
            work.close()
            raise self._exceeded()
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        timer = loop.create_task(self._clock.asleep(left))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if task.cancelled():
                raise self._exceeded()
            return task.result()
        finally:
            task.cancel()
            timer.cancel()

    def _exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"not done within {self._seconds:g} s")


_current: Final[contextvars.ContextVar[Deadline | None]] = contextvars.ContextVar(
    "kcpctl_deadline", default=None
)
