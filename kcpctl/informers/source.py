"""Where a reflector gets its lists and watches from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, RawEvent, RawPage

__all__ = ["ClientSource", "ListerWatcher"]


class ListerWatcher(Protocol):
    """One collection of objects. Both raise the tree of :mod:`kcpctl.errors`."""

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return one page; ``limit`` 0 is everything at once, no version the continue token's."""

    def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[RawEvent, None]:
        """Yield what changed since that version, bookmarks included; ERROR events are raised."""


class ClientSource:
    """The objects of one resource that a client reaches, narrowed by namespace and selectors."""

    def __init__(
        self,
        client: AsyncClient,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
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
        )

    def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[RawEvent, None]:
        """Yield what changed since that version."""
        return self._resource.watch_raw(
            namespace=self._namespace,
            resource_version=resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=timeout_seconds,
        )
