"""The Lease on a server, as the elector needs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import LEASES, NAMESPACES
from kcpctl.client import AsyncClient
from kcpctl.errors import AlreadyExists, NotFound

__all__ = ["LeaseApi", "ServerLease"]

_WATCH_SECONDS: Final = 300


class LeaseApi(Protocol):
    """The one Lease that is fought for. Raises the tree of :mod:`kcpctl.errors`."""

    async def read(self) -> Unstructured:
        """Get it."""

    async def create(self, lease: Unstructured) -> Unstructured:
        """Create it."""

    async def update(self, lease: Unstructured) -> Unstructured:
        """Write it, if it is still of the version that ``lease`` has; else raises Conflict."""

    def changes(self, resource_version: str) -> AsyncGenerator[Unstructured | None, None]:
        """Yield its states after that version, None for none; ends when the server says so."""


class ServerLease:
    """A :class:`LeaseApi` of an API server. It creates the namespace along with the Lease."""

    def __init__(self, client: AsyncClient, namespace: str, name: str) -> None:
        self._client = client
        self._leases = client.resource(LEASES)
        self._namespace = namespace
        self._name = name

    async def read(self) -> Unstructured:
        """Get it."""
        return await self._leases.get(self._name, namespace=self._namespace)

    async def create(self, lease: Unstructured) -> Unstructured:
        """Create it."""
        try:
            return await self._leases.create(lease)
        except NotFound:
            await self._create_namespace()
        return await self._leases.create(lease)

    async def _create_namespace(self) -> None:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self._namespace},
        }
        with suppress(AlreadyExists):  # somebody else wants it as well
            await self._client.resource(NAMESPACES).create(namespace)

    async def update(self, lease: Unstructured) -> Unstructured:
        """Write it, if it is still of the version that ``lease`` has; else raises Conflict."""
        return await self._leases.update(lease)

    async def changes(self, resource_version: str) -> AsyncGenerator[Unstructured | None, None]:
        """Yield its states after that version, None for none; ends when the server says so."""
        watch = self._leases.watch(
            namespace=self._namespace,
            field_selector=f"metadata.name={self._name}",
            resource_version=resource_version,
            timeout_seconds=_WATCH_SECONDS,
        )
        async with aclosing(watch):
            async for event in watch:
                yield None if event.type == "DELETED" else event.object
