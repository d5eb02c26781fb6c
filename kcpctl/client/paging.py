"""Lists in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec

from kcpctl.client.objects import RawPage
from kcpctl.errors import Gone

__all__ = ["each_page", "list_all"]


async def list_all(
    page: Callable[[int, str], Awaitable[RawPage]], limit: int
) -> tuple[list[msgspec.Raw], str]:
    """Return all items, and the resource version of the first page (PG-01).

    ``page`` gets the limit and the continue token. When a token has expired on the way, all of
    it is asked for once more without limit and token (PG-02): the pages read so far are of a
    version that the rest can no longer be had of.
    """
    first = await page(limit, "")
    items, token = first.items, first.continue_
    while token:
        try:
            following = await page(limit, token)
        except Gone:
            whole = await page(0, "")
            return whole.items, whole.resource_version
        items.extend(following.items)
        token = following.continue_
    return items, first.resource_version


async def each_page(
    page: Callable[[int, str], Awaitable[RawPage]], limit: int
) -> AsyncGenerator[list[msgspec.Raw], None]:
    """Yield the items of one page after the other; the next is asked for when it is wanted (PG-03).

    Never is more than one page held. A token that has expired is Gone: the rest cannot be had, and
    to begin again would be to yield items twice.
    """
    token = ""
    while True:
        current = await page(limit, token)
        yield current.items
        token = current.continue_
        if not token:
            return
