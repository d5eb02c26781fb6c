"""The event recorder: what happened to an object, for people to read."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from kcpctl.apis.meta import ApiObject, Unstructured
from kcpctl.apis.resource import EVENTS
from kcpctl.client import Client, PatchType, check_reach
from kcpctl.controller.event_series import (
    Correlator,
    ObjectReference,
    Occurrence,
    Series,
    SpamFilter,
)
from kcpctl.errors import KcpctlError, NotFound, TransportError
from kcpctl.logicalcluster import WILDCARD, cluster_of
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Backoff,
    Clock,
    Metrics,
    TaskSet,
    format_micro_time,
    get_logger,
)

__all__ = ["EventRecorder", "ObjectReference"]

_log = get_logger(__name__)

_QUEUE_SIZE: Final = 1000  # EV-01
_WRITERS: Final = 8  # EV-14
_TRIES: Final = 12  # EV-04
_RETRY_INITIAL_SECONDS: Final = 1.0
_RETRY_MAX_SECONDS: Final = 10.0  # EV-04
_HOUSEKEEPING_SECONDS: Final = 60.0
# The API server's limits.
_MAX_NOTE_BYTES: Final = 1024
_MAX_FIELD: Final = 128
_MAX_NAME: Final = 253


class EventRecorder:
    """Records events (events.k8s.io/v1), each in its object's own logical cluster.

    ``event`` may be called from any thread; it never blocks and never raises (EV-01). What
    cannot be queued or written is dropped and counted by reason in
    ``kcpctl_events_dropped_total``: ``queue_full``, ``spam``, ``invalid``, ``rejected`` (the
    server said no), ``gave_up`` (no answer in 12 tries), ``closed``. A repeat becomes a series
    (EV-13). Notes are readable by whoever may read events: never put a secret into one.

    Parameters
    ----------
    client: bound to the objects' cluster, or to all of them.
    component: ``reportingController``, such as ``kcpctl-synctarget``.
    instance: ``reportingInstance``; the component and the host name if not given.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        instance: str = "",
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
    ) -> None:
        self._client = client.aio
        self._io_loop = client.loop
        self._component = component
        self._instance = (instance or f"{component}-{socket.gethostname()}")[:_MAX_FIELD]
        self._clock = clock
        self._rng = rng
        metrics = metrics or Metrics()
        self._written = metrics.counter("kcpctl_events_written_total", "Events and series written")
        self._dropped = metrics.counter(
            "kcpctl_events_dropped_total", "Events not written, by reason", ("reason",)
        )
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._queue: deque[Occurrence] = deque()
        self._closed = False
        # Of the I/O thread.
        self._correlator = Correlator(clock)
        self._spam = SpamFilter(clock)
        self._tasks = TaskSet(f"events/{component}")
        self._writers = asyncio.Semaphore(_WRITERS)
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._names = 0
        self._ending = False

    def event(
        self,
        obj: ObjectReference | ApiObject | Mapping[str, Any],
        type: str,  # noqa: A002 - the field's name
        reason: str,
        message: str,
        *,
        action: str = "Reconcile",
    ) -> None:
        """Record that something happened to ``obj``.

        ``type`` is Normal or Warning (EV-02), ``reason`` a CamelCase word, ``message`` a
        sentence, ``action`` what was being done. An object says its cluster by its kcp.io/cluster
        annotation, else it is the client's.
        """
        try:
            occurrence = self._occurrence(obj, type, reason, message, action)
            if self._client.is_multi_cluster:
                check_reach(occurrence.regarding.cluster, self._client.url)
        except Exception as error:  # noqa: BLE001 - an event never fails its caller
            _log.error("Dropped an invalid event", component=self._component, exc_info=error)
            self._drop("invalid")
            return
        with self._lock:
            refused = "closed" if self._closed else "queue_full" * (len(self._queue) >= _QUEUE_SIZE)
            if not refused:
                self._queue.append(occurrence)
        if refused:
            self._drop(refused)
        else:
            self._io_loop.call(self._begin)

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what is queued, for ``timeout_seconds`` at most, and end. May be called twice."""
        self._io_loop.run(self.aclose(timeout_seconds))

    async def aclose(self, timeout_seconds: float = 2.0) -> None:
        """Do what :meth:`close` does, on the I/O loop."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._pump is not None:
            timer = self._tasks.spawn(self._clock.asleep(timeout_seconds), name="deadline")
            ending = self._tasks.spawn(self._end(), name="flush")
            await asyncio.wait({timer, ending}, return_when=asyncio.FIRST_COMPLETED)
        await self._tasks.close()
        while self._next() is not None:
            self._drop("closed")

    def _occurrence(
        self,
        obj: ObjectReference | ApiObject | Mapping[str, Any],
        kind: str,
        reason: str,
        message: str,
        action: str,
    ) -> Occurrence:
        regarding = obj if isinstance(obj, ObjectReference) else self._reference(obj)
        if kind not in {"Normal", "Warning"} or not reason or not action or not regarding.name:
            raise ValueError(f"type {kind!r}, reason {reason!r}, action {action!r} of {regarding}")
        if regarding.cluster in {"", WILDCARD}:
            raise ValueError(f"{regarding} names no logical cluster")
        return Occurrence(
            regarding,
            kind,
            reason[:_MAX_FIELD],
            message.encode()[:_MAX_NOTE_BYTES].decode(errors="ignore"),
            action[:_MAX_FIELD],
            self._clock.time(),
        )

    def _reference(self, obj: ApiObject | Mapping[str, Any]) -> ObjectReference:
        if isinstance(obj, ApiObject):
            meta = obj.metadata
            return ObjectReference(
                self._cluster_of(meta.annotations),
                obj.api_version,
                obj.kind,
                meta.namespace,
                meta.name,
                meta.uid,
                meta.resource_version,
            )
        data = obj["metadata"]
        return ObjectReference(
            self._cluster_of(data.get("annotations")),
            obj["apiVersion"],
            obj["kind"],
            data.get("namespace", ""),
            data["name"],
            data.get("uid", ""),
            data.get("resourceVersion", ""),
        )

    def _cluster_of(self, annotations: Mapping[str, str] | None) -> str:
        """As informers do it: what a client of one cluster reads is of that cluster."""
        default = self._client.cluster_name
        return cluster_of(annotations, default) if self._client.is_multi_cluster else default

    def _drop(self, reason: str) -> None:
        self._dropped.labels(reason).inc()

    # On the I/O thread.

    def _begin(self) -> None:
        self._wake.set()
        if self._pump is None and not self._closed:
            self._pump = self._tasks.spawn(self._run(), name="pump")
            self._tasks.spawn(self._keep_house(), name="housekeeping")

    def _next(self) -> Occurrence | None:
        with self._lock:
            return self._queue.popleft() if self._queue else None

    async def _run(self) -> None:
        """Hand occurrences to at most 8 writers; while all are busy the queue is the buffer."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._writers.acquire()
            while (occurrence := self._next()) is not None:
                series = self._correlator.record(occurrence)
                if series.due(self._clock.monotonic()) and self._allowed(series):
                    self._spawn_writer(series)
                    await self._writers.acquire()
            self._writers.release()
            if self._ending:
                return

    def _allowed(self, series: Series) -> bool:
        allowed = self._spam.allow(series.first.regarding)
        if not allowed:
            self._drop("spam")
        return allowed

    def _spawn_writer(self, series: Series) -> None:
        series.writing = True
        self._tasks.spawn(self._write(series), name=f"write {series.first.regarding.name}")

    async def _write(self, series: Series) -> None:
        """Write a series until it is written; holds one permit of ``_writers``."""
        try:
            while True:
                series.writing = True
                await self._send_with_retries(series)
                series.writing = False
                if not series.due(self._clock.monotonic()) or not self._allowed(series):
                    return
        except KcpctlError as error:
            self._drop("gave_up" if isinstance(error, TransportError) else "rejected")
            self._correlator.forget(series)
            _log.debug(
                "Dropped an event",
                cluster=series.first.regarding.cluster,
                reason=series.first.reason,
                exc_info=error,
            )
        finally:
            series.writing = False
            self._writers.release()

    async def _send_with_retries(self, series: Series) -> None:
        """EV-04: only what got no answer is tried again."""
        backoff = Backoff(
            _RETRY_INITIAL_SECONDS, _RETRY_MAX_SECONDS, clock=self._clock, rng=self._rng
        )
        while True:
            wait = backoff.next()
            try:
                await self._send(series)
                return
            except TransportError as error:
                if not error.retryable or backoff.attempts >= _TRIES:
                    raise
            await self._clock.asleep(wait)

    async def _send(self, series: Series) -> None:
        regarding = series.first.regarding
        events = self._client.cluster(regarding.cluster).resource(EVENTS)
        namespace = regarding.namespace or "default"  # EV-03
        count = series.count
        if series.name:
            try:
                await events.patch(
                    series.name,
                    {"series": _series(series)},
                    namespace=namespace,
                    type=PatchType.MERGE,
                )
            except NotFound:  # EV-05: it has expired
                series.name = ""
        if not series.name:
            name = self._new_name(regarding.name)
            await events.create(self._body(series, name, namespace), namespace=namespace)
            series.name = name
        series.written_count, series.written_at = count, self._clock.monotonic()
        self._written.inc()

    def _new_name(self, name: str) -> str:
        """EV-12: the object's name and the time in hex, made unique by a counter."""
        self._names += 1
        suffix = f"{int(self._clock.time() * 1e6) * 1000 + self._names % 1000:x}"
        return f"{name[: _MAX_NAME - len(suffix) - 1].rstrip('.-')}.{suffix}"

    def _body(self, series: Series, name: str, namespace: str) -> Unstructured:
        first = series.first
        regarding = {
            "apiVersion": first.regarding.api_version,
            "kind": first.regarding.kind,
            "namespace": first.regarding.namespace,
            "name": first.regarding.name,
            "uid": first.regarding.uid,
            "resourceVersion": first.regarding.resource_version,
        }
        body: Unstructured = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": format_micro_time(first.at),
            "type": first.type,
            "reason": first.reason,
            "note": first.note,
            "action": first.action,
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "regarding": {key: value for key, value in regarding.items() if value},
        }
        if series.count > 1:
            body["series"] = _series(series)
        return body

    async def _keep_house(self) -> None:
        """Write the last count of series that ended without a write (EV-13)."""
        while True:
            await self._clock.asleep(_HOUSEKEEPING_SECONDS)
            await self._finish(everything=False)

    async def _finish(self, *, everything: bool) -> None:
        for series in self._correlator.finish(everything=everything):
            await self._writers.acquire()
            self._spawn_writer(series)

    async def _end(self) -> None:
        """Write what is queued, then the counts that were kept in memory."""
        self._ending = True
        self._wake.set()
        if self._pump is not None:
            await asyncio.wait({self._pump})
        await self._all_written()
        await self._finish(everything=True)
        await self._all_written()

    async def _all_written(self) -> None:
        for _ in range(_WRITERS):
            await self._writers.acquire()
        for _ in range(_WRITERS):
            self._writers.release()


def _series(series: Series) -> dict[str, Any]:
    return {"count": series.count, "lastObservedTime": format_micro_time(series.last)}
