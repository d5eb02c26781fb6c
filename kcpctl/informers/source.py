"""Where a reflector gets its lists and watches from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, RawEvent, RawPage
from kcpctl.informers.objects import PARTIAL_API_VERSION, PARTIAL_KIND

__all__ = [
    "ClientSource",
    "ListerWatcher",
    "Selection",
    "StateStreamer",
    "StreamingClientSource",
]


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

        What came together is yielded together, in order.
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


class ClientSource:
    """The objects of one resource that a client reaches, narrowed by namespace and selectors.

    With ``metadata_only`` the server sends no more than their metadata.
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
        self._resource = client.resource(resource)
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return one page."""
        return await self._resource.list_raw(
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=limit,
            continue_=continue_,
            resource_version=resource_version,
            accept=self._list_accept,
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
        )


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
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource an informer holds, and how much of each."""

    namespace: str | None
    label_selector: str
    field_selector: str
    metadata_only: bool

    def __str__(self) -> str:
        metadata = "metadata" if self.metadata_only else ""
        parts = (self.namespace, self.label_selector, self.field_selector, metadata)
        return ",".join(part for part in parts if part)

    def source(self, client: AsyncClient, resource: Resource, *, streaming: bool) -> ListerWatcher:
        """Return where to get them from."""
        return (StreamingClientSource if streaming else ClientSource)(
            client,
            resource,
            namespace=self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            metadata_only=self.metadata_only,
        )


def _accept(suffix: str) -> str:
    group, _, version = PARTIAL_API_VERSION.partition("/")
    return f"application/json;as={PARTIAL_KIND}{suffix};g={group};v={version}"
