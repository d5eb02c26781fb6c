"""Request bodies; those of clients with a write gate ask it when they are about to be written."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter

__all__ = ["sendable"]

# Written at once, it would hold up the loop.
_LARGE_BYTES: Final = 256 * 1024


class _Guarded(aiohttp.BytesPayload):
    """Between a connection and the first byte is a turn of the loop: long for a process that is
    paused there. The head is sent along with the body, so nothing has left before the question."""

    def __init__(self, body: bytes, check: Callable[[], None]) -> None:
        super().__init__(body)
        self._check = check

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._check()
        await super().write_with_length(writer, content_length)


class _GuardedPieces(aiohttp.BytesIOPayload):
    """The same, written piece by piece."""

    def __init__(self, body: bytes, check: Callable[[], None]) -> None:
        super().__init__(io.BytesIO(body))
        self._check = check

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._check()
        await super().write_with_length(writer, content_length)


def sendable(body: bytes | None, check: Callable[[], None] | None) -> object:
    """Return what aiohttp is to send for ``body``: a large one goes piece by piece.

    ``check`` may raise: then nothing is sent, and the request fails with what it raised as the
    cause.
    """
    if body is None:
        return None
    large = len(body) > _LARGE_BYTES
    if check is not None:
        return _GuardedPieces(body, check) if large else _Guarded(body, check)
    return io.BytesIO(body) if large else body
