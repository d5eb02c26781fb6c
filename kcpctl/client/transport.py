"""One connection pool to one API server: the only place of the client that does I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Call", "Response", "Transport"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before credentials are added.

    ``path`` begins at the server's base URL. ``timeout_seconds`` covers one try, from connecting
    to the last byte; None is the transport's default. Without ``retry`` every failure is
    reported at once. A ``pulse`` is a small GET that is sent again and again, for which a transport
    may have a cheaper way; nobody needs its answer's headers.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    timeout_seconds: float | None = None
    retry: bool = True
    pulse: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What the client knows of the network. Everything is called on the I/O loop.

    Both raise the tree of :mod:`kcpctl.errors`; cancelling either closes its connection.
    """

    @property
    def server(self) -> str:
        """The base URL."""

    async def request(self, call: Call) -> Response:
        """Send ``call`` and return the whole answer."""

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Send ``call`` and yield the body's bytes as they come.

        The first piece may be empty: it says that the server has begun to answer.
        """

    async def close(self) -> None:
        """Close every connection."""
