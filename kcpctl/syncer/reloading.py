"""A transport that follows its kubeconfig: renewed credentials are used without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from kcpctl.client import Call, ClientConfig, Response, Transport
from kcpctl.errors import ConfigError, Unauthorized
from kcpctl.runtime import SYSTEM_CLOCK, BlockingPool, Clock, get_logger

__all__ = ["RELOAD_SECONDS", "ReloadingTransport"]

_log = get_logger(__name__)

RELOAD_SECONDS: Final = 60.0
"""How old what was read of the file may get: AU-01's figure for token files."""


class _Generation:
    """One configuration's transport and the calls that still use it."""

    def __init__(self, config: ClientConfig, transport: Transport) -> None:
        self.config = config
        self.transport = transport
        self.users = 0
        self.retired = False


class ReloadingTransport:
    """A :class:`kcpctl.client.Transport` over a kubeconfig file that somebody else rewrites.

    Before a call the file is read again when 60 s have passed, and after a 401 at once; then the
    call is tried once more if the file has other credentials. Only calls that begin afterwards
    use them; running watches end on their own. While the file cannot be read or makes no sense
    (it is being written) the last good one stays in use. The logical cluster in the file's URL
    is fixed at the start. Everything happens on the I/O loop, reading on a thread.
    """

    def __init__(
        self,
        path: Path,
        config: ClientConfig,
        *,
        load: Callable[[Path], ClientConfig],
        make: Callable[[ClientConfig], Transport],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = path
        self._load = load
        self._make = make
        self._clock = clock
        self._pool = BlockingPool("kcpctl-kubeconfig", threads=1)
        self._reading = asyncio.Lock()
        self._current = _Generation(config, make(config))
        self._content: bytes | None = None
        self._read_at = clock.monotonic()
        self._closed = False

    @property
    def server(self) -> str:
        """The base URL."""
        return self._current.config.server

    async def request(self, call: Call) -> Response:
        """Send ``call`` and return the whole answer."""
        used = await self._fresh()
        try:
            return await self._request(used, call)
        except Unauthorized:
            renewed = await self._renewed(used)
            if renewed is used:
                raise
        return await self._request(renewed, call)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Send ``call`` and yield the body's bytes as they come."""
        used = await self._fresh()
        begun = False
        try:
            async with aclosing(self._stream(used, call)) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield chunk
            return
        except Unauthorized:
            renewed = await self._renewed(used)
            if begun or renewed is used:
                raise
        async with aclosing(self._stream(renewed, call)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        await self._current.transport.close()
        self._pool.close()

    async def _request(self, used: _Generation, call: Call) -> Response:
        used.users += 1
        try:
            return await used.transport.request(call)
        finally:
            await self._leave(used)

    async def _stream(self, used: _Generation, call: Call) -> AsyncGenerator[bytes, None]:
        used.users += 1
        try:
            async with aclosing(used.transport.stream(call)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await self._leave(used)

    async def _leave(self, used: _Generation) -> None:
        used.users -= 1
        if used.retired and not used.users:
            await used.transport.close()

    async def _fresh(self) -> _Generation:
        if self._clock.monotonic() - self._read_at >= RELOAD_SECONDS:
            await self._reload()
        return self._current

    async def _renewed(self, rejected: _Generation) -> _Generation:
        """The server answered 401: return what there is now, perhaps the same."""
        if self._current is rejected:
            await self._reload()
        return self._current

    async def _reload(self) -> None:
        """Read the file again, and put a new transport in place if it says something new."""
        seen = self._current
        async with self._reading:
            if self._closed or self._current is not seen:
                return  # another call has done it meanwhile
            self._read_at = self._clock.monotonic()
            try:
                config = await self._pool.run(self._read)
            except (ConfigError, OSError) as error:
                _log.warning("Kept the old credentials", file=self._path, exc_info=error)
                return
            if config is None or config == seen.config or self._closed:
                return
            self._current = _Generation(config, self._make(config))
            seen.retired = True
            _log.info("Read new credentials", file=self._path)
            if not seen.users:
                await seen.transport.close()

    def _read(self) -> ClientConfig | None:
        """Return the file's configuration, or None when its content is what it was. Blocks."""
        content = self._path.read_bytes()
        if content == self._content:
            return None
        config = self._load(self._path)
        self._content = content
        return config
