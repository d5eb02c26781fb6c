"""A TCP proxy that fails when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine, Mapping
from copy import deepcopy
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from kcpctl.runtime import SYSTEM_CLOCK, Clock, IOLoop, TaskSet

__all__ = ["FaultProxy"]

_CHUNK_BYTES: Final = 65_536


class FaultProxy:
    """Stands between a client and a server (``host:port``) and fails on request.

    It listens on a free port of 127.0.0.1, which stays the same for its whole life, and passes
    bytes through untouched: TLS stays between the two ends, so certificates for 127.0.0.1 stay
    valid (see :meth:`kubeconfig`). Use it as a context manager, or ``start`` and ``close`` it.
    All of it may be called from any thread except the I/O thread of its own; each method returns
    when it has taken effect.
    """

    def __init__(self, target: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        parts = urlsplit(target if "://" in target else f"tcp://{target}")
        if not parts.hostname or not parts.port:
            raise ValueError(f"{target!r} is neither host:port nor a URL with a port")
        self._target = (parts.hostname, parts.port)
        self._clock = clock
        self._loop: IOLoop | None = None
        self._listener: socket.socket | None = None
        self._port = 0
        # All below belongs on the I/O loop.
        self._tasks = TaskSet("fault proxy")
        self._pairs: set[_Pair] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay_seconds = 0.0
        self._cut_after: int | None = None
        self._accepted = 0

    @property
    def address(self) -> str:
        """``host:port`` to connect to."""
        return f"127.0.0.1:{self._port}"

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def live_connections(self) -> int:
        """How many connections are open."""
        return len(self._pairs)

    def kubeconfig(self, kubeconfig: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy whose clusters are reached through the proxy.

        The path of each server URL stays. The certificate is still checked for the server's own
        name, also where that is not 127.0.0.1.
        """
        result = deepcopy(dict(kubeconfig))
        for entry in result["clusters"]:
            cluster = entry["cluster"]
            parts = urlsplit(cluster["server"])
            if parts.hostname != "127.0.0.1":
                cluster.setdefault("tls-server-name", parts.hostname)
            cluster["server"] = urlunsplit(parts._replace(netloc=self.address))
        return result

    def start(self) -> Self:
        """Listen and pass on."""
        self._loop = IOLoop("kcpctl-fault-proxy")
        self.accept()
        return self

    def close(self) -> None:
        """Reset every connection and stop. May be called more than once."""
        if self._loop is not None:
            self._loop.run(self._close())
            self._loop.close()
            self._loop = None

    def accept(self) -> None:
        """Listen, again after :meth:`refuse`."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, as a machine whose server is down."""
        self._run(self._refuse())

    def reset(self) -> None:
        """Break every connection by a TCP reset; new ones are served."""
        self._run(self._reset())

    def hang(self) -> None:
        """Pass nothing on in either direction; new connections are accepted and left alone."""
        self._run(self._set_flow(False))

    def resume(self) -> None:
        """Undo :meth:`hang`: what was held back is passed on."""
        self._run(self._set_flow(True))

    def delay(self, seconds: float) -> None:
        """Pass each piece of data on that much later; 0 undoes it."""
        self._run(self._set_delay(seconds))

    def cut_after(self, size: int | None) -> None:
        """End each connection after that many bytes more of the server's answers; None undoes it.

        An event larger than that is cut in the middle of its line. Through TLS the client sees
        what whole records (of 16 KiB at most) came before.
        """
        self._run(self._set_cut(size))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the proxy is not started")
        self._loop.run(coroutine)

    # On the I/O loop.

    async def _listen(self) -> None:
        # Not asyncio's server: one that is closed loses what it was just about to accept.
        if self._listener is None:
            self._listener = listener = socket.create_server(("127.0.0.1", self._port))
            listener.setblocking(False)
            self._port = listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(listener, self._serve, listener)

    async def _refuse(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        for pair in self._pairs:
            pair.reset()

    async def _set_flow(self, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def _set_delay(self, seconds: float) -> None:
        self._delay_seconds = seconds

    async def _set_cut(self, size: int | None) -> None:
        self._cut_after = size
        for pair in self._pairs:
            pair.left = size

    async def _close(self) -> None:
        await self._refuse()
        await self._tasks.close()
        for pair in self._pairs:  # whose task was cut off as it ended them, or before it began
            pair.reset()
            pair.accepted.close()

    def _serve(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:  # it is gone already
            return
        accepted.setblocking(False)
        self._accepted += 1
        pair = _Pair(accepted, self._cut_after)
        self._pairs.add(pair)
        self._tasks.spawn(self._forward(pair), name=f"connection {self._accepted}")

    async def _forward(self, pair: _Pair) -> None:
        """Pass on what comes from the client, until either end has ended."""
        try:
            reader, pair.client = await asyncio.open_connection(sock=pair.accepted)
            pair.made()
            await self._flows.wait()
            answers, pair.server = await asyncio.open_connection(*self._target)
            pair.made()
            self._tasks.spawn(self._answer(answers, pair, pair.client), name="answers")
            while data := await self._piece(reader):
                pair.server.write(data)
                await pair.server.drain()
        except OSError:
            pair.reset()
        finally:
            await pair.close()
            self._pairs.discard(pair)

    async def _answer(
        self, answers: asyncio.StreamReader, pair: _Pair, client: asyncio.StreamWriter
    ) -> None:
        """Pass on what comes from the server, as far as it may."""
        try:
            while pair.left != 0 and (data := await self._piece(answers)):
                client.write(pair.allowed(data))
                await client.drain()
        except OSError:
            pair.reset()
        finally:
            await pair.close()

    async def _piece(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(_CHUNK_BYTES)
        if self._delay_seconds:
            await self._clock.asleep(self._delay_seconds)
        await self._flows.wait()
        return data


class _Pair:
    """The two connections that make one; ``left`` is how many bytes of answers may still pass."""

    def __init__(self, accepted: socket.socket, left: int | None) -> None:
        self.accepted = accepted
        self.client: asyncio.StreamWriter | None = None
        self.server: asyncio.StreamWriter | None = None
        self.left = left
        self.was_reset = False

    @property
    def _writers(self) -> list[asyncio.StreamWriter]:
        return [writer for writer in (self.client, self.server) if writer is not None]

    def allowed(self, data: bytes) -> bytes:
        """Return what may pass of ``data``."""
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        return data

    async def close(self) -> None:
        """End both in order, and return when what was written has left."""
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.accepted.close()

    def made(self) -> None:
        """Catch up with a reset that came while one of them was being made."""
        if self.was_reset:
            self.reset()

    def reset(self) -> None:
        """End both by a TCP reset."""
        self.was_reset = True
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                # Lingering for no time at all makes the kernel send a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
