"""A client of logical clusters that several endpoints serve: it finds the one for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from kcpctl.client.client import AsyncClient
from kcpctl.client.transport import Call, Response
from kcpctl.errors import ServiceUnavailable, UsageError
from kcpctl.logicalcluster import WILDCARD, ClusterName, is_valid_path
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock

__all__ = ["Route", "Routes", "RoutingClient"]


class Route(NamedTuple):
    """Where a logical cluster is served: a client of the whole endpoint, and its name there.

    ``engaged`` is whether caches show all that there is of it.
    """

    endpoint: AsyncClient
    cluster: ClusterName
    engaged: bool = True


class Routes(Protocol):
    """Who knows where logical clusters are served. Any thread; does no I/O."""

    def find(self, workspace: str) -> Route:
        """Return the route to the logical cluster of that name.

        Raises NotFound, or what is retryable if that cannot be told yet.
        """


class RoutingClient(AsyncClient):
    """A client of many logical clusters without a server of its own.

    ``cluster(name)`` gives a client of the endpoint that serves that logical cluster at this
    moment, and raises NotFound where none does: ask again for each piece of work. It is confined as
    every client is. There is nothing that would serve all clusters at once, so a request through
    this client itself raises UsageError. The endpoints' connections are their owner's:
    :meth:`close` closes none.

    Parameters
    ----------
    description: what it routes to, for messages.
    """

    __slots__ = ("_routes",)

    def __init__(self, routes: Routes, *, description: str, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(
            _Nowhere(description), cluster_name=WILDCARD, multi_cluster=True, clock=clock
        )
        self._routes = routes

    def cluster(self, name: str) -> AsyncClient:
        """Return a client bound to the logical cluster of that name."""
        if name == WILDCARD:
            return self
        if not is_valid_path(name):
            raise UsageError(f"{name!r} is neither a workspace path nor a logical cluster name")
        return _Routed(self, self._routes.find(name), name)

    def wildcard(self) -> AsyncClient:
        """Return this client, whose requests all raise UsageError."""
        return self


class _Routed(AsyncClient):
    """A client of one logical cluster at its endpoint."""

    __slots__ = ("_route", "_router")

    def __init__(self, router: RoutingClient, route: Route, name: str) -> None:
        endpoint = route.endpoint
        super().__init__(
            endpoint._transport,
            cluster_name=name,
            prefix=f"/clusters/{route.cluster}",
            multi_cluster=True,
            clock=endpoint.clock,
        )
        self._router = router
        self._route = route

    def cluster(self, name: str) -> AsyncClient:
        return self if name == self.cluster_name else self._router.cluster(name)

    def wildcard(self) -> AsyncClient:
        return self._router

    async def logical_cluster_name(self) -> ClusterName | None:
        if not self._route.engaged:
            raise ServiceUnavailable(
                f"the workspace {self.cluster_name!r} is bound, but not ready to be worked with: "
                "see that its APIBinding is Ready"
            )
        return self._route.cluster

    async def close(self) -> None:
        """The connections are the endpoint's."""


class _Nowhere:
    """The transport of a client that has no server."""

    def __init__(self, description: str) -> None:
        self.server = description

    async def request(self, call: Call) -> Response:
        raise self._refusal(call)

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        raise self._refusal(call)

    async def close(self) -> None:
        """There is nothing to close."""

    def _refusal(self, call: Call) -> UsageError:
        return UsageError(
            f"{call.method} {call.path}: nothing serves all logical clusters of {self.server}; "
            "use client.cluster(name), or an informer of the fleet"
        )
