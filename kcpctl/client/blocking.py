"""The blocking face of the client, for reconcilers and other worker threads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from kcpctl.apis.convert import ObjectLike
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client.client import AsyncClient
from kcpctl.client.following import Condition
from kcpctl.client.objects import ItemList, PatchType, WatchEvent
from kcpctl.client.resource import AsyncResourceClient
from kcpctl.client.transport import Response
from kcpctl.logicalcluster import ClusterName
from kcpctl.runtime.ioloop import IOLoop

__all__ = ["Client", "ResourceClient"]

T = TypeVar("T")


class Client:
    """An :class:`AsyncClient` for threads other than the I/O thread, where it raises RuntimeError.

    Every call waits for the I/O loop and raises what the async one does. Safe from any number of
    threads. ``close`` closes the connections, not the loop, which others use.
    """

    __slots__ = ("_loop", "aio")

    def __init__(self, async_client: AsyncClient, io_loop: IOLoop) -> None:
        self.aio = async_client
        self._loop = io_loop

    @property
    def loop(self) -> IOLoop:
        """The loop that the calls run on."""
        return self._loop

    @property
    def cluster_name(self) -> ClusterName:
        """The name used in keys; ``*`` when bound to all logical clusters."""
        return self.aio.cluster_name

    @property
    def is_multi_cluster(self) -> bool:
        """Whether the server has many logical clusters, so that objects name theirs."""
        return self.aio.is_multi_cluster

    @property
    def server(self) -> str:
        """The base URL, without ``/clusters/``."""
        return self.aio.server

    @property
    def url(self) -> str:
        """The URL of what the client is bound to, as a kubeconfig names it."""
        return self.aio.url

    def cluster(self, name: str) -> Client:
        """Return a client bound to the logical cluster of that name or path."""
        return Client(self.aio.cluster(name), self._loop)

    def wildcard(self) -> Client:
        """Return a client bound to all logical clusters."""
        return Client(self.aio.wildcard(), self._loop)

    @overload
    def resource(self, resource: Resource) -> ResourceClient[Unstructured]: ...

    @overload
    def resource(self, resource: Resource, type: type[T]) -> ResourceClient[T]: ...

    def resource(
        self,
        resource: Resource,
        type: type[T] | None = None,  # noqa: A002 - the word for it
    ) -> ResourceClient[T] | ResourceClient[Unstructured]:
        """Return the verbs of a resource, with objects as dicts or as ``type``."""
        if type is None:
            return ResourceClient(self.aio.resource(resource), self._loop)
        return ResourceClient(self.aio.resource(resource, type), self._loop)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout_seconds: float | None = None,
        retry: bool = True,
    ) -> Response:
        """Send one request to a path of the logical cluster, such as ``/readyz``."""
        return self._loop.run(
            self.aio.request(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                accept=accept,
                timeout_seconds=timeout_seconds,
                retry=retry,
            )
        )

    def server_version(self) -> str:
        """Return the server's version, such as ``v1.36.0``."""
        return self._loop.run(self.aio.server_version())

    def has_resource(self, resource: Resource) -> bool:
        """Whether the server serves this group, version and plural."""
        return self._loop.run(self.aio.has_resource(resource))

    def logical_cluster_name(self) -> ClusterName | None:
        """Return the name (id) of the logical cluster that the client is bound to."""
        return self._loop.run(self.aio.logical_cluster_name())

    def close(self) -> None:
        """Close the connections of this client and of all that share them."""
        self._loop.run(self.aio.close())


class ResourceClient(Generic[T]):
    """The verbs of one resource, blocking; see :class:`AsyncResourceClient` for each."""

    __slots__ = ("_loop", "aio")

    def __init__(self, aio: AsyncResourceClient[T], io_loop: IOLoop) -> None:
        self.aio = aio
        self._loop = io_loop

    @property
    def resource(self) -> Resource:
        """The resource whose verbs these are."""
        return self.aio.resource

    def get(self, name: str, *, namespace: str | None = None) -> T:
        """Return the object of that name."""
        return self._loop.run(self.aio.get(name, namespace=namespace))

    def list(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> ItemList[T]:
        """Return all objects, read in pages of ``limit``."""
        return self._loop.run(
            self.aio.list(
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=limit,
            )
        )

    def each(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> Generator[T, None, None]:
        """Yield all objects, and hold no more than a page of ``limit`` of them."""
        pages = self.aio.each_page(
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
        )

        async def following() -> Sequence[T] | None:
            return await anext(pages, None)

        try:
            while (page := self._loop.run(following())) is not None:
                yield from page
        finally:
            self._loop.run(_close(pages))

    def watch_from(
        self,
        resource_version: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Generator[WatchEvent[T], None, None]:
        """Yield what changes after ``resource_version``, for as long as it is read.

        Close the iterator (``contextlib.closing``) to close the connection.
        """
        events = self.aio.watch_from(
            resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )

        async def following() -> WatchEvent[T] | None:
            return await anext(events, None)

        try:
            while (event := self._loop.run(following())) is not None:
                yield event
        finally:
            self._loop.run(_close(events))

    def wait_until(
        self,
        name: str,
        *conditions: Condition[T],
        namespace: str | None = None,
        timeout_seconds: float | None = None,
    ) -> T | None:
        """Wait until an object fulfils ``conditions``, one after the other, and return it.

        They are called on the I/O thread and must not block.
        """
        return self._loop.run(
            self.aio.wait_until(
                name, *conditions, namespace=namespace, timeout_seconds=timeout_seconds
            )
        )

    def create(
        self,
        obj: ObjectLike,
        *,
        namespace: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
        subresource: str = "",
        name: str = "",
    ) -> T:
        """Create an object, or with ``subresource`` and ``name`` what belongs to one."""
        return self._loop.run(
            self.aio.create(
                obj,
                namespace=namespace,
                field_manager=field_manager,
                dry_run=dry_run,
                subresource=subresource,
                name=name,
            )
        )

    def update(
        self, obj: ObjectLike, *, subresource: str = "", field_manager: str | None = None
    ) -> T:
        """Replace an object; Conflict when its resourceVersion is not the newest."""
        return self._loop.run(
            self.aio.update(obj, subresource=subresource, field_manager=field_manager)
        )

    def update_status(self, obj: ObjectLike, *, field_manager: str | None = None) -> T:
        """Replace the status of an object and nothing else."""
        return self._loop.run(self.aio.update_status(obj, field_manager=field_manager))

    def patch(
        self,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | bytes,
        *,
        namespace: str | None = None,
        type: PatchType = PatchType.MERGE,  # noqa: A002 - the word for it
        subresource: str = "",
        field_manager: str | None = None,
        force: bool | None = None,
    ) -> T:
        """Patch an object."""
        return self._loop.run(
            self.aio.patch(
                name,
                body,
                namespace=namespace,
                type=type,
                subresource=subresource,
                field_manager=field_manager,
                force=force,
            )
        )

    def apply(
        self,
        obj: ObjectLike,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        namespace: str | None = None,
    ) -> T:
        """Apply the fields that ``obj`` has, server-side."""
        return self._loop.run(
            self.aio.apply(
                obj,
                field_manager=field_manager,
                force=force,
                subresource=subresource,
                namespace=namespace,
            )
        )

    def delete(
        self,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
    ) -> Unstructured:
        """Delete an object; return what the server answers."""
        return self._loop.run(
            self.aio.delete(
                name,
                namespace=namespace,
                uid=uid,
                resource_version=resource_version,
                propagation=propagation,
            )
        )


async def _close(events: AsyncGenerator[object, None]) -> None:
    await events.aclose()
