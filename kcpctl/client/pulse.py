"""One small GET, again and again: the probes of a cluster that is at rest."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from yarl import URL

__all__ = ["Address", "Pulse", "request_head"]

T = TypeVar("T")

_MAX_ANSWER_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 4096
_MAX_SKIPPED: Final = 64
_HEAD = re.compile(rb"HTTP/1\.1 200(?: [^\r\n]*)?\r\n((?:[^\r\n:]+:[^\r\n]*\r\n)*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,5}")
# The library knows what to do about these.
_NOT_OURS: Final = frozenset(
    {b"transfer-encoding", b"content-encoding", b"connection", b"upgrade", b"warning"}
)


class Address(NamedTuple):
    """Where a connection leads: what connecting there again takes, without asking for a name."""

    family: int
    peer: Any


class _NotUnderstood(Exception):
    """An answer for the library to judge."""


class Pulse:
    """A TLS connection of its own, for one GET that is sent every few seconds as long as we run.

    Among a thousand clusters at rest that is a fifth of the CPU time and half of the memory that
    the same takes in the library's hands. It understands one answer: 200 with a length. Whatever
    else there is (no way there, a certificate that is not trusted, another code, a redirect, a
    connection that ends) it gives up its connection and returns None, and whoever asked leaves the
    request to the library, which has the last word. So nothing that matters is decided here. Where
    that goes on it tries ever more seldom.

    On a selector loop; elsewhere it always returns None. One request at a time. Cancelling closes
    the connection, and so does ``close``, which a request under way takes for its end.
    """

    def __init__(self) -> None:
        self._connection: ssl.SSLSocket | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._skip = self._pause = 0

    async def ask(
        self, address: Address, context: ssl.SSLContext, server_name: str, request: bytes
    ) -> bytes | None:
        """Send ``request``, which ends where its headers end, and return the answer's body."""
        if self._skip:
            self._skip -= 1
            return None
        body = None
        try:
            connection = self._connection
            if connection is None or connection.context is not context or not _is_quiet(connection):
                self.close()
                connection = await self._connect(address, context, server_name)
            body = await self._exchange(connection, request)
        except (OSError, ValueError, NotImplementedError, _NotUnderstood):
            self._skip = self._pause = min(2 * self._pause or 1, _MAX_SKIPPED)
        else:
            self._pause = 0
        finally:
            if body is None:
                self.close()
        return body

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._waiting is not None:
            _unwatch(connection)
            if not self._waiting.done():
                self._waiting.set_exception(ConnectionError("closed"))
        connection.close()

    async def _connect(
        self, address: Address, context: ssl.SSLContext, server_name: str
    ) -> ssl.SSLSocket:
        plain = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(plain, address.peer)
            connection = self._connection = context.wrap_socket(
                plain, server_hostname=server_name, do_handshake_on_connect=False
            )
        finally:
            plain.close()  # what was wrapped is detached from it
        await self._do(connection, connection.do_handshake)
        return connection

    async def _exchange(self, connection: ssl.SSLSocket, request: bytes) -> bytes:
        if await self._do(connection, lambda: connection.send(request)) != len(request):
            raise _NotUnderstood
        answer = b""
        while len(answer) < _MAX_ANSWER_BYTES:
            part = await self._do(connection, lambda: connection.recv(_READ_BYTES))
            answer += part
            if (body := _body(answer)) is not None:
                return body
            if not part:
                break
        raise _NotUnderstood

    async def _do(self, connection: ssl.SSLSocket, step: Callable[[], T]) -> T:
        """Take a step as soon as the socket lets us."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                watch = loop.add_reader
            except ssl.SSLWantWriteError:
                watch = loop.add_writer
            ready = self._waiting = loop.create_future()
            watch(connection, _wake, ready)
            try:
                await ready
            finally:
                self._waiting = None
                if connection is self._connection:  # else it is closed, and its number another's
                    _unwatch(connection)


def _unwatch(connection: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(connection)
    loop.remove_writer(connection)


def request_head(path: str, base: URL, headers: Mapping[str, str]) -> bytes | None:
    """Return a GET of ``path`` below ``base``; None for one that is not plain ASCII."""
    prefix = base.raw_path.rstrip("/")
    lines = [f"GET {prefix}{path} HTTP/1.1", f"Host: {base.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    # A line break in a header would be another header.
    plain = " " not in path and all(line.isascii() and line.isprintable() for line in lines)
    return "\r\n".join([*lines, "", ""]).encode() if plain else None


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _is_quiet(connection: ssl.SSLSocket) -> bool:
    """Whether the connection is as it was left: neither closed nor full of what nobody asked."""
    try:
        connection.recv(1)
    except OSError as error:
        return isinstance(error, ssl.SSLWantReadError)
    return False


def _body(answer: bytes) -> bytes | None:
    """Return the body if all of it has come; raises _NotUnderstood."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = _HEAD.fullmatch(answer, 0, end + 4)
    if head is None:
        raise _NotUnderstood
    lengths = []
    for line in head[1].splitlines():
        name, _, value = line.lower().partition(b":")
        if name in _NOT_OURS:
            raise _NotUnderstood
        if name == b"content-length":
            lengths.append(value.strip())
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _NotUnderstood
    body = answer[end + 4 :]
    if len(body) > int(lengths[0]):
        raise _NotUnderstood
    return body if len(body) == int(lengths[0]) else None
