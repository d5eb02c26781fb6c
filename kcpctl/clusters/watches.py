"""Watches of one cluster that many share."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient
from kcpctl.clusters.line import Line, LineSource
from kcpctl.clusters.meter import Cap, Meter, Size
from kcpctl.errors import NotConnected
from kcpctl.informers import (
    CachedObject,
    ClientSource,
    Lister,
    Registration,
    SharedInformer,
)
from kcpctl.informers.handlers import AnyHandler
from kcpctl.runtime import Clock, IOLoop, TaskSet

__all__ = ["IDLE_SECONDS", "ClusterWatch", "Scope", "Watches"]

T = TypeVar("T")

# A reconciler that lets go and asks again on its next run, or a controller that restarts, finds
# the informer as it was; a whole minute of nobody is no such gap.
IDLE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched: the same scope is the same informer."""

    resource: Resource
    type: type
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False


class _Shared:
    """One informer and how many hold it. ``holders`` and ``idle_since`` are guarded by _lock.

    ``refused`` is why it does not run any more although it is held, "" while it does.
    """

    def __init__(
        self,
        scope: Scope,
        make: Callable[[LineSource], SharedInformer[Any]],
        source: LineSource,
        meter: Meter,
    ) -> None:
        self.scope = scope
        self.source = source
        self.meter = meter
        self.informer = make(source)
        self.informer.add_handler(meter)
        self.holders = 0
        self.idle_since = 0.0
        self.ended = False
        self.refused = ""
        self.timer: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self._make = make

    @property
    def settled(self) -> bool:
        return self.informer.synced and self.source.live

    def refuse(self, why: str) -> None:
        """Stop, and let go of what is held."""
        self.refused = why
        for task in self.tasks:
            task.cancel()
        self.informer = self._make(self.source)
        self.meter.held, self.meter.listed = Size(), Size()


class Watches:
    """The shared informers of one connection.

    ``join``, ``leave`` and what a :class:`ClusterWatch` does are safe from any thread; the rest
    belongs on the I/O loop. ``changed`` is called there when :attr:`unsettled` may have changed.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        line: Line,
        tasks: TaskSet,
        *,
        clock: Clock,
        rng: random.Random,
        cap: Cap,
        changed: Callable[[], None],
        refusal: Callable[[str], NotConnected],
    ) -> None:
        self._io_loop = io_loop
        self._line = line
        self._tasks = tasks
        self._clock = clock
        self._rng = rng
        self._cap = cap
        self._changed = changed
        self.refusal = refusal
        self._url = ""
        self._closed = False
        self._lock = threading.Lock()
        self._shared: dict[Scope, _Shared] = {}  # guarded by _lock

    @property
    def connected(self) -> bool:
        """Whether there is a client."""
        return self._line.client is not None

    @property
    def unsettled(self) -> str:
        """A watch that has no state since the connection was made, and why; "" for none."""
        for shared in self._all():
            if not shared.settled:
                return _why(shared)
        return ""

    @property
    def objects(self) -> int:
        """How many objects are held."""
        return sum(len(shared.informer.lister) for shared in self._all())

    def join(self, client: AsyncClient, scope: Scope) -> ClusterWatch[Any]:
        """Return a hold on the informer of that scope, which begins if it is the first one."""
        if client.url != self._url:
            raise self.refusal("its credentials have come to name another server just now")
        with self._lock:
            if self._closed:
                raise RuntimeError("the connection is closed")
            shared = self._shared.get(scope)
            if shared is None:
                shared = self._shared[scope] = self._new(client, scope)
                self._io_loop.call(lambda: self._start(shared))
            shared.holders += 1
        return ClusterWatch(self, shared)

    def leave(self, shared: _Shared) -> None:
        """Give one hold up."""
        with self._lock:
            shared.holders -= 1
            idle = not shared.holders and not shared.ended
            shared.idle_since = self._clock.monotonic()
        if idle:
            self._io_loop.call(lambda: self._look_after(shared))

    # On the I/O loop.

    def serve(self, client: AsyncClient) -> None:
        """Go on with that client; with another URL it is another cluster, and all of it ends."""
        if self._url and self._url != client.url:
            self._end(self._all())
        self._url = client.url
        self._line.serve(client)

    def lose(self) -> None:
        """Stop until there is a client again."""
        self._line.serve(None)
        for shared in self._all():
            shared.source.live = False

    def close(self) -> None:
        """End all of it, for good."""
        self._line.serve(None)
        with self._lock:
            self._closed = True
        self._end(self._all())

    def _all(self) -> list[_Shared]:
        with self._lock:
            return list(self._shared.values())

    def _new(self, client: AsyncClient, scope: Scope) -> _Shared:
        def source_of(client: AsyncClient) -> ClientSource:
            return ClientSource(
                client,
                scope.resource,
                namespace=scope.namespace,
                label_selector=scope.label_selector,
                field_selector=scope.field_selector,
                metadata_only=scope.metadata_only,
            )

        def informer(source: LineSource) -> SharedInformer[Any]:
            return SharedInformer(
                client,
                scope.resource,
                scope.type,
                namespace=scope.namespace,
                label_selector=scope.label_selector,
                field_selector=scope.field_selector,
                metadata_only=scope.metadata_only,
                source=source,
                clock=self._clock,
                rng=self._rng,
            )

        meter = Meter(lambda: self._measure(shared))
        source = LineSource(self._line, source_of, on_live=self._changed, meter=meter)
        shared = _Shared(scope, informer, source, meter)
        return shared

    def _measure(self, grown: _Shared) -> None:
        """Stop the one that has grown if the cluster holds more than it may."""
        if grown.refused or self._cap.allows(*(one.meter.size for one in self._all())):
            return
        grown.refuse(
            f"{grown.informer.description} is not watched any more: what is held of this cluster "
            f"would be more than {self._cap}; select fewer objects, or raise the pool's limit"
        )
        self._changed()

    def _start(self, shared: _Shared) -> None:
        if not shared.ended and not shared.refused:
            informer = shared.informer
            shared.tasks = [
                self._tasks.spawn(informer.run(), name=informer.description),
                self._tasks.spawn(self._tell_of_state(informer), name="first state"),
            ]
            self._changed()

    async def _tell_of_state(self, informer: SharedInformer[Any]) -> None:
        await informer.wait_for_sync()
        self._changed()

    def _look_after(self, shared: _Shared) -> None:
        if shared.timer is None or shared.timer.done():
            shared.timer = self._tasks.spawn(self._end_when_idle(shared), name="idle watch")

    async def _end_when_idle(self, shared: _Shared) -> None:
        while not shared.holders and not shared.ended:
            left = shared.idle_since + IDLE_SECONDS - self._clock.monotonic()
            if left > 0:
                await self._clock.asleep(left)
                continue
            self._end([shared], only_idle=True)

    def _end(self, ending: list[_Shared], *, only_idle: bool = False) -> None:
        for shared in ending:
            with self._lock:
                if only_idle and shared.holders:
                    continue
                shared.ended = True
                if self._shared.get(shared.scope) is shared:
                    del self._shared[shared.scope]
            for task in shared.tasks:
                task.cancel()
        if not self._closed:
            self._changed()


class ClusterWatch(Generic[T]):
    """A hold on the informer of one resource of one cluster. All of it from any thread.

    The informer goes on over rotations of credentials and over outages: when the connection is
    back it resumes where it was, and handlers hear what changed meanwhile. While the connection is
    lost they hear nothing: that it is lost is told by ``ClusterPool.subscribe``. When the cluster
    is removed, or its credentials come to name another server, the watch ends for good, without a
    word to handlers: ask the pool for a new one.
    """

    def __init__(self, watches: Watches, shared: _Shared) -> None:
        self._watches = watches
        self._shared = shared
        self._lock = threading.Lock()
        self._registrations: list[Registration] = []  # guarded by _lock
        self._released = False  # guarded by _lock

    @property
    def ended(self) -> bool:
        """Whether it was released or has ended for good."""
        return self._released or self._shared.ended

    @property
    def lister(self) -> Lister[T]:
        """What the cluster has; raises NotConnected while that cannot be told.

        So while there is no connection, and until the state was read since it was made. The pool
        notifies when that is over.
        """
        self._check()
        shared = self._shared
        if not self._watches.connected:
            raise self._watches.refusal("")
        if not shared.settled:
            raise self._watches.refusal(_why(shared))
        lister: Lister[T] = shared.informer.lister
        return lister

    def stale(self) -> tuple[Lister[T], float]:
        """Return what the cluster had when it was last heard of, and how many seconds ago that was.

        Raises NotConnected when nothing was ever read.
        """
        self._check()
        informer = self._shared.informer
        if not informer.synced:
            raise self._watches.refusal(_why(self._shared))
        return informer.lister, informer.status().silence_seconds

    def add_handler(
        self,
        handler: AnyHandler,
        *,
        matches: Callable[[CachedObject], bool] | None = None,
        buffered: bool = False,
    ) -> Registration:
        """Let ``handler`` hear of all there is and every change; see ``SharedInformer``."""
        self._check()
        registration = self._shared.informer.add_handler(
            handler, matches=matches, buffered=buffered
        )
        with self._lock:
            self._registrations.append(registration)
        return registration

    def release(self) -> None:
        """Remove the handlers and let go; the last one out ends the informer a minute later.

        May be called twice.
        """
        with self._lock:
            if self._released:
                return
            self._released = True
            registrations, self._registrations = self._registrations, []
        for registration in registrations:
            registration.remove()
        self._watches.leave(self._shared)

    def _check(self) -> None:
        if self._released:
            raise RuntimeError("the watch was released")
        if self._shared.ended:
            raise self._watches.refusal("the watch has ended: ask the pool for a new one")
        if self._shared.refused:
            raise self._watches.refusal(self._shared.refused)


def _why(shared: _Shared) -> str:
    if shared.refused:
        return shared.refused
    error = shared.informer.last_error
    return f"{shared.informer.description} has not been read yet" + (f": {error}" if error else "")
