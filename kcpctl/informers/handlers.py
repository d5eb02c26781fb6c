"""Event handlers, and what an informer gives back for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kcpctl.informers.objects import CachedObject

__all__ = ["EventHandler", "HandlerFuncs", "Registration"]


class EventHandler(Protocol):
    """What hears of changes.

    Called on the I/O thread, one call at a time, in the order of the store's changes, which have
    happened already (FIFO-34). It must not block: map the object to keys and add them to a queue.
    An exception is logged and counted and hurts nobody else.
    """

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Hear of a new object; initial ones are of the first list or of a replay (INF-07)."""

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Hear of a change. Another uid means: deleted and made again meanwhile (INF-06)."""

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Hear of a deletion.

        ``final_state_unknown`` says that the deletion itself was missed: ``obj`` is the last state
        known, not the last there was (INF-19).
        """


class HandlerFuncs(EventHandler):
    """A handler of functions, for programs that need only some of the three."""

    def __init__(
        self,
        *,
        on_add: Callable[[CachedObject], object] | None = None,
        on_update: Callable[[CachedObject, CachedObject], object] | None = None,
        on_delete: Callable[[CachedObject], object] | None = None,
    ) -> None:
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


class Registration(Protocol):
    """One handler at one informer; the same handler twice is two of them (INF-10)."""

    @property
    def synced(self) -> bool:
        """Whether the handler has returned from every initial add (INF-21). It stays true."""

    def remove(self) -> None:
        """Stop delivery.

        When it returns, no call runs and none will come, so a handler may remove itself but must
        never wait for another thread that removes it. May be called from any thread, twice, and
        after the informer has ended (INF-11; fixes INF-12).
        """
