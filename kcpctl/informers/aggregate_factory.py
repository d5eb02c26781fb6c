"""The factory of informers over several servers that come and go."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Mapping
from typing import Any, TypeVar, Unpack, overload

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient
from kcpctl.informers.aggregate import AggregateInformer
from kcpctl.informers.informer import SharedInformer
from kcpctl.informers.interfaces import InformerOptions
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, IOLoop, Metrics

__all__ = ["AggregateFactory"]

T = TypeVar("T")
_Arguments = tuple[Resource, type, tuple[tuple[str, object], ...]]


class AggregateFactory:
    """Makes :class:`AggregateInformer` objects, all of the same members, as a factory makes others.

    Whoever knows the members gives them with :meth:`set_members`, on the I/O loop. As soon as it is
    known which there are, the informers count as synced: a member that cannot be reached must not
    keep those of others from being worked on. So whoever reconciles has to ask first whether what
    it looks at is complete: :meth:`unsynced` and :meth:`wait_for` tell of one member.

    ``start`` and ``close`` block, and raise RuntimeError on the I/O thread; all but
    ``set_members`` and ``wait_for`` may be called from any other. The clients stay their owner's.

    Parameters
    ----------
    name: tells the factories of a process apart in metrics. members: what they are, for messages.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        *,
        name: str = "",
        members: str = "servers",
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
        options: ReflectorOptions = DEFAULTS,
    ) -> None:
        self._io_loop = io_loop
        self._name = name
        self._whose = members
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._options = options
        self._lock = threading.Lock()
        self._informers: dict[_Arguments, AggregateInformer[Any]] = {}  # guarded by _lock
        # Written on the I/O thread and replaced as a whole, the first two with the lock held.
        self._started: tuple[AggregateInformer[Any], ...] = ()
        self._closed = False
        # None while they are not known.
        self._members: Mapping[str, AsyncClient] | None = None
        self._changing = asyncio.Lock()
        self._begun = asyncio.Event()

    @overload
    def informer(
        self, resource: Resource, **options: Unpack[InformerOptions]
    ) -> AggregateInformer[Unstructured]: ...

    @overload
    def informer(
        self, resource: Resource, type: type[T], **options: Unpack[InformerOptions]
    ) -> AggregateInformer[T]: ...

    def informer(
        self,
        resource: Resource,
        type: type[Any] = dict,  # noqa: A002 - the word for it
        **options: Unpack[InformerOptions],
    ) -> AggregateInformer[Any]:
        """Return the informer for these arguments; the same arguments give the same one (FAC-01).

        It runs from the next :meth:`start` on.
        """
        arguments = (resource, type, tuple(sorted(options.items(), key=lambda item: item[0])))
        with self._lock:
            self._check_open()
            informer = self._informers.get(arguments)
            if informer is None:
                informer = self._informers[arguments] = self._new(resource, type, options)
            return informer

    def _new(
        self, resource: Resource, type_: type[Any], options: InformerOptions
    ) -> AggregateInformer[Any]:
        def make(member: str, client: AsyncClient) -> SharedInformer[Any]:
            return SharedInformer(
                client,
                resource,
                type_,
                name=self._name,
                place=member,
                clock=self._clock,
                rng=self._rng,
                metrics=self._metrics,
                options=self._options,
                **options,
            )

        return AggregateInformer(
            resource, type_, self._io_loop, make=make, clock=self._clock, metrics=self._metrics
        )

    @property
    def waiting_for(self) -> list[str]:
        """What is to be known before the informers count as synced."""
        return [] if self._members is not None else [f"the list of {self._whose}"]

    def all_informers(self) -> list[SharedInformer[Any]]:
        """Return the members' informers there are now."""
        return [one for informer in self._all() for one in informer.member_informers.values()]

    def unsynced(self, member: str) -> list[str]:
        """Return what a member still has to show, each with its last error."""
        return [
            f"{one.description}: {one.last_error or 'no answer yet'}"
            for informer in self._started
            if (one := informer.member_informers.get(member)) is not None and not one.synced
        ]

    def relist(self, member: str) -> None:
        """Read anew what a member has; see :meth:`SharedInformer.relist`."""
        for informer in self._all():
            if (one := informer.member_informers.get(member)) is not None:
                one.relist()

    def start(self) -> None:
        """Start the informers that were asked for and do not run yet (FAC-02)."""
        self._io_loop.run(self._start())

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster in every informer; see :meth:`AggregateInformer.remove`."""
        for informer in self._all():
            informer.remove(cluster)

    def close(self) -> None:
        """End every informer; returns when all have ended. May be called twice (FAC-04)."""
        self._io_loop.run(self._close())

    # On the I/O loop.

    async def set_members(self, members: Mapping[str, AsyncClient]) -> None:
        """Settle who the members are; returns when those that went have ended."""
        self._members = dict(members)
        await self._apply()

    async def wait_for(self, member: str) -> None:
        """Return when each informer shows all that a member has; not before the start."""
        await self._begun.wait()
        for informer in self._started:
            if (one := informer.member_informers.get(member)) is not None:
                await one.wait_for_sync()

    async def _start(self) -> None:
        with self._lock:
            self._check_open()
            self._started = tuple(self._informers.values())
        await self._apply()
        self._begun.set()

    async def _apply(self) -> None:
        # One at a time, each with the newest members: a call that waited must bring none back.
        async with self._changing:
            for informer in self._started:
                if self._members is None or self._closed:
                    return
                if not informer.has_members:
                    # So it is synced, and its handlers are told so, before a member has answered.
                    await informer.take_members({})
                await informer.take_members(self._members)

    async def _close(self) -> None:
        with self._lock:
            self._closed = True
            informers, self._started = self._started, ()
            self._informers.clear()
        async with self._changing:
            for informer in informers:
                await informer.aclose()

    def _all(self) -> list[AggregateInformer[Any]]:
        with self._lock:
            return list(self._informers.values())

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the informer factory is closed")
