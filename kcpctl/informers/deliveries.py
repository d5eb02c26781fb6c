"""The handlers of an informer, and what each of them is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from kcpctl.informers.audience import Audience, Delivery
from kcpctl.informers.buffering import Buffer
from kcpctl.informers.handlers import AnyHandler, EventHandler, Filtered, awaited, name_of
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import CachedObject
from kcpctl.runtime import Clock, get_logger

__all__ = ["Deliveries", "is_same"]

_log = get_logger(__name__)

# INF-35.
_LEAST_RESYNC_SECONDS: Final = 1.0


class Deliveries:
    """Tells handlers of changes: on the I/O thread, one call at a time, in the order they come.

    A handler that raises is logged and counted, and hurts nobody else. Handlers are registered and
    removed by any thread, and by handlers that are being told; a removed one is not called again.

    Parameters
    ----------
    informer: what it is called in messages.
    ailment: says why the informer has not synced, for those who waited in vain.
    """

    def __init__(
        self,
        informer: str,
        *,
        clock: Clock,
        metrics: InformerMetrics,
        ailment: Callable[[], Exception | None],
    ) -> None:
        self._informer = informer
        self._clock = clock
        self._metrics = metrics
        self._ailment = ailment
        self.lock = threading.RLock()
        """Held over each delivery, and each change of what follows."""
        self._changed = threading.Condition(self.lock)
        self._there = Audience()
        self._io_thread: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._check_seconds = 0.0
        self._ended = False

    # Any thread.

    def register(
        self,
        handler: AnyHandler,
        *,
        cluster: str,
        matches: Callable[[CachedObject], bool] | None,
        buffered: bool,
        resync_seconds: float,
    ) -> Delivery:
        """Return the delivery to a handler, which begins when it joins."""
        name = name_of(handler)
        resync_seconds = self._resync_period(name, resync_seconds)
        told = awaited(handler, self._run)
        buffer: Buffer | None = None
        if buffered or told is not handler:
            told = buffer = self._buffer(told, name)
        return Delivery(
            self,
            told if matches is None else Filtered(told, matches),
            name=name,
            cluster=cluster,
            buffer=buffer,
            resync_seconds=resync_seconds,
            resync_at=self._clock.monotonic() + resync_seconds,
        )

    def join(self, delivery: Delivery, stored: Iterable[CachedObject] | None) -> None:
        """Let a handler hear of every change from now on, after an add for what is stored.

        None is: there is no state yet. It hears of the state with the others then.
        """
        with self.lock:
            if not delivery.live or self._ended:
                return
            # What a handler changes while it is told belongs to nobody's second telling.
            self._there = self._there.plus(delivery)
            self._measure(delivery)
            if stored is not None:
                alone = Audience((delivery,))
                for obj in stored:
                    self.add(obj, alone, is_initial=True)
                delivery.replayed()
                self._changed.notify_all()

    def remove(self, delivery: Delivery) -> None:
        """Stop delivery to a handler; see :class:`kcpctl.informers.Registration`."""
        with self.lock:
            delivery.live = False
            self._there = self._there.minus(delivery)
            self._measure_no_more(delivery)
            self._changed.notify_all()
            on_io_thread = threading.get_ident() == self._io_thread
        if delivery.buffer is not None:
            # Its call may be waiting for the I/O thread.
            delivery.buffer.close(wait=not on_io_thread)

    def wait_for_sync(self, delivery: Delivery, timeout_seconds: float) -> None:
        """Block this thread until a handler is synced."""
        what = f"handler {delivery.name} of {self._informer}"
        deadline = self._clock.monotonic() + timeout_seconds
        with self._changed:
            if threading.get_ident() == self._io_thread and not delivery.synced:
                raise RuntimeError(f"{what}: waiting on the I/O thread would never end")
            while not delivery.synced:
                if not delivery.live or self._ended:
                    end = "the informer ended" if delivery.live else "it was removed"
                    raise RuntimeError(f"{what} has not synced: {end}")
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{what} has not synced after {timeout_seconds:g}s: "
                        f"{self._ailment() or 'no answer yet'}"
                    )
                self._clock.wait(self._changed, left)

    # The I/O thread.

    def begin(self) -> float:
        """Note the start; return how often a resync may be due, 0 for never (INF-36, INF-37)."""
        with self.lock:
            self._io_thread = threading.get_ident()
            self._loop = asyncio.get_running_loop()
            asked = [one.resync_seconds for one in self._there if one.resync_seconds]
            self._check_seconds = min(asked, default=0.0)
            for delivery in self._there:
                self._measure(delivery)
            return self._check_seconds

    async def end(self) -> None:
        """End every delivery; return when no call runs (INF-26)."""
        with self.lock:
            self._ended = True
            there, self._there = self._there, Audience()
            for delivery in there:
                self._measure_no_more(delivery)
            self._changed.notify_all()
        buffers = [delivery.buffer for delivery in there if delivery.buffer is not None]
        for buffer in buffers:
            buffer.close(wait=False)
        for buffer in buffers:
            await buffer.ended()

    def replace(
        self,
        before: Mapping[str, CachedObject],
        after: Mapping[str, CachedObject],
        *,
        is_initial: bool,
    ) -> None:
        """Tell of a new state: deletions first, then the rest in the order of the state."""
        with self.lock:
            there = self._there
            for key, obj in before.items():
                if key not in after:
                    self.delete(obj, there, final_state_unknown=True)
            for key, obj in after.items():
                old = before.get(key)
                if old is None:
                    self.add(obj, there, is_initial=is_initial)
                elif not is_same(old, obj):
                    self.update(old, obj, there)
            for delivery in there:
                delivery.replayed()
            self._changed.notify_all()

    def add(self, obj: CachedObject, there: Audience | None = None, *, is_initial: bool) -> None:
        """Tell of an object that came; ``there`` narrows the handlers."""
        with self.lock:
            for delivery in (self._there if there is None else there).of(obj):
                if delivery.live:
                    try:
                        delivery.handler.on_add(obj, is_initial=is_initial)
                    except Exception as error:  # noqa: BLE001 - see _failed
                        self._failed(delivery.name, obj.key, error)

    def update(self, old: CachedObject, new: CachedObject, there: Audience | None = None) -> None:
        """Tell of an object that changed."""
        with self.lock:
            for delivery in (self._there if there is None else there).of(new):
                if delivery.live:
                    try:
                        delivery.handler.on_update(old, new)
                    except Exception as error:  # noqa: BLE001 - see _failed
                        self._failed(delivery.name, new.key, error)

    def delete(
        self,
        obj: CachedObject,
        there: Audience | None = None,
        *,
        final_state_unknown: bool,
    ) -> None:
        """Tell of an object that went."""
        with self.lock:
            for delivery in (self._there if there is None else there).of(obj):
                if delivery.live:
                    try:
                        delivery.handler.on_delete(obj, final_state_unknown=final_state_unknown)
                    except Exception as error:  # noqa: BLE001 - see _failed
                        self._failed(delivery.name, obj.key, error)

    def due(self) -> Audience | None:
        """Return the handlers that want a resync now, and note that they get it (INF-38)."""
        with self.lock:
            now = self._clock.monotonic()
            due = [one for one in self._there if one.resync_seconds and one.resync_at <= now]
            for delivery in due:
                delivery.resync_at = now + delivery.resync_seconds
            return Audience(due) if due else None

    def _buffer(self, handler: EventHandler, name: str) -> Buffer:
        return Buffer(
            handler,
            name=name,
            informer=self._informer,
            clock=self._clock,
            on_error=lambda key, error: self._failed(name, key, error),
            on_synced=self._notify_waiters,
        )

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a call of an async handler on the I/O loop; for the threads of buffers."""
        assert self._loop is not None, "nothing is told before the start"
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _resync_period(self, name: str, asked: float) -> float:
        """Return how often a handler that asks for ``asked`` is resynced."""
        if asked < 0:
            raise ValueError(f"handler {name} asks for a resync every {asked:g}s; 0 is never")
        period = max(asked, _LEAST_RESYNC_SECONDS) if asked else 0.0
        check = self._check_seconds
        if period and self._io_thread is not None and (not check or period < check):
            # How often to look was settled at the start.
            period = check
            _log.warning(
                "Resync asked for too late",
                informer=self._informer,
                handler=name,
                asked_seconds=asked,
                given_seconds=period,
            )
        return period

    def _measure(self, delivery: Delivery) -> None:
        if delivery.buffer is not None and self._io_thread is not None:
            self._metrics.bind_pending(delivery.name, delivery.buffer.__len__)

    def _measure_no_more(self, delivery: Delivery) -> None:
        if delivery.buffer is not None:
            self._metrics.unbind_pending(delivery.name, delivery.buffer.__len__)

    def _notify_waiters(self) -> None:
        with self.lock:
            self._changed.notify_all()

    def _failed(self, name: str, key: str, error: BaseException) -> None:
        """A handler that raises hurts nobody else, and does not stay unsynced (fixes INF-16)."""
        self._metrics.count("informer_handler_errors_total")
        _log.error(
            "Event handler failed",
            informer=self._informer,
            handler=name,
            key=key,
            exc_info=error,
        )


def is_same(one: CachedObject, other: CachedObject) -> bool:
    """Whether two states of one key are of one version."""
    return one.resource_version == other.resource_version and one.uid == other.uid
