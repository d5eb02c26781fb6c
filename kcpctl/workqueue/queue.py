"""The work queue: a key is never handed to two workers at once, and no add is lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from kcpctl.runtime import SYSTEM_CLOCK, Clock, ShortLock
from kcpctl.workqueue.errors import ShutDown
from kcpctl.workqueue.keys import cluster_of_key
from kcpctl.workqueue.metrics import FOLDED_AT, QueueMetrics
from kcpctl.workqueue.ordering import Fifo, Ordering
from kcpctl.workqueue.snapshot import QueueSnapshot
from kcpctl.workqueue.waiting import WaitingKeys

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)

# Who sleeps looks up now and then: the operating system takes no wait until the end of time.
_LONGEST_SLEEP_SECONDS: Final = 3600.0
# What a worker that comes for a key queues of those that fell due meanwhile. It holds the lock for
# some 7 us each, and the I/O thread must not wait until it has queued fifty thousand of them.
_PROMOTED_AT_ONCE: Final = 1000


class WorkQueue(Generic[K]):
    """A queue of distinct keys between any producers and any workers.

    Every method may be called from any thread; only ``get`` and ``shut_down_with_drain`` block,
    so the others are safe on the I/O thread. Invariants, all under one lock:

    1. A key in the ordering is in ``_dirty`` and not in ``_processing`` (WQ-01).
    2. ``_dirty`` is what still has to run; ``_processing`` what was handed out and is not done.
    3. A key that is added while it is processed runs exactly once more, after ``done`` (WQ-05).
    4. When a key may be handed out and a getter sleeps, one is on its way. One at a time is enough:
       whoever leaves ``get`` while there is more, or while keys wait and nobody keeps the time,
       wakes the next one; so no wake-up is lost to a getter that gave up either.

    A worker calls ``done`` in ``finally``: a key that is never done is never handed out again, and
    holds up a drain (WQ-23). ``forget``-ing and delays are the faces on top of this one structure:
    :class:`DelayingQueue` and :class:`RateLimitingQueue`.

    Parameters
    ----------
    name: for metrics and messages.
    ordering: which ready key comes next; owned by this queue.
    metrics: None means that nothing is measured (WQ-21).
    """

    def __init__(
        self,
        name: str = "",
        *,
        clock: Clock = SYSTEM_CLOCK,
        ordering: Ordering[K] | None = None,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._metrics = metrics
        self._monotonic = clock.monotonic
        self._lock = ShortLock()
        self._enter, self._leave = self._lock.enter, self._lock.leave
        # Guarded by _lock, all of it.
        self._getters = self._lock.condition()
        self._timekeeper = self._lock.condition()
        self._drainers = self._lock.condition()
        self._sleepers = 0
        self._keeping_time = False
        self._woken = False
        self._ordering: Ordering[K] = Fifo() if ordering is None else ordering
        self._dirty: dict[K, float] = {}
        self._processing: dict[K, float] = {}
        # Of the dirty keys and of those in processing; 0 is left out.
        self._dirty_priority: dict[K, int] = {}
        self._processing_priority: dict[K, int] = {}
        # Those in processing whose cluster was removed meanwhile.
        self._removed: set[K] = set()
        self._waiting: WaitingKeys[K] = WaitingKeys()
        self._shutting_down = False
        # How often shut_down was called: each call releases the drains that had begun.
        self._shut_downs = 0
        # The metrics' logs of durations, at hand.
        self._waits: list[float] = []
        self._works: list[float] = []
        if metrics is not None:
            self._waits, self._works = metrics.waits.log, metrics.works.log
            metrics.bind(self._lock, self._gauges)

    def add(self, key: K, priority: int = 0) -> None:
        """Let ``key`` run soon; a planned later run is cancelled (decision 14, fixes DQ-06).

        Of several priorities the highest counts (PQ-03), if the ordering knows priorities at all.
        Ignored once shutdown has begun (WQ-08).
        """
        try:
            self._enter()
        except IndexError:
            self._lock.acquire()
        try:
            if not self._shutting_down:
                if self._waiting.due:
                    priority = self._cancel(key, priority)
                self._enqueue(key, priority)
        finally:
            self._leave(None)

    def get(self, timeout_seconds: float | None = None) -> K:
        """Wait for a key and take it; the caller must call :meth:`done` with it.

        Raises :class:`ShutDown` when the queue was shut down and is empty (WQ-09), TimeoutError
        when nothing came in time.
        """
        try:
            self._enter()
        except IndexError:
            self._lock.acquire()
        try:
            now = self._monotonic()
            deadline = None if timeout_seconds is None else now + timeout_seconds
            while True:
                due = self._promote(now, _PROMOTED_AT_ONCE) if self._waiting.due else None
                try:
                    key = self._ordering.pop()
                except IndexError:
                    pass
                else:
                    self._processing[key] = now
                    since = self._dirty.pop(key)
                    if self._metrics is not None:
                        self._waits.append(now - since)
                    if self._dirty_priority and (priority := self._dirty_priority.pop(key, 0)):
                        self._processing_priority[key] = priority
                    return key
                self._wait(due, now, deadline)
                now = self._monotonic()
        finally:
            if self._sleepers:
                self._pass_on()
            self._leave(None)

    def done(self, key: K) -> None:
        """Give back a key that was handed out; if it was added meanwhile it is queued again, last.

        Raises ValueError for a key that is not handed out (decision 14, fixes WQ-22).
        """
        try:
            self._enter()
        except IndexError:
            self._lock.acquire()
        try:
            since = self._processing.pop(key, None)
            if since is None:
                raise ValueError(f"key {key!r} of work queue {self.name!r} was not handed out")
            if self._processing_priority:
                self._processing_priority.pop(key, None)
            if self._metrics is not None:
                self._works.append(self._monotonic() - since)
                if len(self._works) >= FOLDED_AT:
                    self._metrics.fold()
            if self._removed:
                self._removed.discard(key)
            self._ordering.done(key)
            if key in self._dirty:
                self._ordering.push(key, self._dirty_priority.get(key, 0))
            elif self._shutting_down:
                self._check_drained()
            # The key itself is ready again, or another one that was held back.
            if self._sleepers and self._ordering.can_pop():
                self._wake_getter()
        finally:
            self._leave(None)

    def remove_cluster(self, name: str) -> None:
        """Drop the keys of a logical cluster, queued or waiting.

        A key that is being processed stays until it is ``done``, and does not run again: what its
        worker plans for later is dropped too, but a new add of it counts. How long it takes is the
        ordering's matter: with :class:`Fair`, by the number of that cluster's keys and of the
        clusters, with the others by the number of all queued keys.
        """
        with self._lock:
            dropped = self._ordering.remove_cluster(name)
            running = [key for key in self._processing if cluster_of_key(key) == name]
            self._removed.update(running)
            dropped += running
            for key in dropped:
                self._dirty.pop(key, None)
                self._dirty_priority.pop(key, None)
            self._waiting.remove_cluster(name)
            if self._shutting_down:
                self._pass_on()
                self._check_drained()

    def was_removed(self, key: K) -> bool:
        """Whether the cluster of a key in processing was removed since it was handed out."""
        return key in self._removed

    def arrange(self, change: Callable[[], object]) -> None:
        """Call what changes the ordering, while nobody uses it."""
        with self._lock:
            change()

    def __len__(self) -> int:
        """Return how many keys are ready: not processing, not waiting for their time (WQ-17)."""
        with self._lock:
            self._promote(self._monotonic())
            return self._ready()

    def snapshot(self) -> QueueSnapshot[K]:
        """Return what is queued, waiting and processing right now."""
        with self._lock:
            now = self._monotonic()
            self._promote(now)
            return QueueSnapshot(
                queued={key: now - since for key, since in self._dirty.items()},
                waiting={key: due - now for key, due in self._waiting.times().items()},
                processing={key: now - since for key, since in self._processing.items()},
            )

    @property
    def shutting_down(self) -> bool:
        """Whether shutdown has begun."""
        return self._shutting_down

    def shut_down(self) -> None:
        """Take no more keys; what is ready is still handed out, what waits is dropped (DQ-11).

        Wakes all getters, does not wait for workers, and releases a blocked drain (WQ-10, WQ-13).
        """
        with self._lock:
            self._shut_downs += 1
            self._begin_shutdown()
            self._drainers.notify_all()

    def shut_down_with_drain(self, timeout_seconds: float | None = None) -> bool:
        """Shut down and wait until every ready key was handed out and every worker is done.

        So at least one worker must go on calling ``get``. Returns False when the time was over or
        :meth:`shut_down` was called meanwhile (decision 14, fixes WQ-11 and WQ-24).
        """
        with self._lock:
            self._begin_shutdown()
            shut_downs = self._shut_downs
            deadline = None
            if timeout_seconds is not None:
                deadline = self._monotonic() + timeout_seconds
            while self._dirty or self._processing:
                left = None if deadline is None else deadline - self._monotonic()
                if self._shut_downs != shut_downs or (left is not None and left <= 0):
                    return False
                self._clock.wait(self._drainers, left)
            return True

    # Under the lock.

    def _cancel(self, key: K, priority: int) -> int:
        """Let ``key`` wait no more; return the higher one of the two priorities."""
        waited_with = self._waiting.cancel(key)
        return priority if waited_with is None else max(priority, waited_with)

    def _enqueue(self, key: K, priority: int, now: float | None = None) -> None:
        if key in self._dirty:
            if priority > self._dirty_priority.get(key, 0):
                self._dirty_priority[key] = priority
            if key not in self._processing:
                self._ordering.touch(key, priority)
            return
        if key not in self._processing:
            # First, so that a key that the ordering refuses (Fair wants strings) leaves no trace.
            self._ordering.push(key, priority)
            if self._sleepers:
                self._wake_getter()
        self._dirty[key] = self._monotonic() if now is None else now
        if priority:
            self._dirty_priority[key] = priority
        if self._metrics is not None:
            self._metrics.adds += 1

    def _ready(self) -> int:
        return len(self._dirty) - sum(key in self._dirty for key in self._processing)

    def _promote(self, now: float, most: int | None = None) -> float | None:
        """Queue the waiting keys that are due; return when the next one is."""
        for key, priority in self._waiting.pop_due(now, most):
            self._enqueue(key, priority, now)
        return self._waiting.next_due()

    def _wait(self, due: float | None, now: float, deadline: float | None) -> None:
        """Sleep until woken, or raise when there is nothing to sleep for any more.

        One getter, the timekeeper, sleeps no longer than until the next key is due.
        """
        if due is not None and due <= now:
            return  # more are due than were queued at once, and those were held back
        if self._shutting_down and not self._ready():
            raise ShutDown(f"work queue {self.name!r} is shut down")
        left = None if deadline is None else min(deadline - now, _LONGEST_SLEEP_SECONDS)
        if left is not None and left <= 0:
            raise TimeoutError(f"no key in work queue {self.name!r} in time")
        self._sleepers += 1
        try:
            if due is None or self._keeping_time:
                self._clock.wait(self._getters, left)
                return
            self._keeping_time = True
            try:
                longest = _LONGEST_SLEEP_SECONDS if left is None else left
                self._clock.wait(self._timekeeper, min(due - now, longest))
            finally:
                self._keeping_time = False
        finally:
            self._sleepers -= 1
            self._woken = False

    def _wake_getter(self) -> None:
        """Wake one getter, unless one is on its way."""
        if self._sleepers and not self._woken:
            self._woken = True
            # The timekeeper may sleep longer than anybody, and passes the role on when it leaves.
            (self._timekeeper if self._keeping_time else self._getters).notify()

    def _wake_timekeeper(self) -> None:
        """Let whoever keeps the time look at it again, or somebody begin."""
        if self._keeping_time:
            self._timekeeper.notify()
        else:
            self._wake_getter()

    def _pass_on(self) -> None:
        if self._ordering.can_pop():
            self._wake_getter()
        elif self._shutting_down:
            # Those that waited for a key that was held back, and is gone now, end.
            if not self._ready():
                self._getters.notify_all()
        elif self._waiting.due and not self._keeping_time:
            self._wake_getter()

    def _begin_shutdown(self) -> None:
        if not self._shutting_down:
            self._promote(self._monotonic())
            self._waiting.clear()
            self._shutting_down = True
        self._getters.notify_all()
        self._timekeeper.notify_all()
        self._check_drained()

    def _check_drained(self) -> None:
        if not self._dirty and not self._processing:
            self._drainers.notify_all()
            if self._metrics is not None:
                self._metrics.unbind()

    def _gauges(self) -> tuple[float, ...]:
        """What the metrics ask for at scrape time: depth, delayed, unfinished, longest."""
        now = self._monotonic()
        ages = [now - since for since in self._processing.values()]
        return len(self._dirty), len(self._waiting.due), sum(ages), max(ages, default=0.0)
