"""Event handlers, and what an informer gives back for one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from kcpctl.informers.objects import CachedObject

__all__ = [
    "AnyHandler",
    "AsyncEventHandler",
    "Awaited",
    "EventHandler",
    "Filtered",
    "HandlerFuncs",
    "Registration",
    "awaited",
    "name_of",
]


_Run = Callable[[Coroutine[Any, Any, None]], None]


class EventHandler(Protocol):
    """What hears of changes.

    Called on the I/O thread, one call at a time, in the order of the store's changes, which have
    happened already (FIFO-34). It must not block: map the object to keys and add them to a queue,
    or ask for a buffer. An exception is logged and counted and hurts nobody else.

    In logs and metrics it goes by its attribute ``name``, if it has one, or that of its type.
    """

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Hear of a new object; initial ones are of the first list or of a replay (INF-07)."""

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Hear of a change. Another uid means: deleted and made again meanwhile (INF-06).

        The same version twice is a resync: nothing has changed.
        """

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Hear of a deletion.

        ``final_state_unknown`` says that the deletion itself was missed: ``obj`` is the last state
        known, not the last there was (INF-19).
        """


class AsyncEventHandler(Protocol):
    """The same with coroutines, for handlers that wait for I/O. It always has a buffer.

    They run on the I/O loop, one at a time; one that is running when the handler is removed runs to
    its end.
    """

    async def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Hear of a new object."""

    async def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Hear of a change."""

    async def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Hear of a deletion."""


AnyHandler = EventHandler | AsyncEventHandler


class HandlerFuncs(EventHandler):
    """A handler of functions, for programs that need only some of the three.

    Raises TypeError for coroutine functions, which nobody would await.
    """

    def __init__(
        self,
        *,
        on_add: Callable[[CachedObject], object] | None = None,
        on_update: Callable[[CachedObject, CachedObject], object] | None = None,
        on_delete: Callable[[CachedObject], object] | None = None,
    ) -> None:
        functions = [one for one in (on_add, on_update, on_delete) if one is not None]
        self.name = ",".join(map(_name_of_function, functions))
        if any(map(inspect.iscoroutinefunction, functions)):
            raise TypeError(f"{self.name}: a handler that is async is an AsyncEventHandler")
        self._on_add = on_add
        self._on_update = on_update
        self._on_delete = on_delete

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Call the first function."""
        if self._on_add is not None:
            self._on_add(obj)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Call the second function."""
        if self._on_update is not None:
            self._on_update(old, new)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Call the third function."""
        if self._on_delete is not None:
            self._on_delete(obj)


class Awaited(EventHandler):
    """An async handler, for a thread that may wait for it."""

    def __init__(self, handler: AsyncEventHandler, run: _Run) -> None:
        self._handler = handler
        self._run = run

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Run the first coroutine."""
        self._run(self._handler.on_add(obj, is_initial=is_initial))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Run the second coroutine."""
        self._run(self._handler.on_update(old, new))

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Run the third coroutine."""
        self._run(self._handler.on_delete(obj, final_state_unknown=final_state_unknown))


class Filtered(EventHandler):
    """A handler that hears only of objects that match, of one informer (INF-17).

    Starting to match is an add, ceasing to a delete, with the last state that was heard of. Which
    objects the handler knows is remembered, not worked out once more: so it hears each delete of
    these and no other, even if the last state of the object no longer matches.
    """

    def __init__(self, handler: EventHandler, matches: Callable[[CachedObject], bool]) -> None:
        self._handler = handler
        self._matches = matches
        self._known: set[str] = set()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Pass the object on if it matches."""
        if self._matches(obj):
            self._known.add(obj.key)
            self._handler.on_add(obj, is_initial=is_initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Pass on what the change means for those that match."""
        known = new.key in self._known
        if self._matches(new):
            if known:
                self._handler.on_update(old, new)
            else:
                self._known.add(new.key)
                self._handler.on_add(new, is_initial=False)
        elif known:
            self._known.discard(new.key)
            self._handler.on_delete(old, final_state_unknown=False)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Pass on the delete of an object that matched."""
        if obj.key in self._known:
            self._known.discard(obj.key)
            self._handler.on_delete(obj, final_state_unknown=final_state_unknown)


def awaited(handler: AnyHandler, run: _Run) -> EventHandler:
    """Return a handler as one that a thread may call; ``run`` runs a coroutine to its end."""
    if inspect.iscoroutinefunction(handler.on_add):
        return Awaited(cast(AsyncEventHandler, handler), run)
    return cast(EventHandler, handler)


def name_of(handler: AnyHandler) -> str:
    """Return what a handler is called in logs and metrics (INF-34)."""
    name = getattr(handler, "name", "")
    return name if isinstance(name, str) and name else type(handler).__qualname__


def _name_of_function(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__qualname__)


class Registration(Protocol):
    """One handler at one informer; the same handler twice is two of them (INF-10)."""

    @property
    def synced(self) -> bool:
        """Whether the handler has returned from every initial add (INF-21). It stays true."""

    def wait_for_sync(self, timeout_seconds: float) -> None:
        """Block this thread, which is not the I/O thread, until :attr:`synced`.

        Raises TimeoutError that names handler and informer and says what ails it, and RuntimeError
        as soon as the handler is removed or the informer ends (INF-23).
        """

    def remove(self) -> None:
        """Stop delivery.

        When it returns, no call runs and none will come, so a handler may remove itself but must
        never wait for another thread that removes it. May be called from any thread, twice, and
        after the informer has ended (INF-11; fixes INF-12). Only for a buffered handler that is
        removed on the I/O thread, which waits for nobody, the call that runs may outlast it.
        """
