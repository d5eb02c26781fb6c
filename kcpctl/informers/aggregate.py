"""The aggregate: one informer of the informers of several servers of one resource (KCP-23)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, Write
from kcpctl.errors import KcpctlError
from kcpctl.informers.audience import Audience, Delivery
from kcpctl.informers.deliveries import Deliveries
from kcpctl.informers.handlers import AnyHandler, EventHandler, Registration
from kcpctl.informers.indexes import CLUSTER_INDEX, IndexFunction
from kcpctl.informers.informer import SharedInformer
from kcpctl.informers.lister import Lister
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import CachedObject
from kcpctl.informers.resync import resync
from kcpctl.informers.scope import Cache
from kcpctl.informers.store import Store
from kcpctl.informers.view import ClusterView
from kcpctl.runtime import SYSTEM_CLOCK, Clock, IOLoop, Metrics, TaskSet

__all__ = ["AggregateInformer", "MakeInformer"]

T = TypeVar("T")

MakeInformer = Callable[[str, AsyncClient], SharedInformer[T]]
"""Makes the informer of the member of that name; one that does not run yet."""


class AggregateInformer(Generic[T]):
    """What several servers, its members, show of one resource, as if they were one.

    For the shards of a kcp, or the URLs of an APIExportEndpointSlice. Each member has an informer
    of its own, with its own list, watch and versions, which are never compared with another's
    (KCP-22): where two show one key, the one that showed it last counts, and when that one loses it
    the other's is what there is. The store holds the same objects as the members' stores, so an
    object costs some 150 bytes more.

    Nothing is known before the first :meth:`set_members`, so it is not synced with no members
    unless it was told that there are none (KCP-24 fixed). One that goes takes its objects with it:
    their deletes are delivered, or an update where another member shows the key. A member that
    fails is tried again by itself, with growing pauses, and holds up nothing but the sync.

    ``set_members`` and ``close`` block, and raise RuntimeError on the I/O thread; all else may be
    called from any thread. The clients stay their owner's.
    """

    def __init__(
        self,
        resource: Resource,
        type: type[T],  # noqa: A002 - the word for it
        io_loop: IOLoop,
        *,
        make: MakeInformer[T] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        metrics: Metrics | None = None,
    ) -> None:
        self.resource = resource
        self.description = f"{resource.group_resource} of several servers"
        self._make: MakeInformer[T] = make or (
            lambda name, client: SharedInformer(
                client, resource, type, name=name, clock=clock, metrics=metrics
            )
        )
        self._io_loop = io_loop
        self._clock = clock
        counts = InformerMetrics(metrics, "", resource.group_resource, "aggregate")
        self._store = Store(on_index_error=lambda: counts.count("informer_index_errors_total"))
        self.lister: Lister[T] = Lister(self._store, resource, type)
        self._deliveries = Deliveries(
            self.description, clock=clock, metrics=counts, ailment=self._ailment
        )
        self._tasks = TaskSet(self.description)
        # Replaced as a whole, on the I/O thread; None while it is not known.
        self._members: Mapping[str, _Member[T]] | None = None
        # By key, who shows it; the I/O thread's own.
        self._shown_by: dict[str, _Member[T]] = {}
        self._closed = False

    # Any thread.

    @property
    def synced(self) -> bool:
        """Whether all members there are have synced; a new one makes it false again."""
        members = self._members
        return members is not None and all(member.synced for member in members.values())

    @property
    def waiting_for(self) -> list[str]:
        """The members that have not synced, each with its last error."""
        members = self._members
        if members is None:
            return [f"{self.description}: the members are not known yet"]
        return [str(member) for member in members.values() if not member.synced]

    @property
    def last_errors(self) -> dict[str, Exception]:
        """By member, why its list or watch fails right now."""
        members = (self._members or {}).values()
        errors = {member.name: member.informer.last_error for member in members}
        return {name: error for name, error in errors.items() if error is not None}

    @property
    def spans_clusters(self) -> bool:
        """Whether it shows the objects of many logical clusters: it is made for that."""
        return True

    @property
    def has_members(self) -> bool:
        """Whether it is known which members there are."""
        return self._members is not None

    @property
    def member_informers(self) -> Mapping[str, SharedInformer[T]]:
        """The members' own informers, by name."""
        return {name: member.informer for name, member in (self._members or {}).items()}

    def cache_of(self, write: Write) -> Cache | None:
        """Return the member that will show what was written, if any: versions are its own."""
        for member in (self._members or {}).values():
            if (cache := member.informer.cache_of(write)) is not None:
                return cache
        return None

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Add an index; raises ValueError for a name in use."""
        self._store.add_index(name, function)

    def add_handler(
        self,
        handler: AnyHandler,
        *,
        matches: Callable[[CachedObject], bool] | None = None,
        buffered: bool = False,
        resync_seconds: float = 0.0,
    ) -> Registration:
        """Let ``handler`` hear of every member, those that come later too (KCP-23).

        As :meth:`SharedInformer.add_handler` does; what is the start there is the first
        :meth:`set_members` here.
        """
        return self._add(
            handler, "", matches=matches, buffered=buffered, resync_seconds=resync_seconds
        )

    def cluster(self, name: str) -> ClusterView[T]:
        """Return a view of one logical cluster; see :meth:`SharedInformer.cluster`."""
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
            if self._closed:
                raise RuntimeError(f"the informer of {self.description} has ended")
            delivery = self._deliveries.register(
                handler,
                cluster=cluster,
                matches=matches,
                buffered=buffered,
                resync_seconds=resync_seconds,
            )
        if self._io_loop.on_loop_thread:
            self._join(delivery)
        else:
            self._io_loop.call(lambda: self._join(delivery))
        return delivery

    def _join(self, delivery: Delivery) -> None:
        cluster = delivery.cluster
        there = self._store.by_index(CLUSTER_INDEX, cluster) if cluster else self._store.all()
        if self.synced:
            self._deliveries.join(delivery, there)
            return
        # What there is already is not the whole state.
        self._deliveries.join(delivery, None)
        alone = Audience((delivery,))
        for obj in there:
            self._deliveries.add(obj, alone, is_initial=True)

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster in every member; see :meth:`SharedInformer.remove`."""
        for member in (self._members or {}).values():
            member.informer.remove(cluster)
        self._io_loop.call(lambda: self._remove(cluster))

    def set_members(self, members: Mapping[str, AsyncClient]) -> None:
        """Settle who the members are; returns when those that went have ended (KCP-25).

        A member with the same client is left alone, so calling it twice does nothing. With another
        client it is replaced: its objects stay until the new one has synced. When one cannot be
        made the others are all the same; then KcpctlError says which, and is to be tried again.
        """
        self._io_loop.run(self.take_members(members))

    def close(self) -> None:
        """End every member; no deletes are delivered. May be called twice."""
        self._io_loop.run(self.aclose())

    # The I/O thread.

    async def take_members(self, wanted: Mapping[str, AsyncClient]) -> None:
        """Do what :meth:`set_members` does, on the I/O loop; one call at a time."""
        if self._closed:
            raise RuntimeError(f"the informer of {self.description} is closed")
        if self._members is None and (check_seconds := self._deliveries.begin()):
            told = resync(
                self._deliveries, self._store, self._clock, check_seconds, lambda: self.synced
            )
            self._tasks.spawn(told, name="resync")
        before = self._members or {}
        after: dict[str, _Member[T]] = {}
        failed: dict[str, Exception] = {}
        for name, client in wanted.items():
            known = before.get(name)
            if known is not None and known.client is client:
                after[name] = known
                continue
            try:
                after[name] = _Member(self, name, client, self._make(name, client), known)
            except Exception as error:  # noqa: BLE001 - raised below, when the others are served
                failed[name] = error
                if known is not None:
                    after[name] = known
        self._members = after
        gone = [member for name, member in before.items() if after.get(name) is not member]
        ending = [task for member in gone for task in member.end()]
        for member in after.values():
            member.start(self._tasks)
        for member in gone:
            if member.name not in after:
                self.release(member)
        self.note_sync()
        if ending:
            await asyncio.wait(ending)
        if failed:
            raise KcpctlError(
                f"{self.description}: no informer for "
                + "; ".join(f"{name}: {error}" for name, error in failed.items())
            )

    def _remove(self, cluster: str) -> None:
        """Forget what members show that were replaced; of the others it is gone already."""
        members = (self._members or {}).values()
        for obj in self._store.by_index(CLUSTER_INDEX, cluster):
            owner = self._shown_by.get(obj.key)
            if owner is not None and owner not in members:
                self.hide(owner, obj, final_state_unknown=True)

    async def aclose(self) -> None:
        """Do what :meth:`close` does, on the I/O loop."""
        with self._deliveries.lock:
            self._closed = True
        await self._tasks.close()
        await self._deliveries.end()

    def _ailment(self) -> Exception | None:
        return KcpctlError("; ".join(waiting)) if (waiting := self.waiting_for) else None

    def note_sync(self) -> None:
        """Tell the handlers when they have heard of the whole state: for members only."""
        if self.synced:
            self._deliveries.replace({}, {}, is_initial=False)

    def show(self, member: _Member[T], obj: CachedObject, *, is_initial: bool) -> None:
        """Take an object that a member has got: for members only."""
        old, before = self._store.get(obj.key), self._shown_by.get(obj.key)
        self._shown_by[obj.key] = member
        self._store.put(obj)
        if old is None:
            self._deliveries.add(obj, is_initial=is_initial)
        elif before is member or old.raw != obj.raw:
            self._deliveries.update(old, obj)

    def shows(self, member: _Member[T], key: str) -> bool:
        """Whether it is this member's object that counts: for members only."""
        return self._shown_by.get(key) is member

    def hide(self, member: _Member[T], obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Take that a member has lost an object: for members only."""
        if not self.shows(member, obj.key):
            return
        for other in (self._members or {}).values():
            if theirs := other.informer.lister.cached(obj.key):
                self.show(other, theirs, is_initial=False)
                return
        del self._shown_by[obj.key]
        self._store.remove(obj.key)
        self._deliveries.delete(obj, final_state_unknown=final_state_unknown)

    def release(self, member: _Member[T]) -> None:
        """Take that a member, or one that it replaced, shows nothing any more (KCP-24 fixed)."""
        if member.replaces is not None:
            self.release(member.replaces)
            member.replaces = None
        for key in [key for key, owner in self._shown_by.items() if owner is member]:
            obj = self._store.get(key)
            if obj is not None:
                self.hide(member, obj, final_state_unknown=True)


class _Member(EventHandler, Generic[T]):
    """One server, and the handler of its informer."""

    def __init__(
        self,
        aggregate: AggregateInformer[T],
        name: str,
        client: AsyncClient,
        informer: SharedInformer[T],
        replaces: _Member[T] | None,
    ) -> None:
        self.name = name
        self.client = client
        self.informer = informer
        self.replaces = replaces
        self._aggregate = aggregate
        self._registration = informer.add_handler(self)
        self._running: list[asyncio.Task[None]] = []

    def __str__(self) -> str:
        error = self.informer.last_error
        return f"{self.name}: {self.informer.description}: {error or 'no answer yet'}"

    @property
    def synced(self) -> bool:
        """Whether the aggregate has all it shows."""
        return self._registration.synced

    def start(self, tasks: TaskSet) -> None:
        """Run the informer, unless it does already."""
        if not self._running:
            self._running = [
                tasks.spawn(self.informer.run(), name=self.name),
                tasks.spawn(self._sync(), name=f"sync of {self.name}"),
            ]

    def end(self) -> list[asyncio.Task[None]]:
        """Hear nothing more, and return what is about to end."""
        self._registration.remove()
        for task in self._running:
            task.cancel()
        return self._running

    async def _sync(self) -> None:
        await self.informer.wait_for_sync()
        before, self.replaces = self.replaces, None
        if before is not None:
            self._aggregate.release(before)
        self._aggregate.note_sync()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self._aggregate.show(self, obj, is_initial=is_initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        if self._aggregate.shows(self, new.key):
            self._aggregate.show(self, new, is_initial=False)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self._aggregate.hide(self, obj, final_state_unknown=final_state_unknown)
