"""Watches: from chunks of bytes to events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from kcpctl.client.failures import ConnectionRenewed
from kcpctl.client.objects import UNREADABLE, RawEvent, cut_event, decode_event, excerpt
from kcpctl.errors import ApiError, TransportError, error_from_status

__all__ = ["LineSplitter", "Span", "batches", "events"]

Span = tuple[bytes, int, int]
"""A part of some bytes: from a first index to before another."""

_SPACES: Final = b" \t\r\v\f"

# API servers accept objects of 3 MiB at most, and a line holds one of them.
_MAX_LINE_BYTES: Final = 32 * 1024 * 1024


class LineSplitter:
    """Finds the lines in a stream of chunks.

    A line of several MiB arrives in hundreds of chunks; each byte is looked at once and joined
    once. A line that lies within a chunk is not copied. Blank lines are dropped. A line that does
    not come to its end must not fill the memory: beyond 32 MiB it is a TransportError. One owner.
    """

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Span]:
        """Return the lines that ``chunk`` completes, without the space around them."""
        lines: list[Span] = []
        start, end = 0, chunk.find(b"\n")
        if end >= 0 and self._parts:
            line = b"".join((*self._parts, chunk[:end])).strip()
            self._parts, self._size = [], 0
            if line:
                lines.append((line, 0, len(line)))
            start, end = end + 1, chunk.find(b"\n", end + 1)
        while end >= 0:
            following, last = end + 1, end
            while start < last and chunk[start] in _SPACES:
                start += 1
            while last > start and chunk[last - 1] in _SPACES:
                last -= 1
            if start < last:
                lines.append((chunk, start, last))
            start, end = following, chunk.find(b"\n", following)
        if start < len(chunk):
            self._parts.append(chunk[start:])
            self._size += len(chunk) - start
            if self._size > _MAX_LINE_BYTES:
                self._parts = []  # whoever keeps the error is not to keep that, too
                raise TransportError(f"no line is longer than {_MAX_LINE_BYTES} bytes")
        return lines

    def rest(self) -> bytes:
        """Return what came after the last line end, and forget it."""
        parts, self._parts = self._parts, []
        return b"".join(parts).strip()


async def events(
    chunks: AsyncGenerator[bytes, None], description: str
) -> AsyncGenerator[RawEvent, None]:
    """Yield the events of a watch; ERROR events are raised. Closes ``chunks`` when it ends."""
    together = batches(chunks, description)
    async with aclosing(together):
        async for batch in together:
            for event in batch:
                yield event


async def batches(
    chunks: AsyncGenerator[bytes, None], description: str
) -> AsyncGenerator[list[RawEvent], None]:
    """Yield the same, all events together that a chunk completes; none for an empty chunk."""
    lines = LineSplitter()
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                is_start = not chunk
                batch, error = _cut(lines.feed(chunk), description)
                # A quiet watch must not hold what came last, hundreds of KiB after a large state.
                del chunk
                if batch or is_start:
                    yield batch
                del batch
                if error is not None:
                    raise error
        except ConnectionRenewed:
            # An orderly end: half a line comes again, to whoever goes on from the last event.
            return
        except TransportError as error:
            if size := len(lines.rest()):
                raise TransportError(
                    f"{description} ended mid-line, {size} bytes into an event: {error}"
                ) from error
            raise
    # Whole events end with a line end, but one that can be decoded was not cut.
    event, size = _last(lines.rest())
    if event is not None:
        yield [_checked(event)]
    elif size:
        raise TransportError(f"{description} ended mid-line, {size} bytes into an event")


def _last(line: bytes) -> tuple[RawEvent | None, int]:
    """Return the event of a line if it is one, and its length.

    Errors are raised elsewhere: their frames would keep the line for as long as they are kept.
    """
    try:
        return (decode_event(line) if line else None), len(line)
    except UNREADABLE:
        return None, len(line)


def _cut(lines: list[Span], description: str) -> tuple[list[RawEvent], Exception | None]:
    """Return the events up to the first ERROR or line that is none, and what that one means."""
    batch: list[RawEvent] = []
    for chunk, start, end in lines:
        try:
            batch.append(cut_event(chunk, start, end) or _checked(decode_event(chunk[start:end])))
        except UNREADABLE:
            line = excerpt(chunk[start:end])
            text = f"{description} sent a line that is not an event: {line}"
            return batch, TransportError(text)
        except ApiError as error:
            return batch, error
    return batch, None


def _checked(event: RawEvent) -> RawEvent:
    if event.type == "ERROR":
        raise _error_of(bytes(event.object))
    return event


def _error_of(status: bytes) -> ApiError:
    try:
        return error_from_status(msgspec.json.decode(status, type=dict))
    except (*UNREADABLE, ValueError, TypeError):
        return ApiError(f"the watch reported an error that is not a Status: {excerpt(status)}")
