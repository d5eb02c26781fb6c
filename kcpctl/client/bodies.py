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


class _Guarded(aiohttp.Payload):
    """Between a connection and the first byte is a turn of the loop: long for a process that is
    paused there. The head is sent along with the body, so nothing has left before the question."""

    check: Callable[[], None]

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self.check()
        await super().write_with_length(writer, content_length)


class _GuardedBytes(_Guarded, aiohttp.BytesPayload):
    """One that is written at once."""


class _GuardedPieces(_Guarded, aiohttp.BytesIOPayload):
    """One that is written piece by piece."""


def sendable(body: bytes | None, check: Callable[[], None] | None) -> object:
    """Return what aiohttp is to send for ``body``: a large one goes piece by piece.

    ``check`` may raise: then nothing is sent, and the request fails with what it raised as the
    cause.
    """
    if body is None:
        return None
    source = io.BytesIO(body) if len(body) > _LARGE_BYTES else body
    if check is None:
        return source
    guarded = _GuardedBytes(source) if isinstance(source, bytes) else _GuardedPieces(source)
    guarded.check = check
    return guarded
