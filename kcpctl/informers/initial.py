"""What the informers of a process share about reading full states."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["PROCESS", "InitialStates"]

# Each state under way holds a few pages in memory and keeps the I/O thread busy; more at a time
# would only make all of them late, and the server's watch cache work for nothing (pitfall 7).
_LIMIT: Final = 16


class _Lane:
    """The places of one sort, and who waits for one. Guarded by the lock of its owner."""

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.holders: set[asyncio.Future[None]] = set()

    def join(self, turn: asyncio.Future[None]) -> None:
        self.holders.add(turn)
        if self.free:
            self.free -= 1
            turn.set_result(None)
        else:
            self.waiting.append(turn)

    def leave(self, turn: asyncio.Future[None]) -> None:
        """Give a place back, or the wish for one; once more does nothing."""
        if turn not in self.holders:
            return
        self.holders.discard(turn)
        if turn in self.waiting:
            self.waiting.remove(turn)
            return
        while self.waiting:
            following = self.waiting.popleft()
            try:
                following.get_loop().call_soon_threadsafe(_wake, following)
            except RuntimeError:  # its loop is closed
                self.holders.discard(following)
                continue
            return
        self.free += 1


class InitialStates:
    """How many full states may be read at once, and who cannot stream theirs.

    Those whose server did not answer the last time have places of their own, as many: servers that
    are away hold their places for long and must not keep others from those that answer (pitfall
    10). Safe from any thread, and from several event loops. Those who wait are served in order;
    being cancelled while waiting gives the place back.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._answering, self._silent = _Lane(limit), _Lane(limit)
        self._unable: set[tuple[str, str]] = set()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._lock:
            return len(self._answering.waiting) + len(self._silent.waiting)

    @asynccontextmanager
    async def turn(self, *, silent: bool = False) -> AsyncIterator[Callable[[], None]]:
        """Wait until there is room, and hold it; yields a function that gives it back early.

        ``silent`` is for a server that did not answer the last time.
        """
        lane = self._silent if silent else self._answering
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def give_back() -> None:
            with self._lock:
                lane.leave(turn)

        with self._lock:
            lane.join(turn)
        try:
            await turn
            yield give_back
        finally:
            give_back()

    def can_stream(self, server: str, resource: str) -> bool:
        """Whether nothing is known against streaming this resource from this server."""
        with self._lock:
            return (server, resource) not in self._unable

    def cannot_stream(self, server: str, resource: str) -> None:
        """Remember that the end of the state did not come; for as long as the process lives."""
        with self._lock:
            self._unable.add((server, resource))


def _wake(turn: asyncio.Future[None]) -> None:
    # One that was cancelled meanwhile has the turn all the same, and gives it back by itself.
    if not turn.done():
        turn.set_result(None)


PROCESS: Final = InitialStates()
"""The one of this process."""
