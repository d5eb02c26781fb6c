"""The calls under way of one transport, so that they can be ended from outside."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp

from kcpctl.client.failures import ConnectionRenewed
from kcpctl.runtime.clock import Clock

__all__ = ["InFlight"]

# A watch that ends within its first second looks like one of a confused server (RF-26).
_MIN_AGE_SECONDS: Final = 2.0


class InFlight:
    """Knows who waits, for the first byte of an answer or for a turn, and who reads the rest.

    Closing an aiohttp session drops the connections, but tells nobody who waits for one: they
    would sit there until their timeout, ten minutes for a watch. One owner, on the I/O loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: set[asyncio.Timeout] = set()
        self._reading: set[aiohttp.ClientResponse] = set()
        # When each stream began, on the monotonic clock.
        self._streams: dict[aiohttp.ClientResponse, float] = {}
        self._ended = False

    @property
    def has_streams(self) -> bool:
        """Whether a stream is being read."""
        return bool(self._streams)

    @contextlib.asynccontextmanager
    async def waiting(self, timeout_seconds: float | None = None) -> AsyncIterator[None]:
        """Limit the time of what runs inside; TimeoutError when it is over or :meth:`end` came."""
        async with asyncio.timeout(0 if self._ended else timeout_seconds) as limit:
            self._waiting.add(limit)
            try:
                yield
            finally:
                self._waiting.discard(limit)

    @contextlib.contextmanager
    def reading(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Hold a response while its body is read; ClientError when :meth:`end` came."""
        self._reading.add(response)
        if self._ended:
            response.content.set_exception(aiohttp.ClientConnectionError("closed"))
        try:
            yield
        except RuntimeError as error:
            # aiohttp looks for a failure before it waits, but not before it waits again: it says
            # this when the end of a chunk and the loss of the connection come together.
            failure = response.content.exception()
            if failure is None:
                raise
            raise failure from error
        finally:
            self._reading.discard(response)

    @contextlib.contextmanager
    def streaming(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Do the same; ConnectionRenewed when :meth:`renew` came."""
        self._streams[response] = self._clock.monotonic()
        try:
            with self.reading(response):
                yield
        finally:
            del self._streams[response]

    def renew(self, context: ssl.SSLContext) -> None:
        """End the streams of other TLS contexts, so that their readers open them again (AU-07).

        Those that have just begun stay until the next call. What they had buffered is lost; it
        was not read, so a watch that goes on from its last event gets it again.
        """
        oldest = self._clock.monotonic() - _MIN_AGE_SECONDS
        for response, began_at in self._streams.items():
            if began_at <= oldest and _context_of(response) not in (None, context):
                response.content.set_exception(ConnectionRenewed("the certificates were renewed"))

    def end(self) -> None:
        """Wake everybody with an error, whoever comes later too."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(now)
        for response in self._reading:
            response.content.set_exception(aiohttp.ClientConnectionError("closed"))


def _context_of(response: aiohttp.ClientResponse) -> ssl.SSLContext | None:
    connection = response.connection
    if connection is None or connection.transport is None:
        return None
    context: ssl.SSLContext | None = connection.transport.get_extra_info("sslcontext")
    return context
