"""The requests that are under way, for who wants to end when they have."""

from __future__ import annotations

import asyncio
from types import TracebackType

from kcpctl.client.failures import ClientClosed

__all__ = ["UnderWay"]


class UnderWay:
    """Counts the requests of clients that share their connections. On the I/O loop.

    Each is a ``with`` block; once somebody waits for their end, another one raises ClientClosed.
    """

    def __init__(self) -> None:
        self._count = 0
        self._none_left: asyncio.Event | None = None

    async def ended(self) -> None:
        """Let no more begin, and return when there is none."""
        if self._none_left is None:
            self._none_left = asyncio.Event()
        if self._count:
            await self._none_left.wait()

    def __enter__(self) -> None:
        if self._none_left is not None:
            raise ClientClosed("the client ends, and takes no more requests")
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._count -= 1
        if not self._count and self._none_left is not None:
            self._none_left.set()
