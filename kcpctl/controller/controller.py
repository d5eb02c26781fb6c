"""The run loop: informers' events become keys, worker threads reconcile them."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Final, Self

from kcpctl.controller.mapping import MapFunction, own_key
from kcpctl.controller.metrics import ControllerMetrics, Outcome
from kcpctl.controller.predicates import Predicate
from kcpctl.controller.request import Reconciler, Request, Result
from kcpctl.controller.source import EnqueueHandler, Source
from kcpctl.errors import (
    Conflict,
    KcpctlError,
    NotConnected,
    NotLeading,
    TerminalError,
    TooManyRequests,
)
from kcpctl.informers import Registration
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    Metrics,
    get_logger,
    log_fields,
    new_uid,
    start_thread,
)
from kcpctl.workqueue import Fair, QueueMetrics, RateLimitingQueue, ShutDown

__all__ = ["Controller"]

_log = get_logger(__name__)

# The object changed under the reconcile: the new version is on its way through the watch. Short
# and fixed, and no failure (CS-08: as a failure it could park the key for minutes).
_CONFLICT_DELAY_SECONDS: Final = 0.1
# A server that asks for more than this is asked again all the same.
_MAX_RETRY_AFTER_SECONDS: Final = 30.0
_DEFAULT_RETRY_AFTER_SECONDS: Final = 1.0
# The pool notifies when the cluster is back; this is for a notification that went astray.
_NOT_CONNECTED_SAFETY_SECONDS: Final = 30.0


class Controller:
    """A queue of keys, the informers that fill it, and the workers that empty it.

    Promises: a key is never reconciled by two workers at once; an event during a reconcile gives
    exactly one more; ``done`` always runs (CL-13); workers start only when every watched informer
    has delivered its whole initial list (CL-01). How a reconcile ends decides what follows:

    - success: forget the key's failures (CL-09); with ``requeue_after_seconds`` run again then;
    - TerminalError: log, count, forget; nothing until the object changes (CL-10, mends CL-11);
    - NotConnected: no failure; the pool's notification brings the key back;
    - Conflict: again after 100 ms; TooManyRequests: when the server said, at most 30 s;
    - anything else: count a failure and run again after the limiter's back-off (CL-06). An
      exception that is not a KcpctlError is a bug: logged as an error, counted as a panic.

    The default queue is fair: logical clusters take turns, however many keys each has, and within
    one the initial list and resyncs come last. With a single cluster that is first come first
    served. Another queue, with weights or a limit of workers per cluster, can be passed in.

    ``watches`` belongs before ``start``. ``enqueue`` may be called from any thread. ``stop`` lets
    what is queued and running finish within its timeout, then drops the rest; what was dropped
    comes back with the next process's initial list. A controller runs once.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        workers: int = 4,
        queue: RateLimitingQueue[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"controller {name!r} needs at least one worker, not {workers}")
        metrics = metrics or Metrics()
        self.name = name
        self.workers = workers
        self.queue: RateLimitingQueue[str] = queue or RateLimitingQueue(
            name, clock=clock, ordering=Fair(), metrics=QueueMetrics(metrics, name)
        )
        self._reconciler = reconciler
        self._clock = clock
        self._rng = rng
        self._metrics = ControllerMetrics(metrics, name, workers=workers)
        self._registrations: list[tuple[Source, Registration]] = []
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._threads: list[threading.Thread] = []
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
        registration = informer.add_handler(handler, resync_seconds=resync_seconds)
        self._registrations.append((informer, registration))
        return self

    def enqueue(self, key: str) -> None:
        """Reconcile ``key`` soon."""
        self.queue.add(key)

    def enqueue_after(self, key: str, seconds: float) -> None:
        """Reconcile ``key`` in ``seconds``, unless something brings it up earlier."""
        self.queue.add_after(key, seconds)

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
            self._threads = [
                start_thread(self._work, name=f"{self.name}-{number}")
                for number in range(self.workers)
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
        if threads:
            self.queue.shut_down_with_drain(timeout_seconds)
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

    def _work(self) -> None:
        while True:
            try:
                key = self.queue.get()
            except ShutDown:
                return
            self._metrics.active_workers.inc()
            try:
                self._process(key)
            finally:
                self._metrics.active_workers.dec()
                self.queue.done(key)

    def _process(self, key: str) -> None:
        """Run one key and decide what comes next. Raises nothing."""
        began = self._clock.monotonic()
        with log_fields(controller=self.name, reconcileID=new_uid(self._rng)):
            outcome: Outcome
            try:
                request = Request.from_key(key)
                with log_fields(**_fields_of(request)):
                    try:
                        outcome = self._succeed(key, self._reconciler.reconcile(request))
                    except BaseException as error:  # noqa: BLE001 - a worker outlives any reconcile
                        outcome = self._fail(key, error)
            except ValueError as error:
                self.queue.forget(key)
                _log.error("Dropped a malformed key", key=key, exc_info=error)
                outcome = "error"
        self._metrics.seconds.observe(self._clock.monotonic() - began)
        self._metrics.outcomes[outcome].inc()

    def _succeed(self, key: str, result: Result | None) -> Outcome:
        self.queue.forget(key)
        if result is None or result.requeue_after_seconds is None:
            return "success"
        self.queue.add_after(key, result.requeue_after_seconds)
        return "requeue_after"

    def _fail(self, key: str, error: BaseException) -> Outcome:
        if isinstance(error, NotConnected):
            _log.debug("Waiting for a connection", exc_info=error)
            self.queue.forget(key)
            self.queue.add_after(key, _NOT_CONNECTED_SAFETY_SECONDS)
            return "requeue_after"
        if isinstance(error, NotLeading):
            # This process is about to end; the next leader's initial list has the key.
            _log.debug("Left to the next leader", exc_info=error)
            self.queue.forget(key)
            return "success"
        if isinstance(error, Conflict) and not _is_apply_conflict(error):
            _log.debug("Trying again after a conflict", exc_info=error)
            self.queue.add_after(key, _CONFLICT_DELAY_SECONDS)
            return "requeue"
        if isinstance(error, TooManyRequests):
            wait = error.retry_after_seconds or _DEFAULT_RETRY_AFTER_SECONDS
            _log.debug("The server asked to slow down", exc_info=error)
            self.queue.add_after(key, min(wait, _MAX_RETRY_AFTER_SECONDS))
            return "requeue"
        self._metrics.errors.inc()
        if isinstance(error, TerminalError):
            self._metrics.terminal_errors.inc()
            _log.error("Reconcile failed until the object changes", exc_info=error)
            self.queue.forget(key)
            return "error"
        failures = self.queue.num_requeues(key) + 1
        if isinstance(error, KcpctlError):
            _log.warning("Reconcile failed, will retry", failures=failures, exc_info=error)
        else:
            self._metrics.panics.inc()
            _log.error("Reconcile failed on a bug, will retry", failures=failures, exc_info=error)
        self.queue.add_rate_limited(key)
        return "error"


def _fields_of(request: Request) -> dict[str, object]:
    namespace = {"namespace": request.namespace} if request.namespace else {}
    return {"cluster": request.cluster, **namespace, "name": request.name}


def _is_apply_conflict(error: Conflict) -> bool:
    """Whether another field manager owns the fields: no newer version will end that by itself."""
    causes = error.details.get("causes") or ()
    return any(cause.get("reason") == "FieldManagerConflict" for cause in causes)
