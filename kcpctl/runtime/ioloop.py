"""The I/O loop: one asyncio loop in one thread that owns every socket of the process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from kcpctl.runtime.deadline import Deadline
from kcpctl.runtime.threads import start_thread

__all__ = ["IOLoop"]

T = TypeVar("T")


class IOLoop:
    """An event loop on its own thread (named ``kcpctl-io``), started at construction.

    ``run`` and ``submit`` may be called from any other thread; on the loop's own thread ``run``
    raises instead of deadlocking. ``close`` cancels what is left, waits for it, aborts the
    connections that are still open and joins the thread; it may be called twice. After it ``run``
    and ``submit`` raise RuntimeError.
    """

    def __init__(self, name: str = "kcpctl-io") -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = start_thread(self._main, name=name)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._abort_connections()
            self._loop.close()

    def _abort_connections(self) -> None:
        """End the connections that nobody waits for any more.

        A TLS connection that was closed, or was being made when its task was cancelled, stays open
        until the other side has said goodbye; past the loop nobody would hear that.
        """
        left: Mapping[int, asyncio.Transport] = getattr(self._loop, "_transports", {})
        for transport in list(left.values()):
            transport.abort()
        # They are told of it in the next step, and what uses a TLS connection in the one after.
        for _ in range(3):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    @property
    def on_loop_thread(self) -> bool:
        """Whether the caller runs on the loop's thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start ``coroutine`` on the loop; the future's ``cancel`` cancels it there."""
        with self._lock:
            if self._closed:
                coroutine.close()
                raise RuntimeError("the I/O loop is closed")
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the loop and wait for it.

        Raises RuntimeError on the loop's own thread, where waiting would be a deadlock. When the
        waiting thread is interrupted the coroutine is cancelled. A :class:`Deadline` of the calling
        thread is kept: DeadlineExceeded is raised then.
        """
        if self.on_loop_thread:
            coroutine.close()
            raise RuntimeError(
                "a blocking call was made on the I/O thread, where it would wait for itself; "
                "use the async client there"
            )
        if (deadline := Deadline.current()) is not None:
            coroutine = deadline.keep(coroutine)
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` on the loop soon; dropped when the loop is closed.

        It runs without the caller's log fields: what it starts outlives the caller's work.
        """
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(callback, context=contextvars.Context())

    def tasks(self) -> set[asyncio.Task[object]]:
        """Return the tasks there are now, to look at. Any thread."""
        return asyncio.all_tasks(self._loop)

    def close(self) -> None:
        """Stop the loop, cancel what is left, and join the thread."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.on_loop_thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
