"""The calls under way of one transport, so that closing it can end them at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp

__all__ = ["InFlight"]


class InFlight:
    """Knows who waits for the first byte of an answer and who reads the rest.

    Closing an aiohttp session drops the connections, but tells nobody who waits for one: they
    would sit there until their timeout, ten minutes for a watch. One owner, on the I/O loop.
    """

    def __init__(self) -> None:
        self._opening: set[asyncio.Timeout] = set()
        self._reading: set[aiohttp.ClientResponse] = set()

    @contextlib.asynccontextmanager
    async def opening(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Limit the time of what runs inside; TimeoutError when it is over or :meth:`end` came."""
        async with asyncio.timeout(timeout_seconds) as limit:
            self._opening.add(limit)
            try:
                yield
            finally:
                self._opening.discard(limit)

    @contextlib.contextmanager
    def reading(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Hold a response while its body is read; ClientError when :meth:`end` came."""
        self._reading.add(response)
        try:
            yield
        finally:
            self._reading.discard(response)

    def end(self) -> None:
        """Wake everybody with an error."""
        now = asyncio.get_running_loop().time()
        for limit in self._opening:
            if not limit.expired():
                limit.reschedule(now)
        for response in self._reading:
            response.content.set_exception(aiohttp.ClientConnectionError("closed"))
