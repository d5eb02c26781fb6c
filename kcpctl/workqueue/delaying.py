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

    def add_after(self, key: K, seconds: float) -> None:
        """Add ``key`` when ``seconds`` have passed; of two plans the earlier one wins (DQ-03).

        Zero or less is an immediate add (DQ-02). Ignored once shutdown has begun (DQ-10).
        """
        with self._lock:
            if self._shutting_down:
                return
            if self._metrics is not None:
                self._metrics.retries.inc()
            now = self._clock.monotonic()
            if seconds <= 0:
                self._waiting.cancel(key)
                self._enqueue(key, now)
            elif self._waiting.schedule(key, now + seconds):
                # Whoever keeps the time has to wait less; or somebody has to begin.
                self._wake_getter()
