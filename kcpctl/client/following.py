"""Watches that go on, and waiting until an object is as it should be."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec

from kcpctl.client.failures import ClientClosed
from kcpctl.client.objects import ItemList, RawEvent, WatchEvent
from kcpctl.errors import (
    ApiError,
    Forbidden,
    Gone,
    TransportError,
    Unauthorized,
    UsageError,
)
from kcpctl.runtime.clock import Clock

__all__ = ["Condition", "follow", "until"]

T = TypeVar("T")

Condition = Callable[[T | None], bool]
"""Whether an object is as wanted; None is no object. What it raises ends the waiting."""

# RW-02.
_START_INTERVAL_SECONDS: Final = 1.0
# RC-13: no server may hold us up for longer.
_MAX_WAIT_SECONDS: Final = 30.0


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Versioned(msgspec.Struct):
    metadata: _Meta


_decoder: Final = msgspec.json.Decoder(_Versioned)


async def follow(
    watch: Callable[[str], AsyncGenerator[RawEvent, None]],
    resource_version: str,
    *,
    clock: Clock,
) -> AsyncGenerator[RawEvent, None]:
    """Yield the events of a watch that is opened again at the last version whenever it ends.

    At most one is opened in a second (RW-02). Bookmarks are taken for their version and not
    yielded (RW-05). Raises Gone, Unauthorized and Forbidden, and TransportError for an event
    without a version or once the client is closed; every other failure is waited out, a Retry-After
    of the server included (RW-03). ``watch`` opens a watch at the version it is given.
    """
    if resource_version in {"", "0"}:
        raise UsageError(
            f"a watch cannot be followed from version {resource_version!r}: what came between a "
            "list and its start would be missing; give the version of a list or an object"
        )
    while True:
        opened_at = clock.monotonic()
        wait_seconds = 0.0
        try:
            async with aclosing(watch(resource_version)) as events:
                async for event in events:
                    resource_version = _version_of(event)
                    if event.type != "BOOKMARK":
                        yield event
        except (Gone, Unauthorized, Forbidden, ClientClosed, _NoVersionError):
            raise
        except (ApiError, TransportError) as error:
            wait_seconds = min(getattr(error, "retry_after_seconds", None) or 0, _MAX_WAIT_SECONDS)
        interval = opened_at + _START_INTERVAL_SECONDS - clock.monotonic()
        await clock.asleep(max(wait_seconds, interval))


class _NoVersionError(TransportError):
    """RW-03: it cannot be said where to go on."""

    retryable = False


def _version_of(event: RawEvent) -> str:
    version = ""
    with contextlib.suppress(msgspec.MsgspecError):
        version = _decoder.decode(event.object).metadata.resource_version
    if not version:
        raise _NoVersionError(f"the watch sent a {event.type} event without a resourceVersion")
    return version


async def until(
    lists: Callable[[], Awaitable[ItemList[T]]],
    changes: Callable[[str], AsyncGenerator[WatchEvent[T], None]],
    conditions: Sequence[Condition[T]],
) -> T | None:
    """Wait until each condition in turn has held for the only object that both tell of.

    Returns it, as it was last seen if it is gone, None if there never was one. One state may
    fulfil several conditions. When the version has expired it is listed again.
    """
    left = list(conditions)
    last: T | None = None

    def fulfilled(current: T | None) -> bool:
        while left and left[0](current):
            del left[0]
        return not left

    while True:
        found = await lists()
        current = next(iter(found), None)
        last = last if current is None else current
        if fulfilled(current):
            return last
        with contextlib.suppress(Gone):
            async with aclosing(changes(found.resource_version)) as events:
                async for event in events:
                    last = event.object
                    if fulfilled(None if event.type == "DELETED" else last):
                        return last
