"""The verbs of one resource, async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack

import msgspec

from kcpctl.apis.convert import ObjectLike, decode, to_unstructured
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client.following import Condition, follow, until
from kcpctl.client.objects import (
    UNREADABLE,
    ItemList,
    PatchType,
    RawEvent,
    RawPage,
    WatchEvent,
    decode_page,
    excerpt,
)
from kcpctl.client.paging import each_page, list_all
from kcpctl.client.watch import batches, events
from kcpctl.client.writes import note_write
from kcpctl.errors import ConditionTimeout, CrossWorkspaceAccess, TransportError, UsageError
from kcpctl.logicalcluster import CLUSTER_ANNOTATION

if TYPE_CHECKING:
    from kcpctl.client.client import AsyncClient

__all__ = ["DEFAULT_WATCH_SECONDS", "AsyncResourceClient", "WatchOptions"]

T = TypeVar("T")

DEFAULT_WATCH_SECONDS = 600
"""How long a watch is asked to last; client-go draws from 5 to 10 minutes."""

_WATCH_GRACE_SECONDS = 30
"""How long after its requested end a watch counts as dead (pitfall 8)."""


class WatchOptions(TypedDict, total=False):
    """Keyword arguments of watches; each may be left out.

    resource_version, resource_version_match, label_selector, field_selector: sent as they are.
    timeout_seconds: how long the watch is asked to last (default 600). bookmarks: whether they are
    asked for (default True). send_initial_events: None leaves it to the server; it goes together
    with the match NotOlderThan and nothing else (WL-14). accept: the form that objects are wanted
    in. retry: whether a watch that the server does not open is asked for again (default True).
    """

    namespace: str | None
    resource_version: str
    resource_version_match: str
    label_selector: str
    field_selector: str
    timeout_seconds: int
    bookmarks: bool
    send_initial_events: bool | None
    accept: str
    retry: bool


class AsyncResourceClient(Generic[T]):
    """The verbs of one resource in what ``client`` is bound to; objects are dicts or ``T``.

    Objects are given as a dict, a struct or a model of the official client. Everything raises
    the tree of :mod:`kcpctl.errors`; a call that no server could accept (no name, no namespace,
    a write through a client of all logical clusters) raises before anything is sent (RC-16).
    Belongs on the I/O loop; cancelling a call closes its connection.
    """

    __slots__ = ("_client", "_type", "resource")

    def __init__(self, client: AsyncClient, resource: Resource, type_: type[T]) -> None:
        self._client = client
        self._type = type_
        self.resource = resource

    @property
    def client(self) -> AsyncClient:
        """The client whose logical cluster is meant."""
        return self._client

    async def get(self, name: str, *, namespace: str | None = None) -> T:
        """Return the object of that name."""
        path = self._object_path(name, namespace, "get")
        body = (await self._client.request("GET", path)).body
        return _named(self._decoded(body), body)

    async def list(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> ItemList[T]:
        """Return all objects, read in pages of ``limit`` (0: at once; PG-01, PG-04)."""

        async def page(size: int, token: str) -> RawPage:
            return await self.list_raw(
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=size,
                continue_=token,
            )

        raw, resource_version = await list_all(page, limit)
        return ItemList([self._item(item) for item in raw], resource_version)

    async def each(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> AsyncGenerator[T, None]:
        """Yield all objects, and hold no more than a page of ``limit`` of them (PG-03).

        For collections that need not fit into memory. Raises Gone when the reader takes so long
        that the server has forgotten the version of the first page.
        """
        pages = self.each_page(
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
        )
        async with aclosing(pages):
            async for items in pages:
                for item in items:
                    yield item

    async def each_page(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> AsyncGenerator[Sequence[T], None]:
        """Yield the same, the objects of one page together."""

        async def page(size: int, token: str) -> RawPage:
            return await self.list_raw(
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=size,
                continue_=token,
            )

        async with aclosing(each_page(page, limit)) as pages:
            async for items in pages:
                yield [self._item(item) for item in items]

    async def list_raw(
        self,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_: str = "",
        resource_version: str | None = None,
        resource_version_match: str = "",
        accept: str = "application/json",
        timeout_seconds: float | None = None,
        retry: bool = True,
    ) -> RawPage:
        """Return one page with its items left as bytes.

        ``resource_version`` is sent as it is: None asks for the newest, "0" for anything that
        the server has cached. It does not go together with ``continue_``. ``timeout_seconds`` and
        ``retry`` are those of :meth:`AsyncClient.request`.
        """
        query = _selection(label_selector, field_selector)
        if limit:
            query["limit"] = str(limit)
        if continue_:
            query["continue"] = continue_
        elif resource_version is not None:
            query["resourceVersion"] = resource_version
            if resource_version_match:
                query["resourceVersionMatch"] = resource_version_match
        path = self._path(namespace)
        response = await self._client.request(
            "GET", path, query=query, accept=accept, timeout_seconds=timeout_seconds, retry=retry
        )
        return decode_page(response.body)

    async def create(
        self,
        obj: ObjectLike,
        *,
        namespace: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
        subresource: str = "",
        name: str = "",
    ) -> T:
        """Create an object, or with ``subresource`` and ``name`` what belongs to one (a token)."""
        data, namespace, _ = self._outgoing(obj, namespace, needs_name=False)
        if subresource:
            path = self._object_path(name, namespace, "create", subresource)
        else:
            path = self._collection_path(namespace, "create")
        query = _writing(field_manager)
        if dry_run:
            query["dryRun"] = "All"
        return await self._send("POST", path, query, data, noted=not dry_run)

    async def update(
        self, obj: ObjectLike, *, subresource: str = "", field_manager: str | None = None
    ) -> T:
        """Replace an object; Conflict when its resourceVersion is not the newest."""
        return await self._replace(obj, subresource, field_manager)

    async def update_status(self, obj: ObjectLike, *, field_manager: str | None = None) -> T:
        """Replace the status of an object and nothing else."""
        return await self._replace(obj, "status", field_manager)

    async def patch(
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
        """Patch an object; ``force`` is for :attr:`PatchType.APPLY` only."""
        path = self._object_path(name, namespace, "patch", subresource)
        query = _writing(field_manager)
        if force is not None:
            query["force"] = "true" if force else "false"
        return await self._send("PATCH", path, query, body, type.value)

    async def apply(
        self,
        obj: ObjectLike,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        namespace: str | None = None,
    ) -> T:
        """Apply the fields that ``obj`` has, server-side; Conflict names other managers."""
        data, namespace, name = self._outgoing(obj, namespace)
        path = self._object_path(name, namespace, "apply", subresource)
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._send("PATCH", path, query, data, PatchType.APPLY.value)

    async def delete(
        self,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
    ) -> Unstructured:
        """Delete an object; return what the server answers: the object, or a Status.

        With ``uid`` or ``resource_version`` only that one is deleted, else Conflict.
        ``propagation`` is Background, Foreground or Orphan.
        """
        path = self._object_path(name, namespace, "delete")
        options: Unstructured = {"apiVersion": "v1", "kind": "DeleteOptions"}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            options["preconditions"] = preconditions
        if propagation:
            options["propagationPolicy"] = propagation
        response = await self._client.request("DELETE", path, body=msgspec.json.encode(options))
        self._note(response.body)
        return _decoded(response.body, dict)

    def watch(
        self,
        *,
        namespace: str | None = None,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = DEFAULT_WATCH_SECONDS,
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Yield what changes after ``resource_version``, decoded, without bookmarks.

        Ends as :meth:`watch_raw` does. Close the iterator (``contextlib.aclosing``) to close the
        connection.
        """
        raw = self.watch_raw(
            namespace=namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
            bookmarks=False,
        )
        return self._decoding(raw)

    def watch_from(
        self,
        resource_version: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Yield what changes after ``resource_version``, for as long as it is read.

        The watch is opened again at the last version whenever it ends or breaks, at most once a
        second and when the server lets us, so that nothing is missed and nothing comes twice
        (RW-02). Raises Gone when the version has expired, Unauthorized and Forbidden, and
        UsageError for a version that is none (RW-01).
        """

        def watch(version: str) -> AsyncGenerator[RawEvent, None]:
            return self.watch_raw(
                namespace=namespace,
                resource_version=version,
                label_selector=label_selector,
                field_selector=field_selector,
            )

        return self._decoding(follow(watch, resource_version, clock=self._client.clock))

    async def wait_until(
        self,
        name: str,
        *conditions: Condition[T],
        namespace: str | None = None,
        timeout_seconds: float | None = None,
    ) -> T | None:
        """Wait until an object fulfils ``conditions``, one after the other, and return it.

        Each is called with the object as it is, None while there is none, at once and after every
        change; one state may fulfil several. What a condition raises is raised. The object is read
        once and then watched. When it is gone at the end its last state is returned, None if there
        never was one. Raises ConditionTimeout, and what a list or :meth:`watch_from` raises, but
        an expired version is only read again.
        """
        self._object_path(name, namespace, "wait_until")
        selector = f"metadata.name={name}"

        async def lists() -> ItemList[T]:
            return await self.list(namespace=namespace, field_selector=selector)

        def changes(version: str) -> AsyncGenerator[WatchEvent[T], None]:
            return self.watch_from(version, namespace=namespace, field_selector=selector)

        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                return await until(lists, changes, conditions)
        except TimeoutError as error:
            if not limit.expired():
                raise
            where = f"{namespace}/{name}" if namespace else name
            raise ConditionTimeout(
                f"{self.resource.kind} {where} of {self._client.url} did not become what was "
                f"waited for within {timeout_seconds:g}s"
            ) from error

    async def _decoding(
        self, raw: AsyncGenerator[RawEvent, None]
    ) -> AsyncGenerator[WatchEvent[T], None]:
        async with aclosing(raw):
            async for event in raw:
                yield WatchEvent(event.type, self._decoded(bytes(event.object)))

    def watch_raw(self, **options: Unpack[WatchOptions]) -> AsyncGenerator[RawEvent, None]:
        """Yield events with their objects left as bytes, bookmarks included.

        Ends without an error when the server ended it in order. Raises ApiError for an ERROR
        event (Gone: list again), TransportTimeout 30 s after the end that was asked for, and
        TransportError when the connection broke, in the middle of a line or between two. Close
        the iterator to close the connection.
        """
        return events(self._watch_chunks(options), self._watch_description)

    def watch_batches(
        self, **options: Unpack[WatchOptions]
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield what :meth:`watch_raw` does, with what came together left together.

        For readers of thousands of events a second: there is no task switch between two events.
        """
        return batches(self._watch_chunks(options), self._watch_description)

    @property
    def _watch_description(self) -> str:
        return f"the watch of {self.resource.group_resource}"

    def _watch_chunks(self, options: WatchOptions) -> AsyncGenerator[bytes, None]:
        needed = "" if options.get("send_initial_events") is None else "NotOlderThan"
        if options.get("resource_version_match", "") != needed:
            raise UsageError(
                f"a watch of {self.resource.plural} with send_initial_events needs "
                'resource_version_match="NotOlderThan", and no other watch may have one'
            )
        timeout_seconds = options.get("timeout_seconds", DEFAULT_WATCH_SECONDS)
        query = _selection(options.get("label_selector", ""), options.get("field_selector", ""))
        query["watch"] = "1"
        query["timeoutSeconds"] = str(timeout_seconds)
        if resource_version := options.get("resource_version", ""):
            query["resourceVersion"] = resource_version
        if match := options.get("resource_version_match", ""):
            query["resourceVersionMatch"] = match
        if options.get("bookmarks", True):
            query["allowWatchBookmarks"] = "true"
        if (initial := options.get("send_initial_events")) is not None:
            query["sendInitialEvents"] = "true" if initial else "false"
        return self._client.stream(
            self._path(options.get("namespace")),
            query=query,
            timeout_seconds=timeout_seconds + _WATCH_GRACE_SECONDS,
            accept=options.get("accept", "application/json"),
            retry=options.get("retry", True),
        )

    async def _replace(self, obj: ObjectLike, subresource: str, manager: str | None) -> T:
        data, namespace, name = self._outgoing(obj, None)
        path = self._object_path(name, namespace, "update", subresource)
        return await self._send("PUT", path, _writing(manager), data)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | bytes,
        content_type: str = "application/json",
        *,
        noted: bool = True,
    ) -> T:
        response = await self._client.request(
            method,
            path,
            query=query,
            body=body if isinstance(body, bytes) else msgspec.json.encode(body),
            content_type=content_type,
        )
        if noted:
            self._note(response.body)
        return self._decoded(response.body)

    def _note(self, answer: bytes) -> None:
        note_write(self._client.server, self._client.url, self.resource, answer)

    def _outgoing(
        self, obj: ObjectLike, namespace: str | None, *, needs_name: bool = True
    ) -> tuple[Unstructured, str | None, str]:
        """Return the data, namespace and name of an object to write, all checked."""
        data = to_unstructured(obj, self.resource)
        metadata = data.get("metadata") or {}
        own = metadata.get("namespace") or None
        name = str(metadata.get("name") or "")
        if own and namespace and own != namespace:
            raise UsageError(
                f"{self.resource.kind} {name!r} is of namespace {own!r}, not {namespace!r}"
            )
        if needs_name and not name:
            raise UsageError(f"the {self.resource.kind} has no metadata.name")
        self._check_cluster(metadata.get("annotations") or {}, name)
        return data, own or namespace, name

    def _check_cluster(self, annotations: Mapping[str, str], name: str) -> None:
        """An object goes back to the logical cluster that it came from and to no other."""
        origin, bound = annotations.get(CLUSTER_ANNOTATION), self._client.cluster_name
        # A client bound by a path cannot be compared: the annotation has the cluster's name.
        if origin and self._client.is_multi_cluster and ":" not in bound and origin != bound:
            raise CrossWorkspaceAccess(
                f"{self.resource.kind} {name!r} is of logical cluster {origin!r}, but the client "
                f"is bound to {bound!r}; use client.cluster({origin!r})"
            )

    def _object_path(
        self, name: str, namespace: str | None, verb: str, subresource: str = ""
    ) -> str:
        self._check_bound(verb)
        if self.resource.namespaced and not namespace:
            raise UsageError(f"{verb} of {self.resource.kind} {name!r} needs a namespace")
        return self._path(namespace, name, subresource)

    def _collection_path(self, namespace: str | None, verb: str) -> str:
        self._check_bound(verb)
        if self.resource.namespaced and not namespace:
            raise UsageError(f"{verb} of a {self.resource.kind} needs a namespace")
        return self._path(namespace)

    def _path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        try:
            return self.resource.path(namespace=namespace, name=name, subresource=subresource)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _check_bound(self, verb: str) -> None:
        if self._client.is_wildcard:
            raise CrossWorkspaceAccess(
                f"{verb} of {self.resource.plural} needs one logical cluster, and this client is "
                "bound to all of them; use client.cluster(name)"
            )

    def _item(self, item: msgspec.Raw) -> T:
        """Decode an item of a list, which lacks apiVersion and kind for built-in types."""
        result = _named(self._decoded(bytes(item)), bytes(item))
        if isinstance(result, dict):
            result.setdefault("apiVersion", self.resource.api_version)
            result.setdefault("kind", self.resource.kind)
        return result

    def _decoded(self, body: bytes) -> T:
        return _decoded(body, self._type)


class _Metadata(msgspec.Struct, rename="camel"):
    """The shape of what everybody reads of every object, whoever served it."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


def _decoded(body: bytes, type_: type[T]) -> T:
    try:
        result = decode(body, type_)
        if isinstance(result, dict):
            decode(result, _Object)
    except UNREADABLE as error:
        raise TransportError(
            f"the answer is not a {type_.__name__} ({error}): {excerpt(body)}"
        ) from error
    return result


def _named(result: T, body: bytes) -> T:
    """Return an object that has a name, as everything has that a server keeps."""
    if isinstance(result, dict) and not (result.get("metadata") or {}).get("name"):
        raise TransportError(f"the answer has an object without a name: {excerpt(body)}")
    return result


def _selection(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in query.items() if value}


def _writing(field_manager: str | None) -> dict[str, str]:
    return {"fieldManager": field_manager} if field_manager else {}
