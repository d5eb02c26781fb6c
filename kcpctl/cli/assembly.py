"""The controller manager's parts, put together from the flags."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.clusters import ClusterPool
from kcpctl.informers import InformerFactory
from kcpctl.manager import Endpoint, Manager
from kcpctl.reconcilers.synctarget import SyncTargetOptions, new_controller
from kcpctl.runtime import IOLoop, Metrics

__all__ = ["Assembly"]

_COMPONENT = "kcpctl-synctarget"


class Assembly:
    """Owns the I/O loop and the connections of one run; closes them in reverse order."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags
        self._stack = ExitStack()
        self.metrics = Metrics()
        self.io_loop = self._stack.enter_context(IOLoop())

    def connect(self, config: ClientConfig, *, multi_cluster: bool) -> Client:
        """Return a client of a server with many logical clusters, or with one."""
        limits = {"qps": self._flags["kube_api_qps"], "burst": self._flags["kube_api_burst"]}
        if multi_cluster:
            made = AsyncClient.workspaces(config, metrics=self.metrics, **limits)
        else:
            made = AsyncClient.plain(
                config,
                cluster_name=self._flags["cluster_name"],
                metrics=self.metrics,
                **limits,
            )
        client = Client(made, self.io_loop)
        self._stack.callback(client.close)
        return client

    def manager(self, client: Client, config: ClientConfig) -> Manager:
        """Return a manager that runs the SyncTarget controller on ``client``."""
        flags = self._flags
        manager = Manager(
            client,
            metrics=self.metrics,
            health=self._endpoint("health_probe_bind_address", ":8081"),
            metrics_endpoint=self._endpoint("metrics_bind_address", ":8080"),
            graceful_shutdown_timeout_seconds=flags["graceful_shutdown_timeout"],
        )
        factory = InformerFactory(client.aio, self.io_loop, name="upstream", metrics=self.metrics)
        pool = ClusterPool(self.io_loop, metrics=self.metrics)
        manager.add_runnable(lambda: None, pool.close, name="cluster pool")
        manager.add_factory(factory)
        manager.add(
            new_controller(
                client=client,
                factory=factory,
                pool=pool,
                recorder=manager.recorder(_COMPONENT),
                options=self._options(config),
                metrics=self.metrics,
            )
        )
        return manager

    def _options(self, config: ClientConfig) -> SyncTargetOptions:
        flags = self._flags
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
            workers=flags["workers"],
        )

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
