"""Views: one logical cluster of an informer that serves all of them (KCP-12)."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self, TypeVar

from kcpctl.informers.dispatch import Dispatch, Listener
from kcpctl.informers.handlers import EventHandler, Registration
from kcpctl.informers.lister import ClusterLister, Lister
from kcpctl.logicalcluster import ClusterName

__all__ = ["ClusterView"]

T = TypeVar("T")


class ClusterView(Generic[T]):
    """What one logical cluster has in a shared informer; made by ``informer.cluster(name)``.

    It lists and watches nothing by itself: store and sync state are the informer's. Its handlers
    hear of this cluster's objects only, beginning with an add for each that is stored (KCP-14).
    :meth:`close`, or the end of the ``with`` block, removes all of them (KCP-13). Any thread.
    """

    def __init__(self, lister: Lister[T], dispatch: Dispatch, cluster: str) -> None:
        self.cluster = ClusterName(cluster)
        self.lister: ClusterLister[T] = lister.cluster(cluster)
        self._dispatch = dispatch
        # Guarded by the dispatch's lock.
        self._listeners: list[Listener] = []
        self._closed = False

    @property
    def description(self) -> str:
        """What it shows, for messages."""
        return f"{self._dispatch.description} in cluster {self.cluster}"

    @property
    def synced(self) -> bool:
        """Whether the informer has its first full state."""
        return self._dispatch.synced

    def add_handler(self, handler: EventHandler) -> Registration:
        """Let ``handler`` hear of this cluster's objects: of those stored soon, then of changes.

        The adds of what is stored come on the I/O thread, perhaps after this returns. Raises
        RuntimeError when the view is closed or the informer has ended.
        """
        with self._dispatch.lock:
            if self._closed:
                raise RuntimeError(f"the view of {self.description} is closed")
            listener = self._dispatch.add(handler, self.cluster)
            self._listeners = [*(other for other in self._listeners if other.live), listener]
        return listener

    def close(self) -> None:
        """Remove every handler; when it returns none is called any more. May be called twice."""
        with self._dispatch.lock:
            self._closed = True
            for listener in self._listeners:
                listener.remove()
            self._listeners = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
