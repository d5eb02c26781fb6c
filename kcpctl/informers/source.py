"""Where a reflector gets its lists and watches from."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, RawEvent, RawPage
from kcpctl.errors import TransportError
from kcpctl.informers.objects import PARTIAL_API_VERSION, PARTIAL_KIND

__all__ = [
    "ClientSource",
    "ExactLister",
    "Interruptible",
    "ListerWatcher",
    "StateStreamer",
    "StreamingClientSource",
]

# A list that is not paged may be of hundreds of MiB; a streamed state has as long.
_WHOLE_LIST_SECONDS: Final = 300.0


class ListerWatcher(Protocol):
    """One collection of objects. Both raise the tree of :mod:`kcpctl.errors`."""

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return one page; ``limit`` 0 is everything at once, no version the continue token's."""

    def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield what changed since that version, bookmarks included; ERROR events are raised.

        What came together is yielded together, in order. That the server has begun to answer may be
        told by yielding no events.
        """


@runtime_checkable
class StateStreamer(Protocol):
    """A source that can also send the full state as a stream (WL-11)."""

    def stream(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield the state as ADDED events, a bookmark that says so, then what changed (WL-01).

        The state is not older than ``resource_version``; "" is the newest.
        """


@runtime_checkable
class ExactLister(Protocol):
    """A source that can also list what was at one version (WL-13)."""

    async def list_exactly(self, resource_version: str) -> RawPage:
        """Return the state at that version, whole; raises Gone when it can no longer be had."""


@runtime_checkable
class Interruptible(Protocol):
    """A source that is at times known to have nobody to ask."""

    async def ready(self) -> None:
        """Return when there is somebody: awaited before each list and watch, outside of limits."""


class _Kind(msgspec.Struct):
    kind: str = ""


_kinds: Final = msgspec.json.Decoder(_Kind)


class ClientSource:
    """The objects of one resource that a client reaches, narrowed by namespace and selectors.

    With ``metadata_only`` the server sends no more than their metadata. Failures are reported at
    once, for the reflector to wait; only the later pages of a list are asked for again, because it
    would have to read the former ones again as well.
    """

    def __init__(
        self,
        client: AsyncClient,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> None:
        self._list_accept = _accept("List") if metadata_only else "application/json"
        self._watch_accept = _accept("") if metadata_only else "application/json"
        self._kind = PARTIAL_KIND if metadata_only else resource.kind
        self._resource = client.resource(resource)
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return one page."""
        page = await self._resource.list_raw(
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=limit,
            continue_=continue_,
            resource_version=resource_version,
            accept=self._list_accept,
            timeout_seconds=None if limit else _WHOLE_LIST_SECONDS,
            retry=bool(continue_),
        )
        return self._checked(page)

    def _checked(self, page: RawPage) -> RawPage:
        """Refuse a list of another kind: its bare items would pass for ours.

        The list of a custom resource may have any kind; its items say theirs.
        """
        if not page.items or page.item_kind == self._kind:
            return page
        with contextlib.suppress(msgspec.ValidationError):
            if _kinds.decode(page.items[0]).kind:
                return page
        raise TransportError(
            f"asked for {self._resource.resource.plural}, and the answer is a list of "
            f"{page.item_kind or 'nothing known'}"
        )

    def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield what changed since that version."""
        return self._resource.watch_batches(
            namespace=self._namespace,
            resource_version=resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=timeout_seconds,
            accept=self._watch_accept,
            retry=False,
        )

    async def list_exactly(self, resource_version: str) -> RawPage:
        """Return the state at that version."""
        page = await self._resource.list_raw(
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=0,
            resource_version=resource_version,
            resource_version_match="Exact",
            accept=self._list_accept,
            timeout_seconds=_WHOLE_LIST_SECONDS,
        )
        return self._checked(page)


class StreamingClientSource(ClientSource):
    """The same, with the full state as a stream."""

    def stream(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield the state, then what changed."""
        return self._resource.watch_batches(
            namespace=self._namespace,
            resource_version=resource_version,
            resource_version_match="NotOlderThan",
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=timeout_seconds,
            send_initial_events=True,
            accept=self._watch_accept,
            retry=False,
        )


def _accept(suffix: str) -> str:
    group, _, version = PARTIAL_API_VERSION.partition("/")
    return f"application/json;as={PARTIAL_KIND}{suffix};g={group};v={version}"
