"""The way to a cluster that outlives its clients: watches go on over rotations and outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from kcpctl.client import AsyncClient, RawEvent, RawPage
from kcpctl.clusters.meter import Meter
from kcpctl.errors import KcpctlError, TransportError
from kcpctl.informers import ClientSource

__all__ = ["Line", "LineSource"]


class Line:
    """The client that a connection serves at the moment, if it serves one.

    Belongs on the I/O loop. ``heard`` counts what came from the cluster by itself.
    """

    def __init__(self) -> None:
        self.client: AsyncClient | None = None
        self.heard = 0
        self._connected = asyncio.Event()

    def serve(self, client: AsyncClient | None) -> None:
        """Take the client that is served from now on; None while there is none."""
        self.client = client
        if client is None:
            self._connected.clear()
        else:
            self._connected.set()

    async def connected(self) -> None:
        """Return while a client is served."""
        await self._connected.wait()


class LineSource:
    """The objects of one resource, from whichever client the line has.

    Its watches end in order, and so are opened again where they ended, when their client was
    replaced or lost; :meth:`ready` waits out the time without one. ``live`` says whether the
    cluster has answered since the connection was last lost; ``on_live`` is called when it does.
    ``meter`` hears of each page of a list.
    """

    def __init__(
        self,
        line: Line,
        make: Callable[[AsyncClient], ClientSource],
        *,
        on_live: Callable[[], None],
        meter: Meter,
    ) -> None:
        self.live = False
        self._line = line
        self._make = make
        self._on_live = on_live
        self._meter = meter

    async def ready(self) -> None:
        """Return when there is somebody to ask."""
        await self._line.connected()

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return one page."""
        source = self._make(self._client())
        page = await source.list(
            resource_version=resource_version, limit=limit, continue_=continue_
        )
        self._meter.on_page(page, is_first=not continue_)
        self._answered()
        return page

    async def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield what changed since that version."""
        client = self._client()
        watch = self._make(client).watch(
            resource_version=resource_version, timeout_seconds=timeout_seconds
        )
        try:
            async with aclosing(watch):
                async for batch in watch:
                    self._answered()
                    yield batch
                    # A quiet watch does not hold what came last.
                    del batch
        except TransportError:
            if client is self._line.client:
                raise

    def _client(self) -> AsyncClient:
        client = self._line.client
        if client is None:
            raise _Lost("the connection was lost")
        return client

    def _answered(self) -> None:
        self._line.heard += 1
        if not self.live:
            self.live = True
            self._on_live()


class _Lost(KcpctlError):
    """There is no client any more; the reflector's next try waits in :meth:`LineSource.ready`."""

    retryable = True
