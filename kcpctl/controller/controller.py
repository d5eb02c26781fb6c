"""The run loop: informers' events become keys, worker threads reconcile them."""

from __future__ import annotations

import operator
import random
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Self

from kcpctl.controller.gate import Gate
from kcpctl.controller.mapping import MapFunction, own_key
from kcpctl.controller.metrics import ControllerMetrics
from kcpctl.controller.pending import Informer, PendingWrites
from kcpctl.controller.predicates import Predicate
from kcpctl.controller.repeats import Repeats
from kcpctl.controller.request import Reconciler
from kcpctl.controller.source import EnqueueHandler, HasLister, Lists, Source
from kcpctl.controller.worker import Worker
from kcpctl.informers import CLUSTER_INDEX, Registration
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    Metrics,
    get_logger,
    start_thread,
)
from kcpctl.workqueue import LOW_PRIORITY, Fair, QueueMetrics, QueueSnapshot, RateLimitingQueue
from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["Controller"]

_log = get_logger(__name__)

Belongs = Callable[[str], bool]
"""Whether a key is one of those meant."""


class Controller:
    """A queue of keys, the informers that fill it, and the workers that empty it.

    Promises: a key is never reconciled by two workers at once; an event during a reconcile gives
    exactly one more; ``done`` always runs (CL-13); workers start only when every watched informer
    has delivered its whole initial list (CL-01). How a reconcile ends decides what follows:

    - success: forget the key's failures (CL-09); with ``requeue_after_seconds`` run again then;
    - TerminalError: log, count, forget; nothing until the object changes (CL-10, mends CL-11);
    - NotConnected: no failure; the pool's notification brings the key back;
    - NotLeading: the lease is lost and this process about to end; the next leader has the key;
    - Conflict: again after 100 ms; TooManyRequests: when the server said, at most 30 s;
    - anything else: count a failure and run again after the limiter's back-off (CL-06). An
      exception that is not a KcpctlError is a bug: logged as an error, counted as a panic.

    A key does not run again before the watched informers have seen what its last run wrote (CS).
    Until then it is looked at every 100 ms, which is no reconcile; after 30 s it runs anyway.

    The default queue is fair: logical clusters take turns, however many keys each has, and within
    one the initial list and resyncs come last. With a single cluster that is first come first
    served. Another queue, with weights for example, can be passed in.

    ``watches`` and its like belong before ``start``. ``enqueue`` and ``remove`` may be called from
    any thread. ``stop`` lets what is queued and running finish within its timeout, then drops the
    rest; what was dropped comes back with the next process's initial list. A controller runs once.

    Parameters
    ----------
    workers: how many keys are reconciled at a time.
    max_per_cluster: how many of them may be of one logical cluster, so that one whose reconciles
        hang leaves workers to the others. When an informer of many clusters is watched the default
        is all workers but one, else there is no limit.
    reconcile_timeout_seconds: how long the calls of blocking clients may take in all within one
        reconcile; see :class:`kcpctl.runtime.Deadline`. It fails then, and is retried (CL-14).
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        workers: int = 4,
        max_per_cluster: int | None = None,
        reconcile_timeout_seconds: float | None = None,
        queue: RateLimitingQueue[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"controller {name!r} needs at least one worker, not {workers}")
        if queue is not None and max_per_cluster is not None:
            raise ValueError(
                f"controller {name!r}: the limit per cluster is its queue's own matter"
            )
        metrics = metrics or Metrics()
        self.name = name
        self.workers = workers
        self._fair = Fair(max_per_cluster=max_per_cluster)
        self._limited = max_per_cluster is not None or workers == 1
        self.queue: RateLimitingQueue[str] = queue or RateLimitingQueue(
            name, clock=clock, ordering=self._fair, metrics=QueueMetrics(metrics, name)
        )
        self._reconciler = reconciler
        self._timeout_seconds = reconcile_timeout_seconds
        self._clock = clock
        self._rng = rng
        self._metrics = ControllerMetrics(metrics, name, workers=workers)
        self._pending = PendingWrites(name)
        self._repeats = Repeats()
        self._gate: Gate | None = None
        self._at_removal: list[Callable[[Belongs], object]] = []
        self._registrations: list[tuple[Source, Registration]] = []
        self._own: list[Lists] = []
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []
        self._started = False

    def watches(
        self,
        informer: Source,
        *,
        map_to: MapFunction | None = None,
        predicates: Sequence[Predicate] = (),
        resync_seconds: float = 0.0,
    ) -> Self:
        """Enqueue a key for each event of ``informer`` that all ``predicates`` pass.

        The key is the object's own; ``map_to`` gives other ones (see :func:`for_owner`). With
        ``resync_seconds`` all of them come again that often, with low priority. Returns the
        controller, so that calls can be chained.
        """
        if self._started:
            raise RuntimeError(f"controller {self.name!r} runs already: watch before starting it")
        handler = EnqueueHandler(self.queue, map_to=map_to or own_key, predicates=tuple(predicates))
        self.reads(informer)
        registration = informer.add_handler(handler, resync_seconds=resync_seconds)
        self._registrations.append((informer, registration))
        if map_to is None and isinstance(informer, HasLister):
            self._own.append(informer.lister)
        return self

    def reads(self, informer: Source) -> Self:
        """Let keys wait also for this informer to see what they wrote.

        For informers whose listers the reconciler reads but whose events bring up no key; those
        that are watched need not be named.
        """
        if isinstance(informer, Informer):
            self._pending.watch(informer)
            if informer.spans_clusters and not self._limited:
                self.queue.arrange(partial(self._fair.limit, self.workers - 1))
                self._limited = True
        return self

    def on_removal(self, callback: Callable[[Belongs], object]) -> Self:
        """Call ``callback`` when clusters are removed, to drop what it keeps for keys that belong.

        It is given a function that tells whether a key is of those. It may be called from any
        thread, the I/O thread included, and more than once.
        """
        self._at_removal.append(callback)
        return self

    def admit_only(self, admits: Callable[[str], bool]) -> None:
        """Reconcile no key of a logical cluster for which ``admits`` is false.

        Such keys wait aside: whoever makes it true calls :meth:`resume` next. ``admits`` is called
        on the worker threads and must not block. Before the start.
        """
        self._gate = Gate(admits)

    def resume(self, cluster: str) -> None:
        """Reconcile what was kept waiting of a logical cluster, and all that it has. Any thread.

        All, because after :meth:`remove` nothing else would bring up what has not changed.
        """
        if self._gate is None:
            return
        keys = set(self._gate.release(cluster))
        for lister in self._own:
            keys.update(obj.key for obj in lister.cached_by_index(CLUSTER_INDEX, cluster))
        for key in keys:
            self.queue.add(key, LOW_PRIORITY)

    def enqueue(self, key: str) -> None:
        """Reconcile ``key`` soon."""
        self.queue.add(key)

    def enqueue_after(self, key: str, seconds: float) -> None:
        """Reconcile ``key`` in ``seconds``, unless something brings it up earlier."""
        self.queue.add_after(key, seconds)

    def remove(self, cluster: str) -> None:
        """End all that there is of a logical cluster; once more does nothing (fixes MCR-04).

        Its keys leave the queue, ready, waiting or to run again, with their failures, the bucket of
        their cluster and what is known of their writes. A reconcile under way ends, and nothing
        follows from it. Later events of the cluster count again, so end those first:
        :meth:`Manager.remove` does both.
        """
        self.remove_all({cluster})

    def remove_all(self, clusters: Collection[str]) -> None:
        """Do what :meth:`remove` does for several at once, in one pass over what there is."""
        for cluster in clusters:
            # In this order: a worker that is late finds that its key was removed.
            self.queue.remove_cluster(cluster)
            if self._gate is not None:
                self._gate.release(cluster)
        self._pending.remove_clusters(clusters)
        self._removed(lambda key: cluster_of_key(key) in clusters)

    def _removed(self, belongs: Belongs) -> None:
        self._repeats.remove(belongs)
        for callback in self._at_removal:
            callback(belongs)

    def snapshots(self) -> dict[str, QueueSnapshot[str]]:
        """Return what the queue holds right now, by the controller's name."""
        return {self.name: self.queue.snapshot()}

    @property
    def synced(self) -> bool:
        """Whether each watched informer has delivered its whole initial list."""
        return all(registration.synced for _, registration in self._registrations)

    @property
    def waiting_for(self) -> list[str]:
        """The informers that have not delivered their initial list yet."""
        return [
            source.description
            for source, registration in self._registrations
            if not registration.synced
        ]

    @property
    def running(self) -> bool:
        """Whether the workers run."""
        with self._lock:
            return bool(self._threads) and not self.queue.shutting_down

    def start(self) -> None:
        """Start the workers. Raises RuntimeError before the sync (CL-01) and twice (CL-05)."""
        if not self.synced:
            raise RuntimeError(
                f"controller {self.name!r} cannot start before its informers have synced: "
                f"{', '.join(self.waiting_for)}"
            )
        with self._lock:
            if self._started:
                raise RuntimeError(f"controller {self.name!r} was started already")
            self._started = True
            self._workers = [self._new_worker() for _ in range(self.workers)]
            self._threads = [
                start_thread(worker.run, name=f"{self.name}-{number}")
                for number, worker in enumerate(self._workers)
            ]
        _log.debug("Controller started", controller=self.name, workers=self.workers)

    def stop(self, timeout_seconds: float = 30.0) -> bool:
        """Finish what is queued and running, and end the workers; may be called twice.

        Returns False, after a warning that names the keys, when a reconcile did not end in time;
        its thread ends with the reconcile.
        """
        for _, registration in self._registrations:
            registration.remove()
        with self._lock:
            threads, self._started = self._threads, True
        deadline = self._clock.monotonic() + timeout_seconds
        if threads and not self.queue.shut_down_with_drain(timeout_seconds):
            for worker in self._workers:
                worker.give_up()
        self.queue.shut_down()
        for thread in threads:
            thread.join(max(deadline - self._clock.monotonic(), 0.1))
        if stuck := [thread.name for thread in threads if thread.is_alive()]:
            _log.warning(
                "Controller did not stop in time",
                controller=self.name,
                keys=",".join(self.queue.snapshot().processing),
                workers=len(stuck),
            )
        return not stuck

    def _new_worker(self) -> Worker:
        return Worker(
            self.name,
            self._reconciler,
            self.queue,
            self._pending,
            self._repeats,
            self._metrics.worker(),
            clock=self._clock,
            rng=self._rng,
            timeout_seconds=self._timeout_seconds,
            gate=self._gate,
            on_removed=lambda key: self._removed(partial(operator.eq, key)),
        )
