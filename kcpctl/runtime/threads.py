"""Threads with a name, and a pool for calls that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["BlockingPool", "start_thread"]

P = ParamSpec("P")
T = TypeVar("T")


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
