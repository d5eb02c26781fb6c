"""Dispatch: one handler that passes on what it hears, to all who listen or by logical cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from kcpctl.informers.handlers import EventHandler, Registration
from kcpctl.informers.indexes import CLUSTER_INDEX
from kcpctl.informers.objects import CachedObject
from kcpctl.informers.store import Store
from kcpctl.runtime import get_logger

__all__ = ["Dispatch", "Listener"]

_log = get_logger(__name__)


class _Owner(Protocol):
    """Whose events a dispatch passes on."""

    @property
    def description(self) -> str: ...

    @property
    def synced(self) -> bool: ...


class Listener:
    """A :class:`Registration`. ``live`` and ``joined`` are guarded by the dispatch's lock."""

    def __init__(self, dispatch: Dispatch, handler: EventHandler, cluster: str) -> None:
        self.handler = handler
        self.cluster = cluster
        self.live = True
        self.joined = False
        self._dispatch = dispatch
        self._synced = False

    @property
    def synced(self) -> bool:
        """Whether the handler was told of the first full state. It stays true."""
        if not self._synced:
            self._synced = self.joined and self._dispatch.synced
        return self._synced

    def remove(self) -> None:
        """Stop delivery; when it returns no call runs."""
        self._dispatch.remove(self)


class Dispatch(EventHandler):
    """Passes events on to handlers of all clusters and to handlers of one each.

    An event costs as much as there are handlers of its cluster, however many clusters have some.
    What counts is the cluster of the key, which a missed deletion has too (KCP-20 fixed). A handler
    that raises is logged, counted through ``on_error``, and hurts nobody else.

    Events come on the I/O thread, after the store has them. Handlers are added and removed on any
    thread. One that is added after the first event is told of what is stored on the I/O thread,
    between two deliveries: so nothing is missed and nothing comes twice.
    """

    def __init__(
        self, store: Store, owner: _Owner, *, on_error: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._owner = owner
        self._on_error = on_error
        self._upstream: Registration | None = None
        self.lock = threading.RLock()
        """Held over each call of a handler, and over each change of what follows."""
        self._everywhere: tuple[Listener, ...] = ()
        self._by_cluster: dict[str, tuple[Listener, ...]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def description(self) -> str:
        """Whose events these are."""
        return self._owner.description

    @property
    def synced(self) -> bool:
        """Whether the first full state has come by here."""
        return (self._upstream or self._owner).synced

    def follow(self, registration: Registration) -> None:
        """Take over how far the owner has told this handler."""
        self._upstream = registration

    def add(self, handler: EventHandler, cluster: str = "") -> Listener:
        """Pass on to ``handler``, all or one cluster's; RuntimeError when the owner has ended."""
        registration = Listener(self, handler, cluster)
        with self.lock:
            if self._closed:
                raise RuntimeError(f"the informer of {self.description} has ended")
            if self._loop is None:
                self._append(registration)
                registration.joined = True
            else:
                self._loop.call_soon_threadsafe(self._join, registration)
        return registration

    def remove(self, registration: Listener) -> None:
        """Pass nothing more on; when it returns no call runs."""
        with self.lock:
            registration.live = False
            cluster = registration.cluster
            if not cluster:
                self._everywhere = _without(self._everywhere, registration)
            elif left := _without(self._by_cluster.get(cluster, ()), registration):
                self._by_cluster[cluster] = left
            else:
                self._by_cluster.pop(cluster, None)

    def close(self) -> None:
        """Forget every handler, and take no more."""
        with self.lock:
            self._closed = True
            self._everywhere = ()
            self._by_cluster.clear()

    # The I/O thread.

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Pass on that an object came."""
        with self.lock:
            self._add(self._listeners(obj), obj, initial=is_initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Pass on that an object changed."""
        with self.lock:
            for registration in self._listeners(new):
                if registration.live:
                    try:
                        registration.handler.on_update(old, new)
                    except Exception as error:  # noqa: BLE001 - see _failed
                        self._failed(registration, new, error)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Pass on that an object went."""
        with self.lock:
            for registration in self._listeners(obj):
                if registration.live:
                    try:
                        registration.handler.on_delete(obj, final_state_unknown=final_state_unknown)
                    except Exception as error:  # noqa: BLE001 - see _failed
                        self._failed(registration, obj, error)

    def _listeners(self, obj: CachedObject) -> tuple[Listener, ...]:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._everywhere + self._by_cluster.get(obj.cluster, ())

    def _join(self, registration: Listener) -> None:
        with self.lock:
            if not registration.live or self._closed:
                return
            self._append(registration)
            cluster = registration.cluster
            there = self._store.by_index(CLUSTER_INDEX, cluster) if cluster else self._store.all()
            for obj in there:
                self._add((registration,), obj, initial=True)
            registration.joined = True

    def _add(self, listeners: tuple[Listener, ...], obj: CachedObject, *, initial: bool) -> None:
        for registration in listeners:
            if registration.live:
                try:
                    registration.handler.on_add(obj, is_initial=initial)
                except Exception as error:  # noqa: BLE001 - see _failed
                    self._failed(registration, obj, error)

    def _append(self, registration: Listener) -> None:
        cluster = registration.cluster
        if cluster:
            self._by_cluster[cluster] = (*self._by_cluster.get(cluster, ()), registration)
        else:
            self._everywhere += (registration,)

    def _failed(self, registration: Listener, obj: CachedObject, error: Exception) -> None:
        self._on_error()
        _log.error(
            "Event handler failed",
            informer=self.description,
            handler=type(registration.handler).__name__,
            key=obj.key,
            exc_info=error,
        )


def _without(registrations: tuple[Listener, ...], registration: Listener) -> tuple[Listener, ...]:
    return tuple(other for other in registrations if other is not registration)
