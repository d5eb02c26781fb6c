"""The shared informer: one list and watch, one store, any number of handlers."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, Write
from kcpctl.informers.audience import Delivery
from kcpctl.informers.deliveries import Deliveries, is_same
from kcpctl.informers.handlers import AnyHandler, Registration
from kcpctl.informers.ignoring import Ignore, Ignoring
from kcpctl.informers.indexes import CLUSTER_INDEX, IndexFunction
from kcpctl.informers.initial import PROCESS, InitialStates
from kcpctl.informers.lister import Lister
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.mutation import detector_if_wanted
from kcpctl.informers.objects import CachedObject, Transform, is_older
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.informers.reflector import Reflector, Sink
from kcpctl.informers.resync import resync
from kcpctl.informers.scope import Cache, Scope
from kcpctl.informers.source import ListerWatcher
from kcpctl.informers.status import InformerStatus
from kcpctl.informers.store import Store
from kcpctl.informers.view import ClusterView
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, Metrics, TaskSet, get_logger

__all__ = ["SharedInformer"]

T = TypeVar("T")
P = TypeVar("P")
_log = get_logger(__name__)


class _State(Enum):
    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"


class SharedInformer(Generic[T]):
    """A local copy of one collection, and news of its changes.

    ``type`` is what the lister returns: a struct type, or ``dict``. :meth:`run` is a coroutine of
    the I/O loop, best left to the factory; everything else may be called from any thread. The store
    is written by the reflector and nobody else (INF-40).

    For each change the store comes first and handlers second. Handlers run inline on the I/O
    thread, and the queue behind them is the buffer; or they ask for a buffer and a thread of their
    own. An update with the version that is stored already is not delivered (INF-39), and an event
    older than what is stored is not applied: only a full list may go back in time (pitfall 7).

    Parameters
    ----------
    name: tells the informers of a process apart in metrics. place: says in messages whose objects
        they are, where the name of the logical cluster does not.
    streaming: whether the full state is asked for as a stream; servers without it are listed.
    metadata_only: have the server send PartialObjectMetadata; the lister returns that, as a dict.
    transform: what is kept of each object (INF-29). An object that it raises for is reported and
        skipped, and nothing else (FIFO-18 fixed).
    compact: hold objects compressed: a third of the memory or less, for some 20 microseconds of CPU
        time for each object that comes and 5 for each that is read.
    ignore: what is left out altogether (KCP-15); an object that begins to match is deleted. Better
        than a handler that looks away: nothing is stored. A selector is better still.
    options: of the reflector.
    """

    def __init__(
        self,
        client: AsyncClient,
        resource: Resource,
        type: type[T],  # noqa: A002 - the word for it
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        name: str = "",
        place: str = "",
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
        page_size: int | None = None,
        source: ListerWatcher | None = None,
        streaming: bool = True,
        metadata_only: bool = False,
        transform: Transform | None = None,
        compact: bool = False,
        ignore: Ignore | None = None,
        initial_states: InitialStates = PROCESS,
        options: ReflectorOptions = DEFAULTS,
    ) -> None:
        self.resource = resource
        self._scope = Scope(
            client, resource, namespace, label_selector, field_selector, metadata_only
        )
        scope = str(self._scope)
        self.description = f"{resource.group_resource} of {place or client.cluster_name}" + (
            f" ({scope})" if scope else ""
        )
        self._clock = clock
        self._metrics = InformerMetrics(metrics, name, resource.group_resource, scope)
        self._store = Store(on_index_error=lambda: self._count("informer_index_errors_total"))
        self.lister: Lister[T] = Lister(self._store, resource, type)
        self._detector = detector_if_wanted(self, self.description, clock)
        self._reflector = Reflector(
            source or self._scope.source(streaming=streaming),
            self._scope.decoder(transform, compact=compact),
            self._sink(ignore),
            description=self.description,
            clock=clock,
            rng=rng,
            metrics=self._metrics,
            page_size=page_size,
            initial_states=initial_states,
            server="" if source else client.url,
            resource=str(resource.group_resource),
            options=options,
        )
        self._deliveries = self._make_deliveries()
        self._resource_version = ""
        self._has_state = False
        self._synced = asyncio.Event()
        # Guarded by the lock of the deliveries.
        self._state = _State.NEW
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None

    def _sink(self, ignore: Ignore | None) -> Sink:
        """Return what the reflector feeds: this informer, and what stands before it."""
        sink = self._detector or self
        if ignore is None:
            return sink
        return Ignoring(sink, ignore, on_error=lambda: self._count("informer_ignore_errors_total"))

    def _make_deliveries(self) -> Deliveries:
        return Deliveries(
            self.description,
            clock=self._clock,
            metrics=self._metrics,
            ailment=lambda: self._reflector.last_error,
        )

    def _count(self, name: str) -> None:
        self._metrics.count(name)

    # Any thread.

    @property
    def synced(self) -> bool:
        """Whether the first full state is stored, and was delivered to every handler there was.

        A buffered handler may not have seen it yet: ask its registration (INF-22). Once true it
        stays true (INF-24).
        """
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """The version of the collection that the store has reached (IDX-11, RF-38).

        "" before the first state and after the end; else that of the last state, event or bookmark.
        Whoever reads it and then the store finds at least what the server had at that version; a
        handler that is told of a change finds its version here already.
        """
        return self._resource_version

    @property
    def spans_clusters(self) -> bool:
        """Whether it shows the objects of many logical clusters."""
        return self._scope.client.is_wildcard

    def cache_of(self, write: Write) -> Cache | None:
        """Return what will have seen a write when its version is reached; None for what is not
        in scope, or cannot be told (CS-09, CS-11).
        """
        return self if self._scope.covers(write) else None

    @property
    def last_error(self) -> Exception | None:
        """Why lists or watches fail right now, or None while they work."""
        return self._reflector.last_error

    def status(self) -> InformerStatus:
        """Return how it is right now."""
        error = self.last_error
        return InformerStatus(
            description=self.description,
            synced=self.synced,
            objects=len(self._store),
            resource_version=self._resource_version,
            silence_seconds=self._reflector.silence_seconds,
            streamed=self._reflector.streamed,
            last_error=None if error is None else str(error) or type(error).__name__,
        )

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Add an index, before the start or after it; raises ValueError for a name in use."""
        self._store.add_index(name, function)

    def add_handler(
        self,
        handler: AnyHandler,
        *,
        matches: Callable[[CachedObject], bool] | None = None,
        buffered: bool = False,
        resync_seconds: float = 0.0,
    ) -> Registration:
        """Let ``handler`` hear of every change from now on.

        Added after the start it gets an add for each object that is stored, then what changes;
        nothing is missed and nothing comes twice (INF-08). That replay happens on the I/O thread,
        so from another thread it may come after this returns. Raises RuntimeError when the informer
        has ended (INF-09).

        Parameters
        ----------
        matches: hear only of objects for which this is true, as if there were no others (INF-17);
            called on the I/O thread.
        buffered: for a handler that blocks or takes its time: it is called on a thread of its own.
            Meanwhile the changes of each object collapse to one (see :class:`Backlog`). An
            :class:`AsyncEventHandler` always is.
        resync_seconds: how often to hear of everything that is stored once more, as updates from
            each object to itself; 0 is never, less than a second is a second. After the start it
            cannot be more often than any handler asked for before it (INF-35 to INF-37).
        """
        return self._add(
            handler, "", matches=matches, buffered=buffered, resync_seconds=resync_seconds
        )

    def cluster(self, name: str) -> ClusterView[T]:
        """Return a view of one logical cluster, with handlers of its own (KCP-12).

        An event costs as much as there are handlers of its cluster, whatever the number of views.
        """
        return ClusterView(self, self._add, self.lister.cluster(name), name)

    def _add(
        self,
        handler: AnyHandler,
        cluster: str,
        *,
        matches: Callable[[CachedObject], bool] | None,
        buffered: bool,
        resync_seconds: float,
    ) -> Delivery:
        with self._deliveries.lock:
            if self._state is _State.STOPPED:
                raise RuntimeError(f"the informer of {self.description} has ended")
            delivery = self._deliveries.register(
                handler,
                cluster=cluster,
                matches=matches,
                buffered=buffered,
                resync_seconds=resync_seconds,
            )
            if self._state is _State.NEW:
                self._deliveries.join(delivery, None)
            else:
                self._on_io_thread(self._join, delivery)
        return delivery

    def _join(self, delivery: Delivery) -> None:
        if not self._has_state:
            self._deliveries.join(delivery, None)
        elif delivery.cluster:
            there = self._store.by_index(CLUSTER_INDEX, delivery.cluster)
            self._deliveries.join(delivery, there)
        else:
            self._deliveries.join(delivery, self._store.all())

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster: its objects leave store and indexes, with deletes delivered.

        For a cluster that is gone, whose deletions nobody sends (KCP-17 fixed). The deletes say
        that the final state is not known. Once more does nothing; an object that the server still
        sends afterwards is added again. From another thread than the I/O thread it may happen
        after this returns, as with :meth:`add_handler`.
        """
        self._on_io_thread(self._remove_cluster, cluster)

    def relist(self) -> None:
        """End the watch and read the newest state there is, past every cache (KCP-16).

        For those who know that what is stored cannot be right. Nothing happens before the start
        and after the end; from another thread it may happen after this returns.
        """
        with self._deliveries.lock:
            if self._loop is not None and self._state is not _State.STOPPED:
                self._loop.call_soon_threadsafe(self._reflector.relist)

    def _remove_cluster(self, cluster: str) -> None:
        for obj in self._store.by_index(CLUSTER_INDEX, cluster):
            # A handler of one of these deletes may have removed it already.
            if self._store.get(obj.key) is obj:
                self._store.remove(obj.key)
                self._deliveries.delete(obj, final_state_unknown=True)

    def _on_io_thread(self, call: Callable[[P], None], argument: P) -> None:
        """Run a call there, now or soon; not at all before the start or after the end."""
        with self._deliveries.lock:
            loop = self._loop
            if loop is None or self._state is _State.STOPPED:
                return
            if threading.get_ident() != self._thread:
                loop.call_soon_threadsafe(call, argument)
                return
        call(argument)

    # The I/O thread.

    async def wait_for_sync(self) -> None:
        """Return when :attr:`synced`."""
        await self._synced.wait()

    async def run(self) -> None:
        """List and watch until cancelled.

        A second call while it runs is a warning and returns at once; after the end it raises
        RuntimeError (INF-25).
        """
        with self._deliveries.lock:
            if self._state is _State.RUNNING:
                _log.warning("Informer runs already", informer=self.description)
                return
            if self._state is _State.STOPPED:
                raise RuntimeError(f"the informer of {self.description} has ended")
            self._state = _State.RUNNING
            self._loop = asyncio.get_running_loop()
            self._thread = threading.get_ident()
            check_seconds = self._deliveries.begin()
        self._metrics.bind(
            synced=lambda: float(self.synced),
            objects=lambda: len(self._store),
            streams_state=lambda: float(self._reflector.streamed),
            silence_seconds=lambda: self._reflector.silence_seconds,
            resource_version=lambda: self._resource_version,
        )
        tasks = TaskSet(f"informer {self.description}")
        if check_seconds:
            tasks.spawn(self._resync(check_seconds), name="resync")
        try:
            if self._detector is None:
                await self._reflector.run()
            else:
                await self._detector.guard(self._reflector.run())
        finally:
            with self._deliveries.lock:
                self._state = _State.STOPPED
            # So nobody waits for it to see anything any more.
            self._resource_version = ""
            self._metrics.unbind()
            try:
                await tasks.close()
            finally:
                await self._deliveries.end()

    async def _resync(self, check_seconds: float) -> None:
        reflector = self._reflector
        await resync(
            self._deliveries, self._store, self._clock, check_seconds, lambda: reflector.watching
        )

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        """Take a full list: for the reflector only.

        FIFO-20, FIFO-21: the store is swapped, then deletions are told, then the rest in the order
        of the list; so handlers see the complete new state from the first call on.
        """
        after = {obj.key: obj for obj in objects}
        before = self._store.replace(after)
        self._resource_version = resource_version
        initial, self._has_state = not self._has_state, True
        self._deliveries.replace(before, after, is_initial=initial)
        self._synced.set()

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        """Take one event: for the reflector only.

        Whether it is an add or an update is for the store to say, not for the type (FIFO-35).
        """
        old = self._store.get(obj.key)
        changed = self._store_event(event_type, old, obj)
        self._resource_version = resource_version
        if not changed:
            return
        if event_type == "DELETED":
            self._deliveries.delete(obj, final_state_unknown=False)
        elif old is None:
            self._deliveries.add(obj, is_initial=False)
        else:
            self._deliveries.update(old, obj)

    def _store_event(self, event_type: str, old: CachedObject | None, obj: CachedObject) -> bool:
        """Bring the store up to an event; return whether there is something to tell."""
        if old is not None and is_older(obj.resource_version, old.resource_version):
            # Perhaps of a predecessor with another uid, which must not remove its successor either.
            return False
        if event_type == "DELETED":
            self._store.remove(obj.key)
            return old is not None
        if old is not None and is_same(old, obj):
            return False
        self._store.put(obj)
        return True

    def bookmark(self, resource_version: str) -> None:
        """Take a bookmark (FIFO-23): for the reflector only."""
        self._resource_version = resource_version
