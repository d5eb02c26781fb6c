"""The queue with keys that come later."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from kcpctl.workqueue.queue import WorkQueue

__all__ = ["DelayingQueue"]

K = TypeVar("K", bound=Hashable)


class DelayingQueue(WorkQueue[K]):
    """A :class:`WorkQueue` whose keys can be planned for later.

    There is no timer thread: a worker that waits in ``get`` keeps the time, so a key that is due
    while all workers are busy is taken by the first one that is free. All times are the injected
    clock's (DQ-13). Waiting keys are dropped at shutdown, also by a drain (DQ-11): whoever starts
    again gets them from its initial list.
    """

    def add_after(self, key: K, seconds: float, priority: int | None = None) -> None:
        """Add ``key`` when ``seconds`` have passed; of two plans the earlier one wins (DQ-03).

        Zero or less is an immediate add (DQ-02). Without a priority it keeps the one with which it
        is being processed (PQ-16), else 0. Ignored once shutdown has begun (DQ-10), and for a key
        in processing whose cluster was removed: its worker is late.
        """
        self._plan(key, seconds, priority)

    def _plan(self, key: K, seconds: float, priority: int | None) -> bool:
        """Do that; return False for a key that was removed."""
        try:
            self._enter()
        except IndexError:
            self._lock.acquire()
        try:
            if key in self._removed:
                return False
            if self._shutting_down:
                return True
            if self._metrics is not None:
                self._metrics.retries += 1
            if priority is None:
                priority = self._processing_priority.get(key, 0)
            if seconds > 0:
                if self._waiting.schedule(key, self._monotonic() + seconds, priority):
                    self._wake_timekeeper()
            else:  # NaN as well: early is better than never
                self._enqueue(key, self._cancel(key, priority))
            return True
        finally:
            self._leave(None)
