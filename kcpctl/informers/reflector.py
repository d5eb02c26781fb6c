"""The reflector: read the full state, watch, and start over, for as long as it runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from kcpctl.client import RawEvent
from kcpctl.errors import (
    ApiError,
    ConnectionRefused,
    Gone,
    ResourceVersionTooLarge,
    TooManyRequests,
    TransportError,
)
from kcpctl.informers.consistency import StreamInconsistent, check_state, checks_states
from kcpctl.informers.failing import (
    Failures,
    Incomplete,
    RelistWanted,
    VeryShortWatch,
    cause_of,
    default_backoff,
)
from kcpctl.informers.initial import InitialStates
from kcpctl.informers.listing import Listing
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import (
    BadObject,
    CachedObject,
    Garbled,
    ObjectDecoder,
    ends_initial_events,
    is_older,
    version_of,
)
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.informers.replays import Replays
from kcpctl.informers.resuming import Resumption
from kcpctl.informers.source import ExactLister, Interruptible, ListerWatcher, StateStreamer
from kcpctl.informers.watchdog import NoProgress, Watchdog
from kcpctl.runtime import Clock, TaskSet, get_logger
from kcpctl.runtime.tracing import Span, leave_trace, span

__all__ = ["Reflector", "Sink"]

_log = get_logger(__name__)

# RF-24: random, so that the watches of a process do not end together.
_MIN_WATCH_SECONDS: Final = 300
_MAX_WATCH_SECONDS: Final = 600
# Pitfall 8: how much longer than asked for a server may hold a watch open.
_WATCH_GRACE_SECONDS: Final = 30.0
# RF-26, and the least time between the starts of two watches, against a hot loop (fixes RF-27).
_SHORT_WATCH_SECONDS: Final = 1.0
# How many streams may end before the state is complete until it is listed instead. A proxy that
# cuts every stream short would otherwise keep the informer from ever having it.
_STREAM_TRIES: Final = 2


_CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


@dataclass(slots=True)
class _Reading:
    """One watch while it is read; ``state`` is what has come of a state that is not complete.

    ``complete`` is that state when it just was, with its version, for the check (WL-13).
    """

    state: dict[str, CachedObject] | None = None
    ordered: bool = True
    opened: bool = False
    events: int = 0
    deleted: dict[str, CachedObject] = field(default_factory=dict)
    complete: tuple[list[CachedObject], str] | None = None


class Sink(Protocol):
    """What a reflector feeds. Called by one task, in the order of the server; must not block."""

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        """Take the full state in place of everything known, and its version."""

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        """Take one ADDED, MODIFIED or DELETED, and the version of the whole after it."""

    def bookmark(self, resource_version: str) -> None:
        """Take the version of the whole after all that came before (RF-38)."""


class _Start(Protocol):
    def __call__(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]: ...


class Reflector:
    """Keeps a sink equal to a collection of a server. Runs on the I/O loop, as one task.

    It reads the full state, as a stream where source and server can (WL) and in lists otherwise,
    then watches from that version. A watch that ends in order is resumed without a
    list (RF-25), so is one that was refused, throttled or cut off, after a pause (RF-28); anything
    else, 410 included, ends the cycle: a pause, then the state (RF-30 to RF-32). So does an
    answer that breaks at the same version for the fifth time: the event that breaks it is not
    waited for. Pauses grow from 0.8 s to 30 s with full jitter. One watch is open at a time
    (RF-07). It ends only by being cancelled, and closes its watch then (RF-06).

    Parameters
    ----------
    server, resource: under these names it is remembered that a state does not stream (WL-09).
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
        initial_states: InitialStates | None = None,
        server: str = "",
        resource: str = "",
        options: ReflectorOptions = DEFAULTS,
    ) -> None:
        self.resource_version = ""
        self.streamed = False
        self._has_streamed = False
        self._source = source
        self._decoder = decoder
        self._sink = sink
        self._description = description
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._initial_states = initial_states or InitialStates()
        self._remembered_as = (server, resource)
        self._listing = Listing(
            source,
            decoder,
            clock=clock,
            page_size=page_size,
            on_bad_object=self._skipped,
            newest_first=options.newest_first,
        )
        self._failures = Failures(description, clock, rng, options)
        self._resumption = Resumption(clock, options.internal_error_seconds)
        self._replays = Replays()
        self._checks_states = checks_states()
        self._tasks = TaskSet(f"reflector {description}")
        self._alive_at = clock.monotonic()
        self._watch: Watchdog | None = None
        self._relist_wanted = False
        self._watch_started_at: float | None = None

    @property
    def last_error(self) -> Exception | None:
        """Why lists or watches fail right now, or None while they work."""
        return self._failures.last

    @property
    def silence_seconds(self) -> float:
        """How long ago the server last showed a sign of life: a list, an event, a bookmark."""
        alive_at = self._alive_at if self._watch is None else self._watch.alive_at
        return self._clock.monotonic() - alive_at

    @property
    def watching(self) -> bool:
        """Whether a watch is open, and its state complete."""
        return self._watch is not None and not self._watch.awaits_state

    def relist(self) -> None:
        """End the watch, and read the newest state there is: no cache's, nor an older one.

        On the I/O loop. A state that is being read now is read again.
        """
        self._relist_wanted = True
        # A watch is never interrupted by the task that reads it, whose handlers may call this.
        asyncio.get_running_loop().call_soon(self._end_watch)

    def _end_watch(self) -> None:
        if self._watch is not None and self._relist_wanted:
            self._watch.interrupt(RelistWanted("a new state was asked for"))

    async def run(self) -> None:
        """List and watch until cancelled."""
        leave_trace()
        try:
            while True:
                try:
                    await self._cycle()
                except StreamInconsistent:
                    raise
                except Exception as error:  # noqa: BLE001 - RF-01: whatever it was, start over
                    self._failures.note(error)
                    self._metrics.count_relist(cause_of(error))
                    pause = self._failures.pause_after(error)
                await self._clock.asleep(pause)
        finally:
            await self._tasks.close()

    async def _cycle(self) -> NoReturn:
        if self._relist_wanted:
            self._relist_wanted = False
            self._listing.version_is_unavailable()
        await self._someone_to_ask()
        if not await self._stream_state():
            await self._list_state()
        while True:
            await self._someone_to_ask()
            await self._pace()
            await self._watch_once()

    async def _someone_to_ask(self) -> None:
        if isinstance(self._source, Interruptible):
            await self._source.ready()

    async def _list_state(self) -> None:
        with self._sync_span("list") as made:
            async with self._initial_states.turn(silent=self._failures.unanswered):
                state = await self._listing.read(self.resource_version)
            self.streamed = False
            self._take(state.objects, state.resource_version)
            made.set("objects", len(state.objects))

    def _sync_span(self, how: str) -> AbstractContextManager[Span]:
        """Return the span of one full state, from asking for it until the sink has it."""
        attributes = {"informer": self._description, "method": how}
        return span("informer sync", attributes)

    def _take(self, objects: list[CachedObject], version: str) -> None:
        self._metrics.count("reflector_lists_total")
        self._sink.replace(objects, version)
        # RF-18: only now that the sink has it.
        self.resource_version = version
        self._replays.state(version)
        self._alive_at = self._clock.monotonic()
        self._failures.recovered()

    async def _stream_state(self) -> bool:
        """Read the state as a stream, and then watch on with it until it ends (WL-04).

        False when the state must be listed instead: in this cycle (WL-08), or always (WL-09).
        """
        source = self._source
        able = self._initial_states.can_stream(*self._remembered_as)
        if not isinstance(source, StateStreamer) or not able:
            return False
        tries = 0
        while tries < _STREAM_TRIES:
            version = self._listing.version_to_stream(self.resource_version)
            await self._pace()
            reading = _Reading(state={})
            try:
                await self._read_on(reading, source.stream, version)
                return True
            except Exception as error:
                if reading.state is None:
                    raise
                # WL-06: what came so far is thrown away.
                tries += await self._stream_failed(error, version, tries)
        self._metrics.count("reflector_watchlist_fallbacks_total")
        return False

    async def _stream_failed(self, error: Exception, version: str, tries: int) -> int:
        """Return how many tries that has cost: all of them when the state must be listed.

        A server that has streamed states before may have been cut off the first time.
        """
        if isinstance(error, NoProgress) and (tries or not self._has_streamed):
            self._give_up_streaming()
        elif isinstance(error, Gone | ResourceVersionTooLarge) and version:
            self._listing.version_is_unavailable()
            return 0
        elif isinstance(error, TransportError | TooManyRequests):
            # WL-07: a server that is away or busy can stream later.
            await self._failures.rest_after(error)
            return 0 if isinstance(error, ConnectionRefused | TooManyRequests) else 1
        elif isinstance(error, ApiError):
            _log.debug("State not streamed", informer=self._description, error=error)
        else:
            raise error
        return _STREAM_TRIES

    def _give_up_streaming(self) -> None:
        self._initial_states.cannot_stream(*self._remembered_as)
        _log.warning(
            "The end of a streamed state does not come; states are listed from now on",
            informer=self._description,
        )

    async def _pace(self) -> None:
        """Keep the least time between the starts of two watches."""
        now = self._clock.monotonic()
        if self._watch_started_at is not None:
            wait = self._watch_started_at + _SHORT_WATCH_SECONDS - now
            if wait > 0:
                await self._clock.asleep(wait)
        self._watch_started_at = self._clock.monotonic()

    async def _watch_once(self) -> None:
        """Read one watch until its end; raises when the state must be read again."""
        # RF-39: such a watch begins with everything there is, in no order of versions.
        reading = _Reading(ordered=self._has_version())
        started_at = self._clock.monotonic()
        if not await self._read_on(reading, self._source.watch, self.resource_version):
            return
        if not reading.events and self._clock.monotonic() - started_at < _SHORT_WATCH_SECONDS:
            self._metrics.count("reflector_short_watches_total")
            raise VeryShortWatch("the server ended the watch at once, without an event")
        self._failures.recovered()

    def _has_version(self) -> bool:
        return self.resource_version not in {"", "0"}

    async def _read_on(self, reading: _Reading, start: _Start, version: str) -> bool:
        """Read one watch until its end; False when it failed and can be resumed, after a pause.

        Nothing can be resumed without a version: what is deleted meanwhile would stay (RF-39).
        """
        before, started_at = self.resource_version, self._clock.monotonic()
        try:
            await self._read(reading, start, version)
        except Exception as error:
            if reading.state is not None or not self._has_version():
                raise
            resumes = self._resumption.may_resume(
                error,
                opened=reading.opened,
                moved=self.resource_version != before,
                lasted_seconds=self._clock.monotonic() - started_at,
            )
            if not resumes:
                raise
            await self._failures.rest_after(error)
            return False
        if not self._has_version():
            raise Incomplete("a watch that began at no version ended")
        return True

    async def _read(self, reading: _Reading, start: _Start, version: str) -> None:
        async with AsyncExitStack() as turn:
            give_way: Callable[[], None] = _nothing
            made = Span()
            if reading.state is not None:
                made = turn.enter_context(self._sync_span("stream"))
                give_way = await turn.enter_async_context(
                    self._initial_states.turn(silent=self._failures.unanswered)
                )
            if self._relist_wanted:
                raise RelistWanted("a new state was asked for")
            timeout_seconds = self._rng.randint(_MIN_WATCH_SECONDS, _MAX_WATCH_SECONDS)
            self._metrics.count("reflector_watches_total")
            dog = Watchdog(
                self._tasks,
                self._clock,
                timeout_seconds + _WATCH_GRACE_SECONDS,
                state=reading.state is not None,
                give_way=give_way,
            )
            stream = start(resource_version=version, timeout_seconds=timeout_seconds)
            try:
                async with dog, aclosing(stream):
                    self._watch = dog
                    async for batch in stream:
                        reading.opened = True
                        self._handle(reading, dog, batch)
                        # A quiet watch does not hold what came last.
                        del batch
                        if reading.complete is not None:
                            made.set("objects", len(reading.complete[0]))
                            await turn.aclose()
                            await self._check(*reading.complete)
                            reading.complete = None
            finally:
                self._watch, self._alive_at = None, dog.alive_at
        if reading.state is not None:
            raise Incomplete("the server ended the stream before the state was complete")

    def _handle(self, reading: _Reading, dog: Watchdog, batch: Sequence[RawEvent]) -> None:
        """Hand the events of a batch on, without a pause between them."""
        dog.alive()
        if not reading.events and reading.state is None and batch:
            self._failures.recovered()
        reading.events += len(batch)
        decode, apply = self._decoder.decode, self._sink.apply
        for event in batch:
            type_ = event.type
            try:
                if type_ not in _CHANGES:
                    self._no_change(reading, dog, event)
                    continue
                obj = decode(event.object)
            except Garbled as error:
                raise TransportError(f"the watch sent what cannot be read: {error}") from error
            except BadObject as error:
                # RF-36: its version is not taken.
                self._skipped(error)
                continue
            if reading.state is not None:
                _collect(reading, reading.state, type_, obj)
                continue
            reading.ordered = reading.ordered or type_ != "ADDED"
            version = obj.resource_version
            # Never back (pitfall 7): old events may come again.
            if not reading.ordered or not version:
                version = self.resource_version
            elif is_older(version, self.resource_version):
                if type_ != "DELETED" and self._replays.is_replay(obj):
                    continue
                version = self.resource_version
            try:
                apply(type_, obj, version)
            except Exception as error:  # noqa: BLE001 - RF-35: the others are served
                self._not_applied(obj, error)
            self.resource_version = version
            if type_ == "DELETED":
                self._replays.deleted(obj)

    def _not_applied(self, obj: CachedObject, error: Exception) -> None:
        self._metrics.count("informer_store_errors_total")
        _log.error("Event not stored", informer=self._description, key=obj.key, exc_info=error)

    def _no_change(self, reading: _Reading, dog: Watchdog, event: RawEvent) -> None:
        if event.type != "BOOKMARK":
            raise BadObject(f"an event of the unknown type {event.type!r}")
        bookmark = event.object
        version = version_of(bookmark)
        if reading.state is None:
            dog.bookmarked()
            reading.ordered = True
            if is_older(version, self.resource_version):
                # Of another server, or of one that was reset (pitfall 7), whose deletions were
                # missed: only a list can tell.
                raise Gone(
                    f"the server went back from version {self.resource_version} to {version}"
                )
            self._sink.bookmark(version)
            self.resource_version = version
        elif ends_initial_events(bookmark):
            if not self._listing.accepts(version, self.resource_version):
                # RF-10: asked for once more, as the newest.
                raise Gone(f"the state is of version {version}, and {self.resource_version} known")
            self._listing.has_state()
            self._metrics.count("reflector_watchlists_total")
            self.streamed = self._has_streamed = True
            reading.complete = list(reading.state.values()), version
            self._take(*reading.complete)
            reading.state, reading.ordered = None, True
            reading.deleted.clear()
            dog.complete()

    async def _check(self, objects: list[CachedObject], version: str) -> None:
        if self._checks_states and isinstance(self._source, ExactLister):
            await check_state(
                self._source,
                self._decoder,
                objects,
                version,
                description=self._description,
                clock=self._clock,
                backoff=default_backoff(self._clock, self._rng),
            )

    def _skipped(self, error: BadObject) -> None:
        self._metrics.count("informer_skipped_objects_total")
        _log.warning("Object skipped", informer=self._description, error=error)


def _collect(
    reading: _Reading, state: dict[str, CachedObject], event_type: str, obj: CachedObject
) -> None:
    """Apply an event to a state that is not complete yet (WL-05), by the cluster's key (WL-15)."""
    known = state.get(obj.key) or reading.deleted.get(obj.key)
    if known is not None and is_older(obj.resource_version, known.resource_version):
        return
    if event_type == "DELETED":
        state.pop(obj.key, None)
        reading.deleted[obj.key] = obj
    else:
        state[obj.key] = obj


def _nothing() -> None:
    """Give way to nobody."""
