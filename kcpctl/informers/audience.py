"""Who hears of what: the handlers of an informer, by logical cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Protocol

from kcpctl.informers.buffering import Buffer
from kcpctl.informers.handlers import EventHandler
from kcpctl.informers.objects import CachedObject

__all__ = ["Audience", "Delivery"]


class _Owner(Protocol):
    def wait_for_sync(self, delivery: Delivery, timeout_seconds: float) -> None: ...

    def remove(self, delivery: Delivery) -> None: ...


class Delivery:
    """One handler at one informer; see :class:`kcpctl.informers.Registration`.

    All of it is guarded by the lock of the deliveries.
    """

    def __init__(
        self,
        owner: _Owner,
        handler: EventHandler,
        *,
        name: str,
        cluster: str,
        buffer: Buffer | None,
        resync_seconds: float,
        resync_at: float,
    ) -> None:
        self.handler = handler
        self.name = name
        self.cluster = cluster
        self.buffer = buffer
        self.resync_seconds = resync_seconds
        self.resync_at = resync_at
        self.live = True
        self._owner = owner
        self._replayed = False

    @property
    def synced(self) -> bool:
        """Whether the handler has returned from every initial add."""
        return self._replayed and (self.buffer is None or self.buffer.synced)

    def replayed(self) -> None:
        """Note that the handler, or its buffer, has got every initial add."""
        self._replayed = True
        if self.buffer is not None:
            self.buffer.complete()

    def wait_for_sync(self, timeout_seconds: float) -> None:
        """Block this thread until synced."""
        self._owner.wait_for_sync(self, timeout_seconds)

    def remove(self) -> None:
        """Stop delivery."""
        self._owner.remove(self)


class Audience:
    """Who hears of what: handlers of all logical clusters, and of one each. Does not change.

    So an event costs as much as there are handlers of its cluster, however many others have some.
    """

    def __init__(self, deliveries: Iterable[Delivery] = ()) -> None:
        self._everywhere: tuple[Delivery, ...] = ()
        self._by_cluster: dict[str, tuple[Delivery, ...]] = {}
        for delivery in deliveries:
            cluster = delivery.cluster
            if cluster:
                self._by_cluster[cluster] = (*self._by_cluster.get(cluster, ()), delivery)
            else:
                self._everywhere += (delivery,)

    def __iter__(self) -> Iterator[Delivery]:
        return chain(self._everywhere, *self._by_cluster.values())

    def of(self, obj: CachedObject) -> tuple[Delivery, ...]:
        """Return those who hear of an object."""
        if not self._by_cluster:
            return self._everywhere
        return self._everywhere + self._by_cluster.get(obj.cluster, ())

    def plus(self, delivery: Delivery) -> Audience:
        """Return these and one more."""
        return self._with(delivery.cluster, (*self._beside(delivery), delivery))

    def minus(self, delivery: Delivery) -> Audience:
        """Return these without one."""
        left = tuple(other for other in self._beside(delivery) if other is not delivery)
        return self._with(delivery.cluster, left)

    def _beside(self, delivery: Delivery) -> tuple[Delivery, ...]:
        """Return those who hear of the same objects as one does."""
        if delivery.cluster:
            return self._by_cluster.get(delivery.cluster, ())
        return self._everywhere

    def _with(self, cluster: str, deliveries: tuple[Delivery, ...]) -> Audience:
        made = Audience()
        made._everywhere, made._by_cluster = self._everywhere, dict(self._by_cluster)
        if not cluster:
            made._everywhere = deliveries
        elif deliveries:
            made._by_cluster[cluster] = deliveries
        else:
            made._by_cluster.pop(cluster, None)
        return made
