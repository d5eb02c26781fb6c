"""The fleet: every logical cluster that binds an APIExport, at whichever endpoint serves it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from kcpctl.apis.kcp import (
    API_BINDINGS,
    APIBinding,
    ExportReference,
)
from kcpctl.client import AsyncClient, Client, ClientConfig, Route, RoutingClient
from kcpctl.errors import ConfigError, NotFound, ServiceUnavailable
from kcpctl.informers import AggregateFactory, SharedInformer
from kcpctl.logicalcluster import CLUSTER_ANNOTATION, ClusterName
from kcpctl.manager.fleet.endpoint import EndpointStatus, config_for
from kcpctl.manager.fleet.membership import Membership
from kcpctl.manager.fleet.slices import EndpointSlice
from kcpctl.manager.fleet.unit import Unit
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    IOLoop,
    Metrics,
    TaskSet,
    get_logger,
)

__all__ = ["Fleet"]

_log = get_logger(__name__)

# A shard that restarts, or a list that flaps, is back within this; what is torn down for it would
# have to be listed, and connected, anew.
_FORGET_SECONDS: Final = 30.0

NewClient = Callable[[ClientConfig], AsyncClient]


class Fleet:
    """The consumers of an APIExport of a kcp, to be given to a :class:`kcpctl.manager.Manager`.

    It watches the APIExportEndpointSlice of the export, has a unit for each URL there, and watches
    the APIBindings at each. What an endpoint has is listed once one of its bindings is Ready. A
    logical cluster is *engaged* when its binding is Ready and the informers have all of its
    endpoint's objects. Keys of others are not reconciled: they wait, and run when it is engaged. A
    binding that is not Ready parks its cluster, and so does one that is gone, or whose URL is; the
    last two are forgotten after 30 seconds unless they are back. Nothing is deleted anywhere by any
    of it. No URL at all is a normal state: nobody binds the export yet.

    Without the slice it waits, and says once what is missing. An endpoint that does not answer is
    tried again for as long as it is listed, and holds up no other one.

    ``client`` reaches each logical cluster where it is served (see :class:`RoutingClient`),
    ``informers`` show those of all endpoints. ``start`` and ``close`` block; a fleet runs once.

    Parameters
    ----------
    config: of the kcp; its credentials and CA are used for the endpoints, too.
    export: path and name; the path may be the name of a logical cluster.
    new_client: makes the clients of endpoints, bound to all logical clusters there;
        new_slice_client that of the export's workspace.
    forget_after_seconds: how long who is gone is kept in case of a return.
    """

    def __init__(
        self,
        config: ClientConfig,
        export: ExportReference,
        io_loop: IOLoop,
        *,
        new_client: NewClient = AsyncClient.workspaces,
        new_slice_client: NewClient = AsyncClient.plain,
        forget_after_seconds: float = _FORGET_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
    ) -> None:
        self.export = export
        self.description = f"APIExport {export.path}:{export.name}"
        self._config = config
        self._io_loop = io_loop
        self._new_client = new_client
        self._forget_after_seconds = forget_after_seconds
        self._clock = clock
        self._rng = rng
        self._metrics = metrics or Metrics()
        self.informers = AggregateFactory(
            io_loop,
            name="upstream",
            members=f"endpoints of {self.description}",
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self.client = Client(
            RoutingClient(self, description=f"the {self.description}", clock=clock), io_loop
        )
        self._membership = Membership(self)
        self._tasks = TaskSet(f"fleet of {self.description}")
        self._slice = EndpointSlice(
            new_slice_client(replace(config, cluster=ClusterName(export.path))),
            export,
            self._settle,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        # Changed on the I/O thread; whoever goes through the units takes a copy first, and what is
        # refused, with the reasons, is replaced as a whole: so any thread can look.
        self._units: dict[str, Unit] = {}
        self._refused: Mapping[str, str] = {}
        self._is_known = False
        self._departed: list[tuple[str, object, asyncio.Event | None]] = []
        self._on_engaged: Callable[[str], object] = _nobody
        self._on_gone: Callable[[Collection[str]], object] = _nobody
        self._measure()

    # Any thread.

    def is_engaged(self, cluster: str) -> bool:
        """Whether a logical cluster may be worked on."""
        return self._membership.is_engaged(cluster)

    def find(self, workspace: str) -> Route:
        """Return where a logical cluster is served, by its name.

        Never by a path: on a kcp whoever administers a workspace writes its path, any path.
        Raises NotFound, or ServiceUnavailable while an endpoint that may serve it has not answered.
        """
        if ":" in workspace:
            raise NotFound(
                f"{workspace!r} is a path, and who administers a workspace may give it any path; "
                "use the name of the logical cluster, which is the annotation "
                f"{CLUSTER_ANNOTATION} of all that is there",
                reason="NotFound",
            )
        unit = self._unit_of(workspace)
        if unit is not None:
            name = ClusterName(workspace)
            return Route(unit.client, name, engaged=self._membership.is_engaged(name))
        silent = [one.url for one in list(self._units.values()) if one.state == "Connecting"]
        if silent:
            raise ServiceUnavailable(
                f"the workspace {workspace!r} may be served by an endpoint of the "
                f"{self.description} that does not answer: {', '.join(silent)}"
            )
        raise NotFound(
            f"no endpoint of the {self.description} serves the workspace {workspace!r}; bind the "
            "export there with an APIBinding, and see that it becomes Ready",
            reason="NotFound",
        )

    def binding(self, cluster: str) -> APIBinding | None:
        """Return the APIBinding by which a logical cluster is served, as it was last shown."""
        unit = self._unit_of(cluster)
        return None if unit is None else unit.binding(cluster)

    def _unit_of(self, cluster: str) -> Unit | None:
        url = self._membership.find(cluster)
        return None if url is None else self._units.get(url)

    def endpoint_of(self, cluster: str) -> tuple[str, str]:
        """Return the URL that serves a logical cluster, "" for none, and what fails there now."""
        unit = self._unit_of(cluster)
        return ("", "") if unit is None else (unit.url, unit.last_error(self.export))

    def tell(
        self,
        *,
        on_engaged: Callable[[str], object],
        on_gone: Callable[[Collection[str]], object],
    ) -> None:
        """Call these on the I/O thread, for each cluster that is engaged, and those forgotten.

        One that has moved to another endpoint is engaged once more.
        """
        self._on_engaged, self._on_gone = on_engaged, on_gone

    def problem(self) -> str:
        """Return why no logical cluster can be served, "" when any can, or none is bound."""
        if missing := self._slice.problem():
            return missing
        units = [unit for unit in list(self._units.values()) if unit.state != "Leaving"]
        if any(unit.state in {"Idle", "Serving"} for unit in units):
            return ""
        problems = [f"{unit.url}: {self._error_of(unit) or unit.state}" for unit in units]
        return "; ".join([*self._refused.values(), *problems])

    def endpoints(self) -> list[EndpointStatus]:
        """Return how each endpoint is right now."""
        statuses = [
            EndpointStatus(url, "Refused", (), (), why) for url, why in self._refused.items()
        ]
        for unit in list(self._units.values()):
            clusters = self._membership.clusters_of(unit.url)
            statuses.append(
                EndpointStatus(
                    unit.url,
                    unit.state,
                    sorted(name for name, engaged in clusters.items() if engaged),
                    sorted(name for name, engaged in clusters.items() if not engaged),
                    self._error_of(unit),
                )
            )
        return sorted(statuses, key=lambda one: one.url)

    def _error_of(self, unit: Unit) -> str:
        return unit.last_error(self.export) or "; ".join(self.informers.unsynced(unit.url))

    def start(self) -> None:
        """Watch the slice from now on."""
        self._io_loop.run(self._slice.start())

    def close(self) -> None:
        """End every watch and close the connections. May be called twice."""
        self._io_loop.run(self._close())

    def _measure(self) -> None:
        endpoints = self._metrics.gauge(
            "kcpctl_fleet_endpoints", "Endpoints of the APIExport, by state", ("state",)
        )
        for state in ("Connecting", "Idle", "Syncing", "Serving", "Leaving"):
            endpoints.labels(state).set_function(partial(self._count, state))
        clusters = self._metrics.gauge(
            "kcpctl_fleet_clusters", "Logical clusters that bind the APIExport", ("state",)
        )
        clusters.labels("Engaged").set_function(lambda: self._membership.count()[0])
        clusters.labels("Parked").set_function(lambda: self._membership.count()[1])

    def _count(self, state: str) -> int:
        return sum(unit.state == state for unit in list(self._units.values()))

    # The I/O thread.

    async def _close(self) -> None:
        await self._slice.close()
        await self._tasks.close()
        for url in list(self._units):
            await self._units.pop(url).close()

    def _settle(self, urls: Sequence[str]) -> None:
        """Have a unit for each URL, and let the others leave."""
        if not self._is_known:
            # That there are none yet is known, too.
            self._is_known = True
            self._tasks.spawn(self._settle_members(), name="members")
        self._refused = {url: why for url, why in self._refused.items() if url in urls}
        for url in urls:
            unit = self._units.get(url)
            if unit is None:
                self._add(url)
            elif unit.leaving is not None:
                unit.return_()
                self._membership.list_endpoint(url)
        for unit in list(self._units.values()):
            if unit.url not in urls and unit.leaving is None:
                leaving = unit.leaving = asyncio.Event()
                self._membership.list_endpoint(unit.url, listed=False)
                self._tasks.spawn(self._drop_later(unit, leaving), name=f"leave {unit.url}")

    def _add(self, url: str) -> None:
        try:
            client = self._new_client(config_for(self._config, url))
        except ConfigError as error:
            if url not in self._refused:
                _log.warning("Endpoint refused", error=error)
            self._refused = {**self._refused, url: str(error)}
            return
        bindings: SharedInformer[APIBinding] = SharedInformer(
            client,
            API_BINDINGS,
            APIBinding,
            name="fleet",
            place=url,
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
        )
        unit = self._units[url] = Unit(
            url, client, bindings, self._membership, self.informers.relist, self._consented
        )
        self._membership.list_endpoint(url)
        unit.start(self._join)
        _log.info("Endpoint found", url=url)

    async def _join(self, unit: Unit) -> None:
        """Let the informers show what an endpoint has, now that it answers."""
        unit.joined = True
        await self._settle_members()
        await self.informers.wait_for(unit.url)
        unit.synced = True
        self._membership.sync_endpoint(unit.url)

    async def _drop_later(self, unit: Unit, leaving: asyncio.Event) -> None:
        await self._clock.asleep(self._forget_after_seconds)
        if leaving.is_set():
            return
        # From here on the URL is a new one if it comes back.
        unit.stop_telling()
        del self._units[unit.url]
        self._membership.drop_endpoint(unit.url)
        try:
            await self._settle_members()
        finally:
            leaving.set()
            await unit.close()
        _log.info("Endpoint forgotten", url=unit.url)

    async def _settle_members(self) -> None:
        units = self._units.values()
        await self.informers.set_members({one.url: one.client for one in units if one.joined})

    def engaged(self, cluster: str) -> None:
        """Take from the membership that a cluster may be worked on."""
        _log.debug("Logical cluster engaged", cluster=cluster)
        self._on_engaged(cluster)

    def _consented(self, cluster: str) -> None:
        """Do what was refused until now, without waiting for its back-off."""
        if self._membership.is_engaged(cluster):
            self._on_engaged(cluster)

    def left(self, cluster: str, token: object) -> None:
        """Take from the membership that a cluster is shown no more."""
        unit = self._units.get(self._membership.url_of(cluster))
        leaving = None if unit is None else unit.leaving
        self._departed.append((cluster, token, leaving))
        if len(self._departed) == 1:
            # It begins when this turn of the loop is over: with an endpoint go all its clusters.
            self._tasks.spawn(self._forget_later(), name="forget")

    async def _forget_later(self) -> None:
        departed, self._departed = self._departed, []
        await self._clock.asleep(self._forget_after_seconds)
        for leaving in {leaving for _, _, leaving in departed if leaving is not None}:
            # The deletes come first, so that no key that they bring up is left behind.
            await leaving.wait()
        gone = {name for name, token, _ in departed if self._membership.forget(name, token)}
        if gone:
            _log.debug("Logical clusters forgotten", clusters=",".join(sorted(gone)))
            self._on_gone(gone)


def _nobody(_: object) -> None:
    """Stand in for who is told."""
