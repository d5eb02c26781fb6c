"""A worker: takes keys from the queue, reconciles them, and decides what follows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from kcpctl.client import WriteLog, confine
from kcpctl.controller.gate import Gate
from kcpctl.controller.metrics import Outcome, WorkerMetrics
from kcpctl.controller.pending import PendingWrites
from kcpctl.controller.repeats import Repeats
from kcpctl.controller.request import Reconciler, Request, Result
from kcpctl.errors import (
    Conflict,
    DeadlineExceeded,
    KcpctlError,
    NotConnected,
    NotLeading,
    TerminalError,
    TooManyRequests,
)
from kcpctl.runtime import Clock, Deadline, get_logger, new_uid, set_log_fields
from kcpctl.runtime.tracing import Span, is_tracing, span
from kcpctl.workqueue import RateLimitingQueue, ShutDown

__all__ = ["Worker"]

_log = get_logger(__name__)

# CS-08: long enough for a watch to deliver, short enough to be no delay that anybody sees.
_STALE_DELAY_SECONDS: Final = 0.1
# The object changed under the reconcile: the new version is on its way through the watch. Short
# and fixed, and no failure (CS-08: as a failure it could park the key for minutes).
_CONFLICT_DELAY_SECONDS: Final = 0.1
# A server that asks for more than this is asked again all the same.
_MAX_RETRY_AFTER_SECONDS: Final = 30.0
_DEFAULT_RETRY_AFTER_SECONDS: Final = 1.0
# The pool notifies when the cluster is back; this is for a notification that went astray.
_NOT_CONNECTED_SAFETY_SECONDS: Final = 30.0


class Worker:
    """One worker of a controller; :meth:`run` is the whole life of its thread.

    See :class:`kcpctl.controller.Controller` for what follows on which end of a reconcile.
    """

    def __init__(
        self,
        controller: str,
        reconciler: Reconciler,
        queue: RateLimitingQueue[str],
        pending: PendingWrites,
        repeats: Repeats,
        metrics: WorkerMetrics,
        *,
        clock: Clock,
        rng: random.Random,
        timeout_seconds: float | None,
        gate: Gate | None = None,
        on_removed: Callable[[str], None],
    ) -> None:
        self._controller = controller
        self._reconciler = reconciler
        self._queue = queue
        self._pending = pending
        self._repeats = repeats
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._timeout_seconds = timeout_seconds
        self._gate = gate
        self._on_removed = on_removed
        self._given_up = False

    def give_up(self) -> None:
        """Begin no key any more: nobody waits for it, and what it needs is about to be closed."""
        self._given_up = True

    def run(self) -> None:
        """Take and process keys until the queue is shut down and empty, or :meth:`give_up`."""
        queue, metrics = self._queue, self._metrics
        while True:
            try:
                key = queue.get()
            except ShutDown:
                return
            if self._given_up:
                queue.done(key)
                return
            metrics.active = 1
            try:
                self._process(key)
            finally:
                metrics.active = 0
                queue.done(key)

    def _process(self, key: str) -> None:
        """Run one key and decide what comes next. Raises nothing."""
        began = self._clock.monotonic()
        if self._gate is not None and self._gate.holds(key):
            self._queue.forget(key)  # it comes back as new
            return
        if self._pending.by_key and not self._pending.is_ready(key, began):
            self._metrics.stale_skips += 1
            self._queue.add_after(key, _STALE_DELAY_SECONDS)
            return
        try:
            request = Request.from_key(key)
        except ValueError as error:
            self._queue.forget(key)
            _log.error(
                "Dropped a malformed key", controller=self._controller, key=key, exc_info=error
            )
            self._metrics.ended("error", 0.0)
            return
        fields = _Fields(self._controller, request, self._rng)
        set_log_fields(fields)
        confine(request.cluster)
        writes = WriteLog()
        writes.start()
        try:
            if is_tracing():
                with span(f"reconcile {self._controller}", _attributes(fields)) as made:
                    outcome = self._handle(key, request, made)
                    made.set("outcome", outcome)
            else:
                outcome = self._handle(key, request)
        finally:
            confine("")
        if written := writes.close():
            self._pending.record(key, written)
        if self._queue.was_removed(key):
            self._pending.forget(key)
            self._clean_up(key)
        self._metrics.ended(outcome, self._clock.monotonic() - began)

    def _handle(self, key: str, request: Request, made: Span | None = None) -> Outcome:
        try:
            return self._succeed(key, self._reconcile(request))
        except BaseException as error:  # noqa: BLE001 - a worker outlives any reconcile
            outcome = self._fail(key, error)
            if made is not None and outcome == "error":
                made.fail(error)
            return outcome

    def _reconcile(self, request: Request) -> Result | None:
        if self._timeout_seconds is None:
            return self._reconciler.reconcile(request)
        deadline = Deadline(self._timeout_seconds, clock=self._clock)
        deadline.start()
        try:
            return self._reconciler.reconcile(request)
        finally:
            deadline.end()

    def _clean_up(self, key: str) -> None:
        """Let what the reconcile made for a cluster that is gone go after it."""
        try:
            self._on_removed(key)
        except Exception as error:  # noqa: BLE001 - a worker outlives any callback
            _log.error("What was kept for a removed cluster is left behind", exc_info=error)

    def _succeed(self, key: str, result: Result | None) -> Outcome:
        self._queue.forget(key)
        self._repeats.forget(key)
        if result is None or result.requeue_after_seconds is None:
            return "success"
        self._queue.add_after(key, result.requeue_after_seconds, result.priority)
        return "requeue_after"

    def _fail(self, key: str, error: BaseException) -> Outcome:
        if self._given_up:
            # Told by the controller already; the next process's initial list has the key.
            _log.debug("Cut off by the stop", exc_info=error)
            return "error"
        if isinstance(error, NotConnected):
            _log.debug("Waiting for a connection", exc_info=error)
            self._queue.forget(key)
            self._queue.add_after(key, _NOT_CONNECTED_SAFETY_SECONDS)
            return "requeue_after"
        if isinstance(error, NotLeading):
            # This process is about to end; the next leader's initial list has the key.
            _log.debug("Left to the next leader", exc_info=error)
            self._queue.forget(key)
            return "success"
        if isinstance(error, Conflict) and not _is_apply_conflict(error):
            _log.debug("Trying again after a conflict", exc_info=error)
            self._queue.add_after(key, _CONFLICT_DELAY_SECONDS)
            return "requeue"
        if isinstance(error, TooManyRequests):
            wait = error.retry_after_seconds or _DEFAULT_RETRY_AFTER_SECONDS
            _log.debug("The server asked to slow down", exc_info=error)
            self._queue.add_after(key, min(wait, _MAX_RETRY_AFTER_SECONDS))
            return "requeue"
        self._metrics.errors += 1
        if isinstance(error, TerminalError):
            self._metrics.terminal_errors += 1
            _log.error("Reconcile failed until the object changes", exc_info=error)
            self._queue.forget(key)
            return "error"
        self._metrics.timeouts += isinstance(error, DeadlineExceeded)
        failures = self._queue.num_requeues(key) + 1
        if isinstance(error, KcpctlError):
            log = _log.warning if self._repeats.is_news(key, error) else _log.debug
            log("Reconcile failed, will retry", failures=failures, exc_info=error)
        else:
            self._metrics.panics += 1
            _log.error("Reconcile failed on a bug, will retry", failures=failures, exc_info=error)
        self._queue.add_rate_limited(key)
        return "error"


class _Fields(Mapping[str, object]):
    """The log fields of a reconcile, made when the first line asks for them: most log nothing.

    Lines of several threads of one reconcile see one id: setdefault is atomic.
    """

    __slots__ = ("_controller", "_made", "_request", "_rng")

    def __init__(self, controller: str, request: Request, rng: random.Random) -> None:
        self._controller = controller
        self._request = request
        self._rng = rng
        self._made: dict[str, dict[str, object]] = {}

    def _fields(self) -> dict[str, object]:
        return self._made.get("") or self._made.setdefault("", self._make())

    def _make(self) -> dict[str, object]:
        request = self._request
        return {
            "controller": self._controller,
            "reconcileID": new_uid(self._rng),
            "cluster": request.cluster,
            **({"namespace": request.namespace} if request.namespace else {}),
            "name": request.name,
        }

    def __getitem__(self, key: str) -> object:
        return self._fields()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())


def _attributes(fields: _Fields) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}


def _is_apply_conflict(error: Conflict) -> bool:
    """Whether another field manager owns the fields: no newer version will end that by itself."""
    causes = error.details.get("causes") or ()
    return any(cause.get("reason") == "FieldManagerConflict" for cause in causes)
