"""The connections below the transport: making them, looking after them, ending them."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp

from kcpctl.client.gate import WriteGate
from kcpctl.client.pulse import Address
from kcpctl.client.tls import share_read_buffer
from kcpctl.errors import NotLeading

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["Connector", "hang_up", "prepare_stream"]

_IDLE_SECONDS = 30.0  # shorter than any API server keeps an idle connection


class Connector(aiohttp.TCPConnector):
    """Asks the write gate once more when the connection is there, which may have taken a while.

    Its TLS connections have no read buffers of their own. ``address`` is where the last one leads.
    """

    def __init__(self, gate: WriteGate | None) -> None:
        super().__init__(limit=0, keepalive_timeout=_IDLE_SECONDS)
        self._gate = gate
        self.address: Address | None = None

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for ``req``, of those that are idle or a new one."""
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            share_read_buffer(connection.transport)
            self.address = _address_of(connection.transport)
        if self._gate is not None:
            try:
                self._gate.check(req.method, f"{req.method} {req.url.path}")
            except NotLeading:
                connection.release()
                raise
        return connection


def _address_of(transport: asyncio.BaseTransport) -> Address | None:
    sock, peer = transport.get_extra_info("socket"), transport.get_extra_info("peername")
    return Address(sock.family, peer) if sock is not None and peer else None


def prepare_stream(response: aiohttp.ClientResponse) -> None:
    """Set up a connection that may be quiet for minutes.

    The kernel notices a peer that is gone within about 2 minutes (RC-18, pitfall 8).
    """
    connection = response.connection
    if connection is None or connection.transport is None:
        return
    sock = connection.transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the connection at once: a polite TLS shutdown of an endless answer can outlive the
    event loop, and the socket with it."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
