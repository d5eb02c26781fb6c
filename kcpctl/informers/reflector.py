"""The reflector: list, watch, and start over, for as long as it runs."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import Final, NoReturn, Protocol

from kcpctl.client import RawEvent
from kcpctl.errors import (
    Gone,
    KcpctlError,
    ResourceVersionTooLarge,
    TooManyRequests,
    TransportError,
)
from kcpctl.informers.listing import Listing
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import (
    BadObject,
    CachedObject,
    Garbled,
    ObjectDecoder,
    is_older,
    version_of,
)
from kcpctl.informers.source import ListerWatcher
from kcpctl.informers.watchdog import Watchdog
from kcpctl.runtime import Backoff, Clock, TaskSet, get_logger

__all__ = ["Reflector", "Sink"]

_log = get_logger(__name__)

# Decision 15 and RF-03, RF-04.
_BACKOFF_SECONDS: Final = 0.8
_MAX_BACKOFF_SECONDS: Final = 30.0
_BACKOFF_RESET_SECONDS: Final = 120.0
# RF-24: random, so that the watches of a process do not end together.
_MIN_WATCH_SECONDS: Final = 300
_MAX_WATCH_SECONDS: Final = 600
# Pitfall 8: how much longer than asked for a server may hold a watch open.
_WATCH_GRACE_SECONDS: Final = 30.0
# RF-26, and the least time between the starts of two watches, against a hot loop (fixes RF-27).
_SHORT_WATCH_SECONDS: Final = 1.0


class _VeryShortWatch(KcpctlError):
    """RF-26: a watch ended at once without an event; the version may be of another server."""

    retryable = True


class Sink(Protocol):
    """What a reflector feeds. Called by one task, in the order of the server; must not block."""

    def replace(self, objects: list[CachedObject]) -> None:
        """Take the full state in place of everything known."""

    def apply(self, event_type: str, obj: CachedObject) -> None:
        """Take one ADDED, MODIFIED or DELETED."""


class Reflector:
    """Keeps a sink equal to a collection of a server. Runs on the I/O loop, as one task.

    It lists, then watches from the list's version. A watch that ends in order is resumed without a
    list (RF-25), so is one that was refused, throttled or cut off, after a pause (RF-28); anything
    else, 410 included, ends the cycle: a pause, then a list (RF-30 to RF-32). Pauses grow from
    0.8 s to 30 s with full jitter. One watch is open at a time (RF-07). It ends only by being
    cancelled, and closes its watch then (RF-06).

    The first failure in a row is logged as a warning, the rest at debug level, the recovery at
    info. ``last_error`` is None while all is well.
    """

    def __init__(
        self,
        source: ListerWatcher,
        decoder: ObjectDecoder,
        sink: Sink,
        *,
        description: str,
        clock: Clock,
        rng: random.Random,
        metrics: InformerMetrics,
        page_size: int | None = None,
    ) -> None:
        self.last_error: Exception | None = None
        self.resource_version = ""
        self._source = source
        self._decoder = decoder
        self._sink = sink
        self._description = description
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._listing = Listing(
            source, decoder, clock=clock, page_size=page_size, on_bad_object=self._skipped
        )
        self._backoff = Backoff(
            _BACKOFF_SECONDS,
            _MAX_BACKOFF_SECONDS,
            reset_after_seconds=_BACKOFF_RESET_SECONDS,
            clock=clock,
            rng=rng,
        )
        self._tasks = TaskSet(f"reflector {description}")
        self._alive_at = clock.monotonic()
        self._watch: Watchdog | None = None
        self._watch_started_at: float | None = None

    @property
    def silence_seconds(self) -> float:
        """How long ago the server last showed a sign of life: a list, an event, a bookmark."""
        alive_at = self._alive_at if self._watch is None else self._watch.alive_at
        return self._clock.monotonic() - alive_at

    async def run(self) -> None:
        """List and watch until cancelled."""
        try:
            while True:
                try:
                    await self._cycle()
                except Exception as error:  # noqa: BLE001 - RF-01: whatever it was, start over
                    self._failed(error)
                    self._metrics.count_relist(_cause_of(error))
                    pause = self._pause_after(error)
                await self._clock.asleep(pause)
        finally:
            await self._tasks.close()

    async def _cycle(self) -> NoReturn:
        state = await self._listing.read(self.resource_version)
        self._metrics.count("reflector_lists_total")
        self._sink.replace(state.objects)
        # RF-18: only now that the sink has it.
        self.resource_version = state.resource_version
        self._alive_at = self._clock.monotonic()
        self._recovered()
        while True:
            await self._pace()
            try:
                await self._watch_once()
            except (TransportError, TooManyRequests) as error:
                self._failed(error)
                await self._clock.asleep(self._pause_after(error))

    async def _pace(self) -> None:
        """Keep the least time between the starts of two watches."""
        now = self._clock.monotonic()
        if self._watch_started_at is not None:
            wait = self._watch_started_at + _SHORT_WATCH_SECONDS - now
            if wait > 0:
                await self._clock.asleep(wait)
        self._watch_started_at = self._clock.monotonic()

    def _pause_after(self, error: Exception) -> float:
        pause = self._backoff.next()
        if isinstance(error, TooManyRequests) and error.retry_after_seconds is not None:
            pause = max(pause, min(error.retry_after_seconds, _MAX_BACKOFF_SECONDS))
        return pause

    async def _watch_once(self) -> None:
        """Read one watch until the server ends it; raises for every other end."""
        timeout_seconds = self._rng.randint(_MIN_WATCH_SECONDS, _MAX_WATCH_SECONDS)
        self._metrics.count("reflector_watches_total")
        started_at = self._clock.monotonic()
        events = 0
        # RF-39: such a watch begins with everything there is, in no order of versions.
        ordered = self.resource_version not in {"", "0"}
        dog = Watchdog(self._tasks, self._clock, timeout_seconds + _WATCH_GRACE_SECONDS)
        stream = self._source.watch(
            resource_version=self.resource_version, timeout_seconds=timeout_seconds
        )
        try:
            async with dog, aclosing(stream):
                self._watch = dog
                async for batch in stream:
                    # No await until all of it is handled.
                    dog.alive(bookmark=any(event.type == "BOOKMARK" for event in batch))
                    if not events:
                        self._recovered()
                    events += len(batch)
                    for event in batch:
                        version = self._handle(event)
                        ordered = ordered or event.type != "ADDED"
                        if version and ordered:
                            self._advance(version, bookmark=event.type == "BOOKMARK")
        finally:
            self._watch, self._alive_at = None, dog.alive_at
        if not events and self._clock.monotonic() - started_at < _SHORT_WATCH_SECONDS:
            self._metrics.count("reflector_short_watches_total")
            raise _VeryShortWatch("the server ended the watch at once, without an event")
        self._recovered()

    def _advance(self, version: str, *, bookmark: bool) -> None:
        """Take the version of an event as the last one seen, but never go back (pitfall 7).

        Old events may come again. A bookmark from the past is of another server, or of one that was
        reset, whose deletions were missed: only a list can tell.
        """
        if not is_older(version, self.resource_version):
            self.resource_version = version
        elif bookmark:
            raise Gone(f"the server went back from version {self.resource_version} to {version}")

    def _handle(self, event: RawEvent) -> str:
        """Hand an event on; return its version, or "" for one that was skipped (RF-36)."""
        try:
            if event.type == "BOOKMARK":
                return version_of(event.object)
            if event.type not in {"ADDED", "MODIFIED", "DELETED"}:
                raise BadObject(f"an event of the unknown type {event.type!r}")
            obj = self._decoder.decode(event.object)
        except Garbled as error:
            raise TransportError(f"the watch sent what cannot be read: {error}") from error
        except BadObject as error:
            self._skipped(error)
            return ""
        self._sink.apply(event.type, obj)
        return obj.meta.resource_version

    def _skipped(self, error: BadObject) -> None:
        self._metrics.count("informer_skipped_objects_total")
        _log.warning("Object skipped", informer=self._description, error=error)

    def _failed(self, error: Exception) -> None:
        first, self.last_error = self.last_error is None, error
        expected = isinstance(error, Gone | _VeryShortWatch)
        if not isinstance(error, KcpctlError):
            _log.error("Reflector failed", informer=self._description, exc_info=error)
        elif first and not expected:
            _log.warning(
                "List or watch failed",
                informer=self._description,
                error=error,
                cause=type(error).__name__,
            )
        else:
            _log.debug("List or watch failed", informer=self._description, error=error)

    def _recovered(self) -> None:
        error, self.last_error = self.last_error, None
        if error is not None and not isinstance(error, Gone | _VeryShortWatch):
            _log.info("List and watch work again", informer=self._description)


def _cause_of(error: Exception) -> str:
    if isinstance(error, Gone):
        return "expired"
    if isinstance(error, ResourceVersionTooLarge):
        return "too_large"
    return "very_short_watch" if isinstance(error, _VeryShortWatch) else "error"
