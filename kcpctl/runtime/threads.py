"""Threads with a name, a pool for calls that block, and a lock for sections that do not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar, cast

__all__ = ["BlockingPool", "ShortLock", "start_thread"]

P = ParamSpec("P")
T = TypeVar("T")

# Long enough for the thread that was interrupted inside the section to be woken and to leave it.
_STEP_ASIDE_SECONDS: Final = 0.00005


def start_thread(
    target: Callable[[], None], *, name: str, daemon: bool = False
) -> threading.Thread:
    """Start and return a thread. Its owner joins it; ``daemon`` is for watchdogs only."""
    thread = threading.Thread(target=target, name=name, daemon=daemon)
    thread.start()
    return thread


class BlockingPool:
    """A few threads for file reads and other short blocking calls of the event loop."""

    def __init__(self, name: str, *, threads: int = 4) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``call`` on one of the threads and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Drop what has not started, wait for what runs."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class ShortLock:
    """Mutual exclusion for sections of a few microseconds that many threads enter.

    A thread that finds a ``threading.Lock`` taken sleeps in the kernel, and is handed the lock
    while it does not hold the GIL; so the next one finds it taken too, and soon every section
    costs a switch of threads. Here a thread that finds it taken steps aside and tries again:
    only a thread that runs ever holds it. Not reentrant, not fair, and nobody may block inside.
    Right without a GIL as well.

    ``try_acquire(False)`` and ``release`` are the C functions, for the hottest callers.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.try_acquire: Final = self._lock.acquire
        self.release: Final = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, whatever the time; ``timeout`` is there for the Condition's sake."""
        while not self.try_acquire(False):
            if not blocking:
                return False
            time.sleep(_STEP_ASIDE_SECONDS)
        return True

    def condition(self) -> threading.Condition:
        """Return a new condition on this lock."""
        return threading.Condition(cast("threading.Lock", self))

    def _is_owned(self) -> bool:
        # The Condition asks, and would try to take the lock otherwise.
        return self._lock.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()
