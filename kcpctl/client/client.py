"""The async client: one server, one logical cluster, many of them, or all at once."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from typing import Self, TypedDict, TypeVar, Unpack, overload

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import LOGICAL_CLUSTERS, Resource
from kcpctl.client.config import ClientConfig
from kcpctl.client.confinement import check_reach
from kcpctl.client.discovery import (
    parse_group_versions,
    parse_plurals,
    parse_version,
    serves,
)
from kcpctl.client.gate import WriteGate
from kcpctl.client.http import HttpTransport
from kcpctl.client.limiter import TokenBucket
from kcpctl.client.resource import AsyncResourceClient
from kcpctl.client.server_warnings import WarningHandler
from kcpctl.client.transport import Call, Response, Transport
from kcpctl.client.underway import UnderWay
from kcpctl.errors import CrossWorkspaceAccess, Forbidden, NotFound, UsageError
from kcpctl.logicalcluster import ROOT, WILDCARD, ClusterName, cluster_of, is_valid_path
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.metrics import Metrics

__all__ = ["AsyncClient", "ClientOptions"]

T = TypeVar("T")

# What a server or a proxy on the way could take for another path than the one that was checked.
_CLIMBING = re.compile(r"/(\.|%2e){1,2}(/|$)|//|[?#\\]", re.IGNORECASE)


class ClientOptions(TypedDict, total=False):
    """Keyword arguments of the constructors; each may be left out.

    qps, burst: a token bucket for everything but watches; without qps there is none (RC-22).
    limiter: the same, shared with other clients or changed later; instead of the two.
    metrics: where to count requests. clock: the time. request_timeout_seconds: of one try
    (default 30). write_gate: what every request that writes must pass. on_warning: is called with
    the text of each Warning header of the server; without it each text is logged once (RC-19).
    max_answer_bytes: what one answer may have (default 1 GiB), beyond it is a TransportError.
    """

    qps: float | None
    burst: int | None
    limiter: TokenBucket | None
    metrics: Metrics | None
    clock: Clock
    request_timeout_seconds: float
    write_gate: WriteGate | None
    on_warning: WarningHandler | None
    max_answer_bytes: int


class AsyncClient:
    """A client bound to one logical cluster or to all of them (``*``), on the I/O loop.

    Make one with :meth:`plain` or :meth:`workspaces`; the second is bound to ``*`` until
    ``cluster(name)`` binds it. Clients made from one another share the connections, and
    :meth:`close` of any closes them. No request leaves for another logical cluster than the one
    the client is bound to; asking for it raises CrossWorkspaceAccess. Within a reconcile that is
    the logical cluster of its key, whatever the client is bound to. Constructing does no I/O
    and may happen on any thread; everything async belongs on one event loop.
    """

    __slots__ = ("_clock", "_multi", "_name", "_prefix", "_transport", "_under_way")

    def __init__(
        self,
        transport: Transport,
        *,
        cluster_name: str,
        prefix: str = "",
        multi_cluster: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        under_way: UnderWay | None = None,
    ) -> None:
        self._transport = transport
        self._under_way = under_way or UnderWay()
        self._clock = clock
        self._name = ClusterName(cluster_name)
        self._prefix = prefix
        self._multi = multi_cluster

    @classmethod
    def plain(
        cls,
        config: ClientConfig,
        *,
        cluster_name: str | None = None,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """Return a client of one cluster, named ``cluster_name`` in keys.

        The default name is the logical cluster that the configuration's URL ends with, and every
        request then carries it; without one it is ``root`` and no URL has ``/clusters/``.
        """
        if config.cluster == WILDCARD:
            raise UsageError(
                f"{config.source or config.server}: the server URL names all logical clusters "
                "(*), but one is wanted; end it with /clusters/<name>"
            )
        prefix = f"/clusters/{config.cluster}" if config.cluster else ""
        name = cluster_name or config.cluster or ROOT
        clock = options.get("clock", SYSTEM_CLOCK)
        transport = HttpTransport(config, **options)
        return cls(transport, cluster_name=name, prefix=prefix, clock=clock)

    @classmethod
    def workspaces(cls, config: ClientConfig, **options: Unpack[ClientOptions]) -> Self:
        """Return a client of a server with many logical clusters, bound to all of them."""
        transport = HttpTransport(config, **options)
        return cls(
            transport,
            cluster_name=WILDCARD,
            prefix=f"/clusters/{WILDCARD}",
            multi_cluster=True,
            clock=options.get("clock", SYSTEM_CLOCK),
        )

    @property
    def cluster_name(self) -> ClusterName:
        """The name used in keys; ``*`` when bound to all logical clusters."""
        return self._name

    @property
    def is_wildcard(self) -> bool:
        """Whether this client is bound to all logical clusters: it can list and watch only."""
        return self._multi and self._name == WILDCARD

    @property
    def is_multi_cluster(self) -> bool:
        """Whether the server has many logical clusters, so that objects name theirs."""
        return self._multi

    @property
    def clock(self) -> Clock:
        """What this client waits with."""
        return self._clock

    @property
    def server(self) -> str:
        """The base URL, without ``/clusters/``."""
        return self._transport.server

    @property
    def url(self) -> str:
        """The URL of what the client is bound to, as a kubeconfig names it."""
        return self._transport.server + self._prefix

    def cluster(self, name: str) -> AsyncClient:
        """Return a client bound to the logical cluster of that name or path."""
        if name == self._name:
            return self
        if not self._multi:
            raise CrossWorkspaceAccess(
                f"this client reaches {self._name!r} only ({self.url}), not {name!r}"
            )
        if name == WILDCARD:
            return self.wildcard()
        if not is_valid_path(name):
            raise UsageError(f"{name!r} is neither a workspace path nor a logical cluster name")
        return self._bound_to(name)

    def wildcard(self) -> AsyncClient:
        """Return a client bound to all logical clusters."""
        if not self._multi:
            raise CrossWorkspaceAccess(
                f"this client reaches {self._name!r} only ({self.url}), not all logical clusters"
            )
        return self._bound_to(WILDCARD)

    def _bound_to(self, name: str) -> AsyncClient:
        return AsyncClient(
            self._transport,
            cluster_name=name,
            prefix=f"/clusters/{name}",
            multi_cluster=True,
            clock=self._clock,
            under_way=self._under_way,
        )

    @overload
    def resource(self, resource: Resource) -> AsyncResourceClient[Unstructured]: ...

    @overload
    def resource(self, resource: Resource, type: type[T]) -> AsyncResourceClient[T]: ...

    def resource(
        self,
        resource: Resource,
        type: type[T] | None = None,  # noqa: A002 - the word for it
    ) -> AsyncResourceClient[T] | AsyncResourceClient[Unstructured]:
        """Return the verbs of a resource, with objects as dicts or as ``type``."""
        if type is None:
            return AsyncResourceClient(self, resource, dict)
        return AsyncResourceClient(self, resource, type)

    async def request(
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
        pulse: bool = False,
    ) -> Response:
        """Send one request to a path of the logical cluster, such as ``/readyz``.

        Raises the tree of :mod:`kcpctl.errors` for everything but an answer below 300. With
        ``retry=False`` each failure is reported at once, as a probe wants it. ``pulse`` says that
        the same small GET is sent every few seconds.
        """
        call = Call(
            method=method,
            path=self._full_path(path),
            query=query or {},
            body=body,
            content_type=content_type,
            accept=accept,
            timeout_seconds=timeout_seconds,
            retry=retry,
            pulse=pulse,
        )
        with self._under_way:
            return await self._transport.request(call)

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        timeout_seconds: float,
        accept: str = "application/json",
        retry: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """GET a path and yield its bytes as they come, for ``timeout_seconds`` at most.

        The first piece is empty: it says that the server has begun to answer. With ``retry=False``
        a failure before that is reported at once.
        """
        call = Call(
            "GET",
            self._full_path(path),
            query=query or {},
            accept=accept,
            timeout_seconds=timeout_seconds,
            retry=retry,
        )
        return self._transport.stream(call)

    def _full_path(self, path: str) -> str:
        """KCP-27: put the logical cluster in front, once.

        Every request passes here: what it may reach is checked here and not by who made the client.
        """
        if self._multi:
            check_reach(self._name, self.url)
        if not path.startswith("/"):
            raise UsageError(f"{path!r} is not a path; it must begin with /")
        if _CLIMBING.search(path):
            raise UsageError(f"{path!r} cannot be a path: it has dots, a query or a fragment in it")
        if not path.startswith("/clusters/"):
            return self._prefix + path
        if self._prefix and (path + "/").startswith(self._prefix + "/"):
            return path
        raise CrossWorkspaceAccess(
            f"{path} is not below {self.url}, which is all this client reaches"
        )

    async def server_version(self) -> str:
        """Return the server's version, such as ``v1.36.0``."""
        # /clusters/*/version is not served everywhere; the version is the server's anyway.
        path = "/version" if self.is_wildcard else self._full_path("/version")
        response = await self._transport.request(Call("GET", path))
        return parse_version(response.body)

    async def has_resource(self, resource: Resource) -> bool:
        """Whether the server serves this group, version and plural."""
        group_path = f"/apis/{resource.group}" if resource.group else "/api"
        try:
            response = await self.request("GET", f"{group_path}/{resource.version}")
        except NotFound:
            return False
        return serves(response.body, resource.plural)

    async def served_versions(self, group: str) -> dict[str, list[str]]:
        """Return the versions in which each plural of a group is served, the preferred first.

        ``""`` is the core group. A group that is not served has nothing.
        """
        path = f"/apis/{group}" if group else "/api"
        try:
            versions = parse_group_versions((await self.request("GET", path)).body)
        except NotFound:
            return {}
        found: dict[str, list[str]] = {}
        for version in versions:
            try:
                listed = await self.request("GET", f"{path}/{version}")
            except NotFound:
                continue
            for plural in parse_plurals(listed.body):
                found.setdefault(plural, []).append(version)
        return found

    async def logical_cluster_name(self) -> ClusterName | None:
        """Return the name (id) of the logical cluster that the client is bound to.

        A URL may name it by its path; keys and hashes are made of the name (KCP-04). None where
        the server has no logical clusters, or does not let this identity look.
        """
        try:
            found = await self.resource(LOGICAL_CLUSTERS).get("cluster")
        except (NotFound, Forbidden):
            return None
        return cluster_of(found["metadata"].get("annotations")) or None

    async def drain(self) -> None:
        """Refuse further requests, and return when none is under way; watches are not waited for.

        Of this client and of all that share its connections.
        """
        await self._under_way.ended()

    async def close(self) -> None:
        """Close the connections of this client and of all that share them."""
        await self._transport.close()
