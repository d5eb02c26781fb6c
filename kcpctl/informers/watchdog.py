"""The client-side deadline of a watch: a dead connection looks like a quiet one (RF-41)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from kcpctl.errors import TransportTimeout
from kcpctl.runtime import Clock, TaskSet

__all__ = ["NoProgress", "Watchdog"]

# Servers with a watch cache send a bookmark about every minute; three missed ones are a sign.
_QUIET_SECONDS: Final = 180.0
# How often the quiet is looked at.
_LOOK_SECONDS: Final = 60.0
# Pitfall 6: how long a state that is streamed may pause, and take in all. Before the first sign of
# life it has longer: servers that do not answer at all are for the transport's timeout (30 s), and
# say nothing about streams.
_STATE_OPENING_SECONDS: Final = 60.0
# Pitfall 10: how long a server that does not answer may keep others from reading their states.
_GIVE_WAY_SECONDS: Final = 2.0
_STATE_QUIET_SECONDS: Final = 30.0
_STATE_SECONDS: Final = 300.0


class NoProgress(TransportTimeout):
    """A state that is streamed does not come to its end (WL-09)."""


class Watchdog:
    """An async context manager around the reading of one watch.

    It interrupts the reading and raises TransportTimeout when ``limit_seconds`` have passed, or
    when a watch that has shown a bookmark shows no sign of life for three minutes (never before
    the first bookmark: some servers send none). With ``state`` it raises NoProgress until
    :meth:`complete` was called: when nothing came for 30 s (60 s in the beginning), or after five
    minutes. :meth:`interrupt` has it raise something else. ``give_way`` is called when nothing of
    the state has come for 2 s in the beginning.
    """

    def __init__(
        self,
        tasks: TaskSet,
        clock: Clock,
        limit_seconds: float,
        *,
        state: bool = False,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._deadline = clock.monotonic() + limit_seconds
        self._alive_at = self._started_at = clock.monotonic()
        self._state = state
        self._give_way = give_way
        self._state_quiet_seconds = _STATE_OPENING_SECONDS
        self._bookmarked = False
        self._reason = ""
        self._error: Exception | None = None
        self._guard: asyncio.Task[None] | None = None
        self._parent: asyncio.Task[object] | None = None

    @property
    def alive_at(self) -> float:
        """When the watch last showed a sign of life, on the monotonic clock."""
        return self._alive_at

    @property
    def awaits_state(self) -> bool:
        """Whether a state is being sent and not complete."""
        return self._state

    def alive(self) -> None:
        """Note an event, a bookmark, or that the server has begun to answer."""
        self._alive_at = self._clock.monotonic()
        self._state_quiet_seconds = _STATE_QUIET_SECONDS

    def bookmarked(self) -> None:
        """Note that this server sends bookmarks."""
        self._bookmarked = True

    def complete(self) -> None:
        """Note that the state has been sent in full; from now on it is an ordinary watch."""
        self._state = False

    def interrupt(self, error: Exception) -> None:
        """Have the reading raise ``error``; for another task than the one that reads."""
        if not self._reason and self._guard is not None and self._parent is not None:
            self._reason, self._error = "asked to", error
            self._guard.cancel()
            self._parent.cancel()

    async def __aenter__(self) -> Self:
        self._parent = parent = asyncio.current_task()
        assert parent is not None, "a watch is read by a task"
        self._guard = self._tasks.spawn(self._interrupt(parent), name="watchdog")
        return self

    async def _interrupt(self, parent: asyncio.Task[object]) -> None:
        if self._state:
            await self._clock.asleep(_GIVE_WAY_SECONDS)
            if self._state_quiet_seconds == _STATE_OPENING_SECONDS:
                self._give_way()
        while not self._reason:
            now = self._clock.monotonic()
            if self._state:
                quiet_until = self._alive_at + self._state_quiet_seconds
                due = min(self._started_at + _STATE_SECONDS, quiet_until)
                self._reason = "the end of the state does not come" if now >= due else ""
                pause = min(due - now, _STATE_QUIET_SECONDS)
            elif now >= self._deadline:
                self._reason = "the server did not end the watch in time"
            elif self._bookmarked and now - self._alive_at >= _QUIET_SECONDS:
                self._reason = "neither an event nor a bookmark for three minutes"
            else:
                pause = min(self._deadline - now, _LOOK_SECONDS)
            if not self._reason:
                await self._clock.asleep(pause)
        parent.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._guard is not None:
            self._guard.cancel()
        if not self._reason:
            return
        # Ours, unless somebody else cancelled the task as well; see asyncio.timeout.
        task = asyncio.current_task()
        if task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            failure = NoProgress if self._state else TransportTimeout
            raise self._error or failure(f"watch interrupted: {self._reason}") from error
