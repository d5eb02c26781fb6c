"""Lists in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import msgspec

from kcpctl.client.objects import RawPage
from kcpctl.errors import Gone, TransportError

__all__ = ["each_page", "list_all"]

# Five million objects in pages of 500: a server that has more to say has lost its way.
_MAX_PAGES: Final = 10_000


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
    pages = 1
    while token:
        pages += 1
        if pages > _MAX_PAGES:
            raise TransportError(f"the list does not end after {_MAX_PAGES} pages")
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
