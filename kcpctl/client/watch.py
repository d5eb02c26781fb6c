"""Watches: from chunks of bytes to events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import msgspec

from kcpctl.client.objects import RawEvent, decode_event, excerpt
from kcpctl.errors import ApiError, TransportError, error_from_status

__all__ = ["LineSplitter", "events"]


class LineSplitter:
    """Cuts a stream of chunks into lines of any length.

    A line of several MiB arrives in hundreds of chunks; each byte is looked at once and joined
    once. Blank lines are dropped. One owner.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that ``chunk`` completes."""
        first, *others = chunk.split(b"\n")
        self._parts.append(first)
        for following in others:
            line = b"".join(self._parts)
            self._parts = [following]
            if line.strip():
                yield line

    def rest(self) -> bytes:
        """Return what came after the last line end."""
        return b"".join(self._parts).strip()


async def events(
    chunks: AsyncGenerator[bytes, None], description: str
) -> AsyncGenerator[RawEvent, None]:
    """Yield the events of a watch; ERROR events are raised. Closes ``chunks`` when it ends."""
    lines = LineSplitter()
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                for line in lines.feed(chunk):
                    yield _event(line, description)
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
        yield _checked(event)


def _event(line: bytes, description: str) -> RawEvent:
    try:
        event = decode_event(line)
    except msgspec.MsgspecError as error:
        raise TransportError(
            f"{description} sent a line that is not an event: {excerpt(line)}"
        ) from error
    return _checked(event)


def _checked(event: RawEvent) -> RawEvent:
    if event.type == "ERROR":
        raise _error_of(bytes(event.object))
    return event


def _error_of(status: bytes) -> ApiError:
    try:
        return error_from_status(msgspec.json.decode(status, type=dict))
    except (msgspec.MsgspecError, ValueError, TypeError):
        return ApiError(f"the watch reported an error that is not a Status: {excerpt(status)}")
