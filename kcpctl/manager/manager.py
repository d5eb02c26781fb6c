"""The manager: one process's informers, controllers and endpoints, started and stopped in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from kcpctl.client import AsyncClient, Client, WriteGate, load_config
from kcpctl.clusters import ClusterPool
from kcpctl.controller import EventRecorder
from kcpctl.errors import UsageError
from kcpctl.informers import InformerFactory, Informers
from kcpctl.logicalcluster import WILDCARD
from kcpctl.manager.debug import pages
from kcpctl.manager.debug_server import DebugServer
from kcpctl.manager.election import Election
from kcpctl.manager.endpoint import Endpoint, HttpServer
from kcpctl.manager.fleet import Fleet
from kcpctl.manager.health import Check, health_routes
from kcpctl.manager.parts import Factory, Runs
from kcpctl.runtime import SYSTEM_CLOCK, Clock, IOLoop, Metrics, get_logger, start_thread

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Manager"]

_log = get_logger(__name__)

_SYNC_POLL_SECONDS: Final = 0.02
_SYNC_NOTICE_SECONDS: Final = 5.0


class Manager:
    """Runs controllers.

    ``start`` brings up the endpoints, the runnables and the factories, waits until every informer
    has synced, then starts the controllers. A slow informer is waited for as long as it takes;
    one log line says which. ``stop`` undoes it in reverse: the controllers finish what is queued,
    all within ``graceful_shutdown_timeout_seconds``; what has not ended by then is named in a
    warning and left behind. A manager runs once. ``add`` and its sisters belong before ``start``;
    none of it may be called on the I/O thread.

    Parameters
    ----------
    client: of the API server; the manager runs on its I/O loop and does not close either, except
        when it was made by :meth:`connect`.
    health: serves /healthz, /livez and /readyz, each with ``?verbose``, ``?exclude=CHECK`` and one
        check alone as in /readyz/CHECK; metrics_endpoint: serves /metrics. None is off.
    debug: serves /debug/clusters, /debug/queues, /debug/informers and /debug/stacks, as text or
        with ``?format=json``. Loopback addresses only: UsageError for others.
    election: the controllers start when this process leads; until then it stands by with its
        informers synced, and is ready. When the Lease is lost the manager stops, and ``run``
        raises LeadershipLost. The Lease is given back when everything else has stopped.
    fleet: the logical clusters to work on, with ``client`` the fleet's own. It starts and stops
        with the manager, its informers are :attr:`shared_informers`, the controllers reconcile
        nothing but keys of clusters that it has engaged, and it is served at /debug/fleet.
    """

    def __init__(
        self,
        client: Client,
        *,
        metrics: Metrics | None = None,
        clock: Clock = SYSTEM_CLOCK,
        health: Endpoint | None = None,
        metrics_endpoint: Endpoint | None = None,
        debug: Endpoint | None = None,
        election: Election | None = None,
        fleet: Fleet | None = None,
        graceful_shutdown_timeout_seconds: float = 30.0,
    ) -> None:
        self.client = client
        self._fleet = fleet
        self._election = election
        self.io_loop = client.loop
        self.metrics = metrics or Metrics()
        self.clock = clock
        self._timeout_seconds = graceful_shutdown_timeout_seconds
        self._controllers: list[Runs] = []
        self._factories: list[Factory] = []
        self._informers: InformerFactory | None = None
        self._pools: list[ClusterPool] = []
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._runnables: list[tuple[str, Callable[[], object], Callable[[], object]]] = []
        self._at_close: list[Callable[[], None]] = []
        self._checks: dict[str, Check] = {
            "informers": self._check_informers,
            "controllers": self._check_controllers,
        }
        self._started = False
        self._standing_by = False
        self._running = False
        off = Endpoint("0", "")
        self._health = HttpServer(health or off, health_routes(self._checks_of))
        self._metrics_server = HttpServer(
            metrics_endpoint or off, {"/metrics": self._answer_metrics}
        )
        self._debug = DebugServer(
            debug or off,
            pages(
                self.io_loop,
                pools=self._pools,
                controllers=self._controllers,
                factories=self._factories,
                fleet=fleet,
            ),
        )
        if fleet is not None:
            self._take_on(fleet)

    def _take_on(self, fleet: Fleet) -> None:
        # The informers show what the endpoints show, which may be what an unbound cluster had:
        # no event would bring that back.
        fleet.tell(on_engaged=self._resume, on_gone=self._forget)
        self.add_factory(fleet.informers)
        self.add_runnable(fleet.start, fleet.close, name="fleet")
        self.add_ready_check("fleet", fleet.problem)

    @classmethod
    def connect(
        cls,
        kubeconfig: str | Path | None = None,
        *,
        context: str | None = None,
        health: Endpoint | None = None,
        metrics_endpoint: Endpoint | None = None,
        debug: Endpoint | None = None,
    ) -> Self:
        """Return a manager for the server of a kubeconfig, with an I/O loop and client of its own.

        Without a path: $KUBECONFIG, ~/.kube/config, then the Pod's service account. A server URL
        that ends with ``/clusters/*`` means all its logical clusters. Use it as a context manager,
        which closes both at the end.
        """
        metrics = Metrics()
        config = load_config(kubeconfig, context)
        new = AsyncClient.workspaces if config.cluster == WILDCARD else AsyncClient.plain
        io_loop = IOLoop()
        client = Client(new(config, metrics=metrics), io_loop)
        made = cls(
            client,
            metrics=metrics,
            health=health,
            metrics_endpoint=metrics_endpoint,
            debug=debug,
        )
        made._at_close += [client.close, io_loop.close]
        return made

    @property
    def write_gate(self) -> WriteGate | None:
        """What clients made for the manager's controllers pass their writes through, if any."""
        return None if self._election is None else self._election.gate

    @property
    def informers(self) -> InformerFactory:
        """The manager's own informer factory, over everything its client is bound to.

        Raises UsageError with a fleet: its client is bound to no server.
        """
        if self._fleet is not None:
            raise UsageError("with a fleet, ask manager.shared_informers for informers")
        if self._informers is None:
            self._informers = InformerFactory(
                self.client.aio, self.io_loop, clock=self.clock, metrics=self.metrics
            )
            self.add_factory(self._informers)
        return self._informers

    @property
    def shared_informers(self) -> Informers:
        """The informers of the fleet, or without one :attr:`informers`: for either case."""
        return self.informers if self._fleet is None else self._fleet.informers

    def recorder(self, component: str) -> EventRecorder:
        """Return an event recorder that is closed, after a short flush, when the manager stops."""
        recorder = EventRecorder(self.client, component, clock=self.clock, metrics=self.metrics)
        self.add_runnable(lambda: None, recorder.close, name=f"events of {component}")
        return recorder

    def add(self, controller: Runs) -> None:
        """Run a controller, or several as :class:`kcpctl.controller.ResourceControllers`.

        Raises ValueError for a second one of the same name.
        """
        if any(other.name == controller.name for other in self._controllers):
            raise ValueError(f"there is a controller named {controller.name!r} already")
        if self._fleet is not None:
            controller.admit_only(self._fleet.is_engaged)
        self._controllers.append(controller)

    def remove(self, cluster: str) -> None:
        """End all that there is of a logical cluster that is gone; once more does nothing.

        First its objects leave the informers of all factories, with deletes delivered, then its
        keys the controllers (see :meth:`Controller.remove`): when this returns both have happened.
        May be called from any thread, the I/O thread included. What a server still sends of the
        cluster afterwards is new.
        """
        if self.io_loop.on_loop_thread:
            self._remove(cluster)
        else:
            self.io_loop.run(self._remove_on_loop(cluster))

    async def _remove_on_loop(self, cluster: str) -> None:
        self._remove(cluster)

    def _remove(self, cluster: str) -> None:
        for factory in self._factories:
            factory.remove(cluster)
        self._forget({cluster})

    def _forget(self, clusters: Collection[str]) -> None:
        for controller in self._controllers:
            controller.remove_all(clusters)

    def _resume(self, cluster: str) -> None:
        for controller in self._controllers:
            controller.resume(cluster)

    def add_factory(self, factory: Factory) -> None:
        """Start and stop an informer factory with the manager."""
        self._factories.append(factory)

    def add_pool(self, pool: ClusterPool) -> None:
        """Show a connection pool's clusters at the debug endpoint; close it after the informers."""
        self._pools.append(pool)
        self.add_runnable(lambda: None, pool.close, name="cluster pool")

    def add_runnable(
        self, start: Callable[[], object], stop: Callable[[], object], *, name: str
    ) -> None:
        """Start something before the informers, and stop it after them."""
        self._runnables.append((name, start, stop))

    def add_ready_check(self, name: str, check: Check) -> None:
        """Make /readyz depend on one more thing."""
        self._checks[name] = check

    @property
    def health_address(self) -> str:
        """``host:port`` of the health endpoint, "" when it is off."""
        return self._health.address

    @property
    def metrics_address(self) -> str:
        """``host:port`` of the metrics endpoint, "" when it is off."""
        return self._metrics_server.address

    @property
    def debug_address(self) -> str:
        """``host:port`` of the debug endpoint, "" when it is off."""
        return self._debug.address

    def run(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set (see :func:`kcpctl.manager.install`), then stop in order."""
        try:
            if self.start(stop):
                stop.wait()
        finally:
            self.stop()
        if self._election is not None:
            self._election.check()

    def start(self, stop: threading.Event | None = None) -> bool:
        """Start everything; return False if ``stop`` was set while informers were waited for.

        When a part fails to start, those that run are stopped and its error is raised.
        """
        if self._started:
            raise RuntimeError("the manager was started already")
        self._started = True
        try:
            if self._election is not None:
                # First, so that it ends last: what is still written then needs the Lease.
                self._undo.append(("leader election", self._election.close))
            self._begin("debug endpoint", self._debug.start, self._debug.close)
            for server in (self._metrics_server, self._health):
                self._begin(
                    "endpoint",
                    partial(self._on_loop, server.start),
                    partial(self._on_loop, server.close),
                )
            for name, begin, end in self._runnables:
                self._begin(name, begin, end)
            for factory in self._factories:
                self._begin("informers", factory.start, factory.close)
            stop = stop or threading.Event()
            if not (self._wait_for_sync(stop) and self._wait_to_lead(stop)):
                return False
            for controller in self._controllers:
                controller.start()
            self._running = True
        except BaseException:
            self.stop()
            raise
        names = ",".join(controller.name for controller in self._controllers)
        _log.info("Controllers started", controllers=names)
        return True

    def stop(self) -> bool:
        """Stop in reverse order; return whether all ended in time. May be called twice."""
        self._running = False
        deadline = self.clock.monotonic() + self._timeout_seconds
        clean = self._stop_controllers(deadline)
        while self._undo:
            name, end = self._undo.pop()
            clean = self._within(deadline, name, end) and clean
        return clean

    def close(self) -> None:
        """Stop, and close what :meth:`connect` made."""
        self.stop()
        while self._at_close:
            self._at_close.pop(0)()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.io_loop.run(make())

    def _begin(self, name: str, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._undo.append((name, end))
        begin()

    def _waiting_for(self) -> list[str]:
        names = [name for factory in self._factories for name in factory.waiting_for]
        names += [name for controller in self._controllers for name in controller.waiting_for]
        return list(dict.fromkeys(names))

    def _wait_for_sync(self, stop: threading.Event) -> bool:
        """Wait as long as it takes: one slow API is no reason to start over (pitfall 10)."""
        told_at = self.clock.monotonic() + _SYNC_NOTICE_SECONDS
        told = False
        while not stop.is_set():
            waiting = self._waiting_for()
            if not waiting:
                return True
            if not told and self.clock.monotonic() >= told_at:
                told = True
                _log.info("Waiting for the initial lists", waiting_for=", ".join(waiting))
            self.clock.sleep(_SYNC_POLL_SECONDS)
        return False

    def _wait_to_lead(self, stop: threading.Event) -> bool:
        if self._election is None:
            return True
        self._standing_by = True
        self._election.campaign(on_lost=stop.set)
        won = self._election.wait(stop)
        self._standing_by = False
        return won

    def _stop_controllers(self, deadline: float) -> bool:
        """Stop the controllers side by side: one that hangs must not use up the others' time."""
        left = max(deadline - self.clock.monotonic(), 0.0)
        results: list[bool] = []

        def end(controller: Runs) -> None:
            results.append(controller.stop(left))

        threads = [
            start_thread(partial(end, controller), name=f"stop {controller.name}")
            for controller in self._controllers
        ]
        for thread in threads:
            thread.join()
        return all(results)

    def _within(self, deadline: float, name: str, end: Callable[[], object]) -> bool:
        """Run ``end``; go on without it when it has not returned at the deadline."""

        def run() -> None:
            try:
                end()
            except Exception as error:  # noqa: BLE001 - the other parts must stop all the same
                _log.error("A part did not stop cleanly", part=name, exc_info=error)

        thread = start_thread(run, name=f"stop {name}", daemon=True)
        thread.join(max(deadline - self.clock.monotonic(), 1.0))
        if thread.is_alive():
            _log.warning("A part did not stop in time", part=name)
        return not thread.is_alive()

    # On the I/O thread.

    def _check_informers(self) -> str:
        waiting = self._waiting_for()
        return f"waiting for {', '.join(waiting)}" if waiting else ""

    def _check_controllers(self) -> str:
        if self._standing_by:
            return ""
        stopped = [one.name for one in self._controllers if not one.running]
        if stopped:
            return f"not running: {', '.join(stopped)}"
        return "" if self._running else "not started"

    def _checks_of(self, path: str) -> dict[str, Check]:
        checks: dict[str, Check] = {"ping": lambda: ""}
        if self._election is not None:
            checks["leader-election"] = self._election.problem
        return checks | self._checks if path.startswith("/readyz") else checks

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(
            body=self.metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
