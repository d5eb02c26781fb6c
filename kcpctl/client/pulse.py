"""One small GET, again and again: the probes of a cluster that is at rest."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from yarl import URL

__all__ = ["Address", "Pulse", "request_head"]

_MAX_ANSWER_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 4096
_MAX_SKIPPED: Final = 64
_HEAD = re.compile(rb"HTTP/1\.1 200(?: [^\r\n]*)?\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,5}")
# The library knows what to do about these.
_NOT_OURS: Final = frozenset({b"transfer-encoding", b"content-encoding", b"upgrade", b"warning"})


class Address(NamedTuple):
    """Where a connection leads: what connecting there again takes, without asking for a name."""

    family: int
    peer: Any


class _NotUnderstood(Exception):
    """An answer for the library to judge."""


class Pulse:
    """A TLS connection of its own, for one GET that is sent every few seconds as long as we run.

    Among a thousand clusters at rest a probe takes 240 us of CPU time in all, and 570 if the
    library sends it; and the connection 12 KiB less. It understands one answer: 200 with a length.
    Whatever else there is (no way there, a certificate that is not trusted, another code, a
    redirect, a connection that ends) it gives up its connection and returns None, and whoever
    asked leaves the request to the library, which has the last word. So nothing that matters is
    decided here. Where that goes on it tries ever more seldom.

    On a selector loop, and one request at a time: else it returns None too. Cancelling closes the
    connection.
    """

    def __init__(self) -> None:
        self._connection: ssl.SSLSocket | None = None
        # What is to be done when something has come, and who waits for that.
        self._step: Callable[[], Any] | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._busy = False
        self._skip = self._pause = 0

    async def ask(
        self, address: Address, context: ssl.SSLContext, server_name: str, request: bytes
    ) -> bytes | None:
        """Send ``request``, which ends where its headers end, and return the answer's body."""
        if self._busy or not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
            return None
        if self._skip:
            self._skip -= 1
            return None
        body, self._busy = None, True
        try:
            connection = self._connection
            if connection is None or connection.context is not context:
                self.close()
                connection = await self._connect(address, context, server_name)
            body = await self._exchange(connection, request)
            self._pause = 0
        except (OSError, ValueError, _NotUnderstood):
            self._skip = self._pause = min(2 * self._pause or 1, _MAX_SKIPPED)
        finally:
            self._busy = False
            if body is None:
                self.close()
        return body

    def close(self) -> None:
        """Close the connection that is kept, while no request is under way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection.fileno())
            connection.close()

    async def _connect(
        self, address: Address, context: ssl.SSLContext, server_name: str
    ) -> ssl.SSLSocket:
        loop = asyncio.get_running_loop()
        plain = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            plain.setblocking(False)
            await loop.sock_connect(plain, address.peer)
            connection = context.wrap_socket(
                plain, server_hostname=server_name, do_handshake_on_connect=False
            )
        finally:
            plain.close()  # what was wrapped is detached from it
        self._connection = connection
        loop.add_reader(connection.fileno(), self._readable)
        await self._do(connection.do_handshake)
        return connection

    async def _exchange(self, connection: ssl.SSLSocket, request: bytes) -> bytes:
        if connection.send(request) != len(request):
            raise _NotUnderstood
        answer = b""
        while len(answer) < _MAX_ANSWER_BYTES:
            part = await self._do(lambda: connection.recv(_READ_BYTES))
            answer += part
            if (body := _body(answer)) is not None:
                return body
            if not part:
                break
        raise _NotUnderstood

    async def _do(self, step: Callable[[], Any]) -> Any:
        """Take a step, again each time that something has come, until it is done.

        What cannot be sent at once, few bytes into an empty buffer, is an error like any other.
        """
        try:
            return step()
        except ssl.SSLWantReadError:
            self._step, self._waiting = step, asyncio.get_running_loop().create_future()
        try:
            return await self._waiting
        finally:
            self._step = self._waiting = None

    def _readable(self) -> None:
        """Take the step; or, when there is none, close a connection that is not as it was left."""
        if self._step is None or self._waiting is None:
            if self._connection is not None and not _is_quiet(self._connection):
                self.close()
            return
        if self._waiting.done():
            return
        # Here and not in the task: until something is read, the loop would call again and again.
        try:
            self._waiting.set_result(self._step())
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self._waiting.set_exception(error)


def request_head(path: str, base: URL, headers: Mapping[str, str]) -> bytes | None:
    """Return a GET of ``path`` below ``base``; None for one that is not plain ASCII."""
    prefix = base.raw_path.rstrip("/")
    lines = [f"GET {prefix}{path} HTTP/1.1", f"Host: {base.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    # A line break in a header would be another header.
    plain = " " not in path and all(line.isascii() and line.isprintable() for line in lines)
    return "\r\n".join([*lines, "", ""]).encode() if plain else None


def _is_quiet(connection: ssl.SSLSocket) -> bool:
    """Whether what has come is neither the end nor an answer to nothing, but a ticket at most."""
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
        if name in _NOT_OURS or (name == b"connection" and value.strip() != b"keep-alive"):
            raise _NotUnderstood
        if name == b"content-length":
            lengths.append(value.strip())
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _NotUnderstood
    body = answer[end + 4 :]
    if len(body) > int(lengths[0]):
        raise _NotUnderstood
    return body if len(body) == int(lengths[0]) else None
