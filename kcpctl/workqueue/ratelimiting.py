"""The queue that controllers use: keys that failed come back later and later."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from kcpctl.runtime import SYSTEM_CLOCK, Clock
from kcpctl.workqueue.delaying import DelayingQueue
from kcpctl.workqueue.limiters import RateLimiter, default_limiter
from kcpctl.workqueue.metrics import QueueMetrics
from kcpctl.workqueue.ordering import Ordering

__all__ = ["RateLimitingQueue"]

K = TypeVar("K", bound=Hashable)


class RateLimitingQueue(DelayingQueue[K]):
    """A :class:`DelayingQueue` with a limiter that says how long a failed key waits.

    After a success the loop calls ``forget``, or the next unrelated failure starts at the old,
    long delay and the failure counts grow without bound (RL-16).
    """

    def __init__(
        self,
        name: str = "",
        *,
        limiter: RateLimiter[K] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ordering: Ordering[K] | None = None,
        metrics: QueueMetrics | None = None,
    ) -> None:
        super().__init__(name, clock=clock, ordering=ordering, metrics=metrics)
        self._limiter: RateLimiter[K] = default_limiter() if limiter is None else limiter

    def add_rate_limited(self, key: K, priority: int | None = None) -> None:
        """Count a failure of ``key`` and add it after the delay that the limiter says (RL-14).

        The priority is as with ``add_after``.
        """
        if not self._plan(key, self._limiter.when(key), priority):
            # Nothing will run that could clear it.
            self._limiter.forget(key)

    def forget(self, key: K) -> None:
        """Clear the failures of ``key``; a queued or waiting key stays where it is (RL-15)."""
        self._limiter.forget(key)

    def num_requeues(self, key: K) -> int:
        """Return how often ``key`` has failed since it was forgotten."""
        return self._limiter.num_requeues(key)

    def forget_cluster(self, name: str) -> None:
        """Clear the failures of every key of a cluster (RL-17); the keys stay where they are."""
        self._limiter.forget_cluster(name)

    def remove_cluster(self, name: str) -> None:
        """Drop the keys of a cluster that is gone, queued or waiting, and their failures.

        A key that is being processed stays until it is ``done``, and does not run again.
        """
        super().remove_cluster(name)
        self._limiter.forget_cluster(name)
