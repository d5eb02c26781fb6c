"""Reading the full state: which version to ask for, in how many pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from kcpctl.client import RawPage
from kcpctl.errors import Gone, ResourceVersionTooLarge, ServerTimeout, TransportTimeout
from kcpctl.informers.objects import BadObject, CachedObject, ObjectDecoder, is_older
from kcpctl.informers.source import ListerWatcher
from kcpctl.runtime import Clock

__all__ = ["FullState", "Listing"]

# RF-14: what client-go and kubectl ask for.
_PAGE_SIZE: Final = 500
# Decoding a thousand objects takes some 10 ms, during which nothing else happens on the I/O loop.
_OBJECTS_PER_BREATH: Final = 1000


class FullState(NamedTuple):
    """All objects, and the version to watch from."""

    objects: list[CachedObject]
    resource_version: str


class Listing:
    """Lists one source again and again, never going back in time while the process lives.

    The first list takes what the server has cached (version "0", RF-09), later ones must not be
    older than what was seen (RF-10). When the server no longer has that version, or not yet, or
    answers with an older one, the newest state is asked for, until a list has succeeded (RF-11,
    RF-13). An object that cannot be used is reported and left out, so that one bad object does not
    keep all others from being seen (fixes FIFO-18). One task at a time.

    Parameters
    ----------
    page_size: set, every list comes in pages of it; else lists of a version that the server can
        answer from its cache are not paged, unless it showed that it has none (RF-15), or that it
        does not come to the end of such a list in time.
    on_bad_object: told of each object that is left out.
    newest_first: do not begin with what the server has cached, but with the newest (RF-22).
    """

    def __init__(
        self,
        source: ListerWatcher,
        decoder: ObjectDecoder,
        *,
        clock: Clock,
        page_size: int | None,
        on_bad_object: Callable[[BadObject], None],
        newest_first: bool = False,
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._clock = clock
        self._page_size = page_size
        self._on_bad_object = on_bad_object
        self._version_unavailable = newest_first
        self._server_pages = False

    def version_to_stream(self, last_seen: str) -> str:
        """Return the version that a streamed state must not be older than; never "0" (WL-01)."""
        return "" if self._version_unavailable or last_seen == "0" else last_seen

    def version_is_unavailable(self) -> None:
        """Ask for the newest state until one has been read (RF-13, WL-07)."""
        self._version_unavailable = True

    def accepts(self, version: str, last_seen: str) -> bool:
        """Whether a streamed state of that version is what was asked for, and not an older one."""
        return self._version_unavailable or not is_older(version, last_seen)

    def has_state(self) -> None:
        """Note that a full state was read by other means."""
        self._version_unavailable = False

    async def read(self, last_seen: str) -> FullState:
        """Return the full state, not older than ``last_seen`` ("" before the first)."""
        version = "" if self._version_unavailable else last_seen or "0"
        state: FullState | None = None
        try:
            state = await self._read_at(version)
        except (Gone, ResourceVersionTooLarge):
            if not version:
                raise
        if state is None or is_older(state.resource_version, version):
            self._version_unavailable = True
            state = await self._read_at("")
        self._version_unavailable = False
        return state

    async def _read_at(self, version: str) -> FullState:
        limit = self._page_size or _PAGE_SIZE
        if self._page_size is None and version not in {"", "0"} and not self._server_pages:
            limit = 0
        page = await self._first(version, limit)
        resource_version = page.resource_version
        objects = await self._decode(page.items)
        while page.continue_:
            if version == "0":
                self._server_pages = True
            following = await self._following(page, limit)
            if following is None:
                # RF-16: the rest can no longer be had, so all of it, in one request.
                following = await self._source.list(resource_version=version, limit=0)
                resource_version = following.resource_version
                objects = []
            page = following
            objects += await self._decode(page.items)
        return FullState(objects, resource_version)

    async def _first(self, version: str, limit: int) -> RawPage:
        try:
            return await self._source.list(resource_version=version, limit=limit)
        except (ServerTimeout, TransportTimeout) as error:
            if not limit and not isinstance(error, ResourceVersionTooLarge):
                self._server_pages = True
            raise

    async def _following(self, page: RawPage, limit: int) -> RawPage | None:
        """Return the next page, or None when its token has expired."""
        try:
            return await self._source.list(
                resource_version=None, limit=limit, continue_=page.continue_
            )
        except Gone:
            return None

    async def _decode(self, items: list[msgspec.Raw]) -> list[CachedObject]:
        objects = []
        decode = self._decoder.decode
        for start in range(0, len(items), _OBJECTS_PER_BREATH):
            if start:
                await self._clock.asleep(0)
            for item in items[start : start + _OBJECTS_PER_BREATH]:
                try:
                    objects.append(decode(item))
                except BadObject as error:
                    self._on_bad_object(error)
        return objects
