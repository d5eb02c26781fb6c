"""Watches: from chunks of bytes to events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from kcpctl.client.failures import ConnectionRenewed
from kcpctl.client.objects import RawEvent, cut_event, decode_event, excerpt
from kcpctl.errors import ApiError, TransportError, error_from_status

__all__ = ["LineSplitter", "batches", "events"]

# API servers accept objects of 3 MiB at most, and a line holds one of them.
_MAX_LINE_BYTES: Final = 32 * 1024 * 1024


class LineSplitter:
    """Cuts a stream of chunks into lines.

    A line of several MiB arrives in hundreds of chunks; each byte is looked at once and joined
    once. Blank lines are dropped. A line that does not come to its end must not fill the memory:
    beyond 32 MiB it is a TransportError. One owner.
    """

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes."""
        lines = chunk.split(b"\n")
        following = lines.pop()
        if not lines:
            self._parts.append(following)
            self._size += len(following)
            if self._size > _MAX_LINE_BYTES:
                raise TransportError(f"no line is longer than {_MAX_LINE_BYTES} bytes")
            return lines
        if self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
        self._parts = [following] if following else []
        self._size = len(following)
        return [line for line in lines if line and not line.isspace()]

    def rest(self) -> bytes:
        """Return what came after the last line end."""
        return b"".join(self._parts).strip()


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
                batch, error = _cut(lines.feed(chunk), description)
                if batch or not chunk:
                    yield batch
                if error is not None:
                    raise error
        except ConnectionRenewed:
            # An orderly end: half a line comes again, to whoever goes on from the last event.
            return
        except TransportError as error:
            if rest := lines.rest():
                raise TransportError(
                    f"{description} ended mid-line, {len(rest)} bytes into an event: {error}"
                ) from error
            raise
    if rest := lines.rest():
        # Whole events end with a line end, but one that can be decoded was not cut.
        try:
            event = decode_event(rest)
        except msgspec.MsgspecError as error:
            raise TransportError(
                f"{description} ended mid-line, {len(rest)} bytes into an event"
            ) from error
        yield [_checked(event)]


def _cut(lines: list[bytes], description: str) -> tuple[list[RawEvent], Exception | None]:
    """Return the events up to the first ERROR or line that is none, and what that one means."""
    batch: list[RawEvent] = []
    for line in lines:
        try:
            batch.append(_checked(cut_event(line)))
        except msgspec.MsgspecError:
            text = f"{description} sent a line that is not an event: {excerpt(line)}"
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
    except (msgspec.MsgspecError, ValueError, TypeError):
        return ApiError(f"the watch reported an error that is not a Status: {excerpt(status)}")
