"""What the informers of a process share about reading full states."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["PROCESS", "InitialStates"]

# Each state under way holds a few pages in memory and keeps the I/O thread busy; more at a time
# would only make all of them late, and the server's watch cache work for nothing (pitfall 7).
_LIMIT: Final = 16


class InitialStates:
    """How many full states may be read at once, and who cannot stream theirs.

    Safe from any thread, and from several event loops. Those who wait are served in order; being
    cancelled while waiting gives the place back.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._unable: set[tuple[str, str]] = set()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._lock:
            return len(self._waiting)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until there is room, and hold it."""
        with self._lock:
            turn = asyncio.get_running_loop().create_future()
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._waiting.append(turn)
        try:
            await turn
            yield
        finally:
            self._give_back(turn)

    def can_stream(self, server: str, resource: str) -> bool:
        """Whether nothing is known against streaming this resource from this server."""
        with self._lock:
            return (server, resource) not in self._unable

    def cannot_stream(self, server: str, resource: str) -> None:
        """Remember that the end of the state did not come; for as long as the process lives."""
        with self._lock:
            self._unable.add((server, resource))

    def _give_back(self, turn: asyncio.Future[None]) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
            while self._waiting:
                following = self._waiting.popleft()
                try:
                    following.get_loop().call_soon_threadsafe(_wake, following)
                except RuntimeError:  # its loop is closed
                    continue
                return
            self._free += 1


def _wake(turn: asyncio.Future[None]) -> None:
    # One that was cancelled meanwhile has the turn all the same, and gives it back by itself.
    if not turn.done():
        turn.set_result(None)


PROCESS: Final = InitialStates()
"""The one of this process."""
