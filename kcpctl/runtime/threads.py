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

    It is a list with one token, and whoever popped that is inside. Each of ``list.pop`` and
    ``list.append`` is one step that nobody sees half of: by the GIL, and in a free-threaded build
    by the list's own lock, which also makes what was written inside visible to the next one.
    Together they cost an eighth of a ``threading.Lock``'s ``acquire(False)`` and ``release``.

    ``enter()``, which raises IndexError when the lock is taken, and ``leave(None)`` are these C
    functions, for the hottest callers; the others use ``with``.
    """

    def __init__(self) -> None:
        self._token: list[None] = [None]
        self.enter: Final = self._token.pop
        self.leave: Final = self._token.append

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, whatever the time; ``timeout`` is there for the Condition's sake."""
        while True:
            try:
                self.enter()
            except IndexError:
                if not blocking:
                    return False
                time.sleep(_STEP_ASIDE_SECONDS)
            else:
                return True

    def release(self) -> None:
        """Give it back; raises RuntimeError when nobody holds it."""
        if self._token:
            raise RuntimeError("the lock is not held")
        self.leave(None)

    def condition(self) -> threading.Condition:
        """Return a new condition on this lock."""
        return threading.Condition(cast("threading.Lock", self))

    def _is_owned(self) -> bool:
        # The Condition asks, and would try to take the lock otherwise.
        return not self._token

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()
