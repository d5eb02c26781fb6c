"""Views: one logical cluster of an informer that serves all of them (KCP-12)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

from kcpctl.client import Write
from kcpctl.informers.audience import Delivery
from kcpctl.informers.handlers import AnyHandler, Registration
from kcpctl.informers.lister import ClusterLister
from kcpctl.informers.objects import CachedObject
from kcpctl.informers.scope import Cache
from kcpctl.logicalcluster import WILDCARD, ClusterName

__all__ = ["ClusterView"]

T = TypeVar("T")


class _Informer(Protocol):
    @property
    def description(self) -> str: ...

    @property
    def synced(self) -> bool: ...

    def cache_of(self, write: Write) -> Cache | None: ...


class _Add(Protocol):
    def __call__(
        self,
        handler: AnyHandler,
        cluster: str,
        *,
        matches: Callable[[CachedObject], bool] | None,
        buffered: bool,
        resync_seconds: float,
    ) -> Delivery: ...


class ClusterView(Generic[T]):
    """What one logical cluster has in a shared informer; made by ``informer.cluster(name)``.

    It lists and watches nothing by itself: store and sync state are the informer's. Its handlers
    hear of this cluster's objects only, beginning with an add for each that is stored (KCP-14).
    :meth:`close`, or the end of the ``with`` block, removes all of them (KCP-13). Any thread.

    The cluster goes by its name, as in keys; its path finds nothing. "" and "*" raise ValueError.
    """

    def __init__(
        self, informer: _Informer, add: _Add, lister: ClusterLister[T], cluster: str
    ) -> None:
        if cluster in {"", WILDCARD}:
            raise ValueError(
                f"a view of {informer.description} is of one logical cluster, not of {cluster!r}; "
                "add handlers of all to the informer itself"
            )
        self.cluster = ClusterName(cluster)
        self.lister = lister
        self._informer = informer
        self._add = add
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._deliveries: list[Delivery] = []
        self._closed = False

    @property
    def description(self) -> str:
        """What it shows, for messages."""
        return f"{self._informer.description} in cluster {self.cluster}"

    @property
    def synced(self) -> bool:
        """Whether the informer has its first full state."""
        return self._informer.synced

    spans_clusters: Final = False

    def cache_of(self, write: Write) -> Cache | None:
        """Return the informer's cache that will show what was written, if any."""
        return self._informer.cache_of(write)

    def add_handler(
        self,
        handler: AnyHandler,
        *,
        matches: Callable[[CachedObject], bool] | None = None,
        buffered: bool = False,
        resync_seconds: float = 0.0,
    ) -> Registration:
        """Let ``handler`` hear of this cluster's objects: of those stored, then of changes.

        As :meth:`SharedInformer.add_handler` does. Raises RuntimeError when the view is closed or
        the informer has ended.
        """
        self._check_open()
        delivery = self._add(
            handler, self.cluster, matches=matches, buffered=buffered, resync_seconds=resync_seconds
        )
        with self._lock:
            closed = self._closed
            if not closed:
                there = (one for one in self._deliveries if one.live)
                self._deliveries = [*there, delivery]
        if closed:
            # Meanwhile, by another thread or by the handler itself.
            delivery.remove()
        return delivery

    def close(self) -> None:
        """Remove every handler; when it returns none is called any more. May be called twice."""
        with self._lock:
            self._closed = True
            there, self._deliveries = self._deliveries, []
        # Without the lock: a call that runs may want it.
        for delivery in there:
            delivery.remove()

    def _check_open(self) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the view of {self.description} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
