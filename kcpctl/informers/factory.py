"""The factory: the informers of a program, each once, started and stopped together."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any, TypeVar, overload

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient
from kcpctl.informers.ignoring import Ignore
from kcpctl.informers.informer import SharedInformer
from kcpctl.informers.objects import Transform
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    IOLoop,
    Metrics,
    TaskSet,
    gather_all,
)

__all__ = ["InformerFactory"]

T = TypeVar("T")
_Informer = SharedInformer[Any]
_Arguments = tuple[
    Resource, type, str | None, str, str, bool, Transform | None, bool, Ignore | None
]


class InformerFactory:
    """Makes informers of one client and runs them on the I/O loop.

    A blocking interface for the program's own threads: on the I/O thread ``start``,
    ``wait_for_sync``, ``stop`` and ``close`` raise RuntimeError (IOLoop.run does).

    Parameters
    ----------
    name: tells the factories of a process apart in metrics, for example ``upstream``.
    streaming: whether full states are asked for as streams, with lists for servers that have none.
    options: of each informer's reflector.
    """

    def __init__(
        self,
        client: AsyncClient,
        io_loop: IOLoop,
        *,
        name: str = "",
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
        page_size: int | None = None,
        streaming: bool = True,
        options: ReflectorOptions = DEFAULTS,
    ) -> None:
        self._client = client
        self._io_loop = io_loop
        self._name = name
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._page_size = page_size
        self._streaming = streaming
        self._options = options
        self._tasks = TaskSet(f"informers {name}".rstrip())
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._informers: dict[_Arguments, _Informer] = {}
        self._running: dict[_Informer, asyncio.Task[None]] = {}
        self._begun: set[_Informer] = set()
        self._closed = False

    @overload
    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        transform: Transform | None = None,
        compact: bool = False,
        ignore: Ignore | None = None,
    ) -> SharedInformer[Unstructured]: ...

    @overload
    def informer(
        self,
        resource: Resource,
        type: type[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        transform: Transform | None = None,
        compact: bool = False,
        ignore: Ignore | None = None,
    ) -> SharedInformer[T]: ...

    def informer(
        self,
        resource: Resource,
        type: type[Any] = dict,  # noqa: A002 - the word for it
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        transform: Transform | None = None,
        compact: bool = False,
        ignore: Ignore | None = None,
    ) -> _Informer:
        """Return the informer for these arguments; the same arguments give the same one (FAC-01).

        It runs from the next :meth:`start` on.
        """
        arguments = (
            resource,
            type,
            namespace,
            label_selector,
            field_selector,
            metadata_only,
            transform,
            compact,
            ignore,
        )
        with self._lock:
            self._check_open()
            informer = self._informers.get(arguments)
            if informer is None:
                informer = self._informers[arguments] = SharedInformer(
                    self._client,
                    resource,
                    type,
                    namespace=namespace,
                    label_selector=label_selector,
                    field_selector=field_selector,
                    name=self._name,
                    clock=self._clock,
                    rng=self._rng,
                    metrics=self._metrics,
                    page_size=self._page_size,
                    streaming=self._streaming,
                    metadata_only=metadata_only,
                    transform=transform,
                    compact=compact,
                    ignore=ignore,
                    options=self._options,
                )
            return informer

    @property
    def waiting_for(self) -> list[str]:
        """The started informers that have not synced yet, each with its last error. Any thread."""
        return [_why_not(informer) for informer in self._started() if not informer.synced]

    def all_informers(self) -> list[SharedInformer[Any]]:
        """Return the informers there are, started or not. Any thread."""
        with self._lock:
            return list(self._informers.values())

    def start(self) -> None:
        """Start the informers that were asked for and do not run yet (FAC-02)."""
        self._io_loop.run(self._start())

    def wait_for_sync(self, timeout_seconds: float) -> None:
        """Wait until every started informer has synced (FAC-03).

        Raises TimeoutError that names those that have not, each with its last error.
        """
        self._io_loop.run(self._wait_for_sync(timeout_seconds))

    def stop(self, informer: SharedInformer[Any]) -> None:
        """End one informer and forget it (fixes FAC-06); asking again makes a new one.

        Returns when it has ended. One of another factory is left alone.
        """
        self._io_loop.run(self.end(informer))

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster in every informer; see :meth:`SharedInformer.remove`.

        May be called from any thread, the I/O thread included.
        """
        for informer in self.all_informers():
            informer.remove(cluster)

    def close(self) -> None:
        """End every informer; returns when all have ended. May be called twice (FAC-04)."""
        self._io_loop.run(self._close())

    # On the I/O loop.

    async def begin(self, informer: SharedInformer[Any]) -> None:
        """Start one informer, unless it runs. Whoever begins it waits for its sync, nobody else.

        For those on the I/O loop whose informers come and go.
        """
        with self._lock:
            self._check_open()
            if informer not in self._running:
                self._begun.add(informer)
                self._run(informer)

    async def end(self, informer: SharedInformer[Any]) -> None:
        """End one informer and forget it: :meth:`stop` for those on the I/O loop."""
        with self._lock:
            task = self._running.pop(informer, None)
            self._begun.discard(informer)
            self._informers = {
                arguments: other
                for arguments, other in self._informers.items()
                if other is not informer
            }
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _start(self) -> None:
        with self._lock:
            self._check_open()
            for informer in self._informers.values():
                self._run(informer)

    def _started(self) -> list[_Informer]:
        with self._lock:
            return [informer for informer in self._running if informer not in self._begun]

    def _run(self, informer: _Informer) -> None:
        if informer not in self._running:
            self._running[informer] = self._tasks.spawn(informer.run(), name=informer.description)

    async def _wait_for_sync(self, timeout_seconds: float) -> None:
        started = self._started()
        synced = self._tasks.spawn(
            gather_all(*(informer.wait_for_sync() for informer in started)), name="wait-for-sync"
        )
        timer = self._tasks.spawn(self._clock.asleep(timeout_seconds), name="wait-for-sync-timer")
        try:
            await asyncio.wait({synced, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            synced.cancel()
            timer.cancel()
        missing = [informer for informer in started if not informer.synced]
        if missing:
            raise TimeoutError(
                f"informers not synced after {timeout_seconds:g}s: "
                + "; ".join(_why_not(informer) for informer in missing)
            )

    async def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._running.clear()
            self._begun.clear()
            self._informers.clear()
        await self._tasks.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the informer factory is closed")


def _why_not(informer: _Informer) -> str:
    error = informer.last_error
    return informer.description + (f": {error}" if error else ": no answer yet")
