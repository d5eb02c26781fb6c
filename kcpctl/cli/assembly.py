"""The controller manager's parts, put together from the flags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypedDict

from kcpctl.apis.kcp import API_EXPORT_ENDPOINT_SLICES, ExportReference
from kcpctl.cli.election import new_election
from kcpctl.cli.reloading import Reloader
from kcpctl.client import (
    AsyncClient,
    Client,
    ClientConfig,
    ClientOptions,
    TokenBucket,
    WriteGate,
)
from kcpctl.clusters import ClusterPool, cluster_client
from kcpctl.controller import EventRecorder
from kcpctl.errors import Forbidden, KcpctlError, NotFound
from kcpctl.informers import InformerFactory, Informers
from kcpctl.logicalcluster import ClusterName
from kcpctl.manager import Endpoint, Manager
from kcpctl.manager.fleet import Fleet, explain
from kcpctl.reconcilers import clusterregistration, synctarget
from kcpctl.reconcilers.claims import Hint, hint_from, no_hint
from kcpctl.reconcilers.clusterregistration import ClusterRegistrationOptions
from kcpctl.reconcilers.synctarget import SyncTargetController, SyncTargetOptions
from kcpctl.runtime import IOLoop, Metrics, start_thread

__all__ = ["Assembly", "in_workspace"]

_POLL_SECONDS: Final = 0.05
# What may change while the SyncTarget controller runs; see SyncTargetOptions.newer.
_LIVE_OPTIONS: Final = (
    "sync_target_heartbeat_threshold",
    "sync_target_unhealthy_threshold",
    "sync_target_startup_grace",
    "force_delete_after",
    "syncer_image",
)


class _Parts(TypedDict):
    """What every controller is made of."""

    client: Client
    factory: Informers
    pool: ClusterPool
    recorder: EventRecorder
    metrics: Metrics
    hint: Hint


class Assembly:
    """Owns the I/O loop and the connections of one run; closes them in reverse order."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags
        self._stack = ExitStack()
        self._clients: list[Client] = []
        self.metrics = Metrics()
        self.io_loop = self._stack.enter_context(IOLoop())
        self._gate = WriteGate() if flags["leader_elect"] else None
        self._limiter = TokenBucket(flags["kube_api_qps"], flags["kube_api_burst"])

    def connect(self, config: ClientConfig, *, gated: bool = True) -> Client:
        """Return a client of the server's one cluster.

        With leader election it writes only while this process leads, unless it is not ``gated``.
        The cluster is called what ``--cluster-name`` says; else a logical cluster is called by its
        name, also when the URL has its path, because keys and hashes are made of the name.
        """
        name: str | None = self._flags["cluster_name"]
        options = self._client_options(gated=gated)
        client = self._client(AsyncClient.plain(config, cluster_name=name, **options))
        if name is None and config.cluster and (found := client.logical_cluster_name()):
            plain = AsyncClient.plain(config, cluster_name=found, **options)
            client = self._client(plain)
        return client

    def connect_all(self, config: ClientConfig) -> Client:
        """Return a client of all logical clusters of a server."""
        return self._client(AsyncClient.workspaces(config, **self._client_options()))

    def fleet(self, config: ClientConfig) -> Fleet:
        """Return the consumers of the APIExport of ``--apiexport``.

        Raises KcpctlError when the endpoints may not be read; where there are none yet it does not.
        """
        export: ExportReference = self._flags["apiexport"]
        options = self._client_options()
        home = self._client(AsyncClient.plain(in_workspace(config, export.path), **options))
        try:
            home.resource(API_EXPORT_ENDPOINT_SLICES).get(export.name)
        except NotFound as error:
            # The slice itself is waited for; without the workspace, or the kind, that is no use.
            if error.details.get("kind") != API_EXPORT_ENDPOINT_SLICES.plural:
                raise KcpctlError(explain(error, export)) from error
        except Forbidden as error:
            raise KcpctlError(explain(error, export)) from error
        return Fleet(
            config,
            export,
            self.io_loop,
            new_client=partial(AsyncClient.workspaces, **options),
            new_slice_client=partial(AsyncClient.plain, **options),
            metrics=self.metrics,
        )

    def manager(
        self, client: Client, config: ClientConfig, *, fleet: Fleet | None = None
    ) -> Manager:
        """Return a manager that runs the controllers that were asked for on ``client``.

        ``config`` is of the server, and for a fleet of the workspace of the export.
        """
        flags = self._flags
        manager = Manager(
            client,
            metrics=self.metrics,
            health=self._endpoint("health_probe_bind_address", ":8081"),
            metrics_endpoint=self._endpoint("metrics_bind_address", ":8080"),
            debug=self._endpoint("debug_bind_address", "0"),
            election=new_election(flags, config, self._gate, self.metrics) if self._gate else None,
            fleet=fleet,
            graceful_shutdown_timeout_seconds=flags["graceful_shutdown_timeout"],
        )
        factory = self._informers(manager, client) if fleet is None else fleet.informers
        pool = ClusterPool(
            self.io_loop,
            metrics=self.metrics,
            allow_exec=flags["allow_exec_plugins"],
            new_client=partial(cluster_client, write_gate=self._gate),
        )
        manager.add_pool(pool)
        takes: dict[str, Callable[[Mapping[str, Any]], object]] = dict(flags["reload"])
        takes |= dict.fromkeys(("kube_api_qps", "kube_api_burst"), self._limit)
        for name in flags["controllers"]:
            parts: _Parts = {
                "client": client,
                "factory": factory,
                "pool": pool,
                "recorder": manager.recorder(f"kcpctl-{name}"),
                "metrics": self.metrics,
                "hint": no_hint if fleet is None else hint_from(fleet),
            }
            if name == "synctarget":
                targets = synctarget.new_controller(
                    options=_options(flags, config), links=fleet, **parts
                )
                manager.add(targets)
                takes |= dict.fromkeys(_LIVE_OPTIONS, partial(_go_on, targets, config))
            else:
                options = ClusterRegistrationOptions(
                    credentials_namespace=flags["credentials_namespace"]
                )
                manager.add(clusterregistration.new_controller(options=options, **parts))
        if (file := flags["config"]) is not None:
            follower = Reloader(file, self.io_loop, flags, check=flags["check"], take=takes)
            manager.add_runnable(follower.start, follower.close, name="configuration file")
        return manager

    def _informers(self, manager: Manager, client: Client) -> InformerFactory:
        factory = InformerFactory(client.aio, self.io_loop, name="upstream", metrics=self.metrics)
        manager.add_factory(factory)
        return factory

    def _limit(self, flags: Mapping[str, Any]) -> None:
        self._limiter.change(flags["kube_api_qps"], flags["kube_api_burst"])

    @contextmanager
    def ended_by(self, stop: threading.Event) -> Iterator[None]:
        """Let ``stop`` close the clients, and so end what waits inside for a server."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_POLL_SECONDS):
                if stop.is_set():
                    for client in list(self._clients):
                        client.close()

        thread = start_thread(watch, name="kcpctl-start")
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _client(self, made: AsyncClient) -> Client:
        client = Client(made, self.io_loop)
        self._clients.append(client)
        self._stack.callback(client.close)
        return client

    def _client_options(self, *, gated: bool = True) -> ClientOptions:
        return {
            "write_gate": self._gate if gated else None,
            "limiter": self._limiter,
            "metrics": self.metrics,
        }

    def _endpoint(self, flag: str, default: str) -> Endpoint:
        """An address that was asked for must be free; with --embedded the default need not be.

        There it is on loopback only: all interfaces would include the addresses of the Pods, and a
        probe of a syncer would be answered here.
        """
        asked: str | None = self._flags[flag]
        embedded: bool = self._flags["embedded"]
        return Endpoint(
            asked or ("127.0.0.1" + default if embedded else default),
            "--" + flag.replace("_", "-"),
            allow_free_port=asked is None and embedded,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def in_workspace(config: ClientConfig, path: str) -> ClientConfig:
    """Return the configuration for one workspace of the same server."""
    return replace(config, cluster=ClusterName(path))


def _go_on(
    controller: SyncTargetController, config: ClientConfig, flags: Mapping[str, Any]
) -> None:
    controller.go_on_with(_options(flags, config))


def _options(flags: Mapping[str, Any], config: ClientConfig) -> SyncTargetOptions:
    return SyncTargetOptions(
        heartbeat_threshold_seconds=flags["sync_target_heartbeat_threshold"],
        unhealthy_threshold_seconds=flags["sync_target_unhealthy_threshold"],
        startup_grace_seconds=flags["sync_target_startup_grace"],
        force_delete_after_seconds=flags["force_delete_after"],
        credentials_namespace=flags["credentials_namespace"],
        syncer_image=flags["syncer_image"] or "",
        upstream_server_url=flags["upstream_server_url"] or config.server,
        upstream_ca_data=config.ca,
        upstream_insecure=config.insecure,
        upstream_server_name=config.server_name,
        syncer_auth=flags["syncer_auth"],
        workers=flags["workers"],
    )
