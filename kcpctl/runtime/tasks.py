"""Tasks with a name, an owner and a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from kcpctl.runtime.logging import get_logger

__all__ = ["TaskSet", "gather_all"]

T = TypeVar("T")
_log = get_logger(__name__)


class TaskSet:
    """The tasks that one object owns.

    ``spawn`` starts a named task. A task that ends with an exception is logged with its name and
    never takes the others down. ``close`` cancels what still runs and returns when all of it has
    ended; afterwards ``spawn`` raises. Call all of it on the event loop's thread.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start ``coroutine`` as a task named ``owner/name``."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{self.owner} is closed: {name} cannot start")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self.owner}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Task failed", task=task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel every task and wait until each has ended. May be called more than once."""
        self._closed = True
        while others := self._tasks - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)


async def gather_all(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Run coroutines side by side as children of this task; the first error cancels the rest."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]
