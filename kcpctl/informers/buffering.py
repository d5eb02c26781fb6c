"""A buffer between an informer and a handler that takes its time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from kcpctl.informers.handlers import EventHandler
from kcpctl.informers.objects import CachedObject
from kcpctl.runtime import Clock, get_logger, start_thread

__all__ = ["Backlog", "Buffer", "Change"]

_log = get_logger(__name__)

# INF-04: what is worth a line in the log.
_SLOW_SECONDS: Final = 0.1
_MANY_PENDING: Final = 1024


@dataclass(slots=True)
class Change:
    """All that a handler has not heard of one key, as one change.

    ``before`` is what it heard of last, if there was anything; ``gone`` the last state of that, if
    it was deleted; ``after`` is what there is now, if anything.
    """

    key: str
    before: CachedObject | None
    after: CachedObject | None
    gone: CachedObject | None = None
    is_initial: bool = False
    final_state_unknown: bool = False

    def calls(self, handler: EventHandler) -> Iterator[Callable[[], None]]:
        """Return what to call, in order."""
        before, after, gone = self.before, self.after, self.gone
        if gone is not None:
            yield lambda: handler.on_delete(gone, final_state_unknown=self.final_state_unknown)
            before = None
        if after is None:
            return
        if before is None:
            yield lambda: handler.on_add(after, is_initial=self.is_initial)
        else:
            yield lambda: handler.on_update(before, after)


class Backlog:
    """What a handler has not heard yet: one change for each key, in the order of the first.

    Updates collapse to one, from what was heard last to the newest. An object that came and went
    unheard was never there. One that was deleted and made again is a delete and an add: only an
    update that the informer itself had to tell so (INF-06) is from one uid to another. Not
    thread-safe.
    """

    def __init__(self) -> None:
        self._changes: dict[str, Change] = {}
        self.initial = 0
        """How many of the changes are initial adds."""

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Note an object that came."""
        change = self._changes.get(obj.key)
        if change is None:
            self._changes[obj.key] = Change(obj.key, None, obj, is_initial=is_initial)
            self.initial += is_initial
        else:
            change.after = obj

    def update(self, old: CachedObject, new: CachedObject) -> None:
        """Note an object that changed."""
        change = self._changes.get(new.key)
        if change is None:
            self._changes[new.key] = Change(new.key, old, new)
        else:
            change.after = new

    def delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Note an object that went."""
        change = self._changes.get(obj.key)
        if change is None:
            self._changes[obj.key] = Change(
                obj.key, obj, None, obj, final_state_unknown=final_state_unknown
            )
        elif change.before is None:
            del self._changes[obj.key]
            self.initial -= change.is_initial
        else:
            change.after = None
            if change.gone is None:
                change.gone, change.final_state_unknown = obj, final_state_unknown

    def take(self) -> Change:
        """Return the oldest change, which is the handler's from now on."""
        change = self._changes.pop(next(iter(self._changes)))
        self.initial -= change.is_initial
        return change

    def clear(self) -> None:
        """Drop everything."""
        self._changes.clear()
        self.initial = 0


class Buffer(EventHandler):
    """Calls a handler on a thread of its own, one change at a time (see :class:`Backlog`).

    Whoever delivers is never delayed; what waits is bounded by the number of keys. The thread
    starts with the first change and ends with :meth:`close`. A call that raises is reported to
    ``on_error``. A call of over 100 ms while more than 1024 changes wait is logged, once until all
    of them are told (INF-04).

    Parameters
    ----------
    on_synced: called on the thread when the last initial add after :meth:`complete` has returned.
    """

    def __init__(
        self,
        handler: EventHandler,
        *,
        name: str,
        informer: str,
        clock: Clock,
        on_error: Callable[[str, BaseException], None],
        on_synced: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._name = name
        self._informer = informer
        self._clock = clock
        self._on_error = on_error
        self._on_synced = on_synced
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended.set_running_or_notify_cancel()
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._backlog = Backlog()
        self._telling_initial = False
        self._complete = False
        self._synced = False
        self._closed = False
        self._thread: threading.Thread | None = None
        # The thread's own.
        self._complained = False

    def __len__(self) -> int:
        return len(self._backlog)

    @property
    def synced(self) -> bool:
        """Whether the handler has returned from every initial add. It stays true."""
        return self._synced

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Note an object that came."""
        with self._changed:
            self._backlog.add(obj, is_initial=is_initial)
            self._wake()

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Note an object that changed."""
        with self._changed:
            self._backlog.update(old, new)
            self._wake()

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Note an object that went."""
        with self._changed:
            self._backlog.delete(obj, final_state_unknown=final_state_unknown)
            self._settle()
            self._wake()

    def complete(self) -> None:
        """Note that every initial add has come."""
        with self._changed:
            self._complete = True
            self._settle()

    def close(self, *, wait: bool) -> None:
        """Drop what waits and end the thread; ``wait`` for it, except on the thread itself."""
        with self._changed:
            self._closed = True
            self._backlog.clear()
            self._changed.notify_all()
            thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    async def ended(self) -> None:
        """Return when the thread has ended, after :meth:`close`."""
        if self._thread is not None:
            await asyncio.wrap_future(self._ended)

    def _settle(self) -> None:
        waiting = self._backlog.initial or self._telling_initial
        if self._complete and not waiting and not self._closed:
            self._synced = True

    def _wake(self) -> None:
        if self._closed:
            self._backlog.clear()
        elif self._thread is None:
            self._thread = start_thread(self._run, name=f"kcpctl-handler-{self._name}")
        else:
            self._changed.notify()

    def _run(self) -> None:
        try:
            while (change := self._next()) is not None:
                self._tell(change)
        finally:
            self._ended.set_result(None)

    def _next(self) -> Change | None:
        with self._changed:
            while not self._backlog and not self._closed:
                self._complained = False
                self._clock.wait(self._changed, None)
            if self._closed:
                return None
            change = self._backlog.take()
            self._telling_initial = change.is_initial
            return change

    def _tell(self, change: Change) -> None:
        for call in change.calls(self._handler):
            if self._closed:
                return
            began = self._clock.monotonic()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - the thread outlives any call
                self._on_error(change.key, error)
            self._trace(change.key, self._clock.monotonic() - began)
        if change.is_initial:
            with self._changed:
                self._telling_initial = False
                self._settle()
            if self._synced:
                self._on_synced()

    def _trace(self, key: str, seconds: float) -> None:
        pending = len(self._backlog)
        if seconds > _SLOW_SECONDS and pending > _MANY_PENDING and not self._complained:
            self._complained = True
            _log.warning(
                "Event handler is slow",
                informer=self._informer,
                handler=self._name,
                key=key,
                seconds=round(seconds, 3),
                pending=pending,
            )
