"""The connection pool: live clients of many clusters, and what is known of each."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, TypeVar, overload

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, Client, ClientConfig, WriteGate, config_from_kubeconfig
from kcpctl.clusters.budget import ConnectBudget
from kcpctl.clusters.connection import Connection, Environment
from kcpctl.clusters.meter import Cap
from kcpctl.clusters.status import ConnectionState, ConnectionStatus
from kcpctl.clusters.watches import ClusterWatch, Scope
from kcpctl.errors import ConfigError, NotConnected
from kcpctl.logicalcluster import WILDCARD
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    IOLoop,
    Metrics,
    TaskSet,
    gather_all,
    get_logger,
)

__all__ = ["ClusterPool", "cluster_client"]

T = TypeVar("T")
_log = get_logger(__name__)

_CONNECTS_AT_ONCE: Final = 64
# Fifty times a page of 500 objects. The clusters are somebody else's, the memory is ours.
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_REQUEST_SECONDS: Final = 10.0
# From a cluster next door to the longest connect.
_PROBE_BUCKETS_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def cluster_client(config: ClientConfig, *, write_gate: WriteGate | None = None) -> AsyncClient:
    """Return a client of a cluster that is somebody else's: no answer without size or time."""
    return AsyncClient.plain(
        config,
        write_gate=write_gate,
        request_timeout_seconds=_REQUEST_SECONDS,
        max_answer_bytes=_MAX_ANSWER_BYTES,
    )


class ClusterPool:
    """Keeps a connection to each cluster that was asked for, and says how it is.

    Promises (peers 3.5): ``client`` and ``status`` are O(1) and do no I/O; nothing one cluster
    does delays another; each change of state is one log line, one metric (by state, never by
    cluster) and one notification; ``remove`` leaves no task, socket or entry behind; no message
    holds a secret.

    Kubeconfigs come from whoever may write their Secrets: they name no file of ours, and run no
    credential plugin but one of ``allow_exec``, the commands as they are written there. What runs
    does so as this process, with arguments and environment from the kubeconfig.

    The watches of one cluster hold ``max_objects`` objects of ``max_bytes`` bytes at most. The one
    that would go beyond stops, lets go of what it has, and says so for as long as it is held.

    Every public method may be called from any thread. ``remove`` and ``close`` wait until all of
    it has ended, except on the I/O thread, where ``remove`` returns at once and ``close`` must
    not be called. Subscribers are called on the I/O thread and must not block.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
        probe_interval_seconds: float = 10.0,
        probe_timeout_seconds: float = 5.0,
        connect_timeout_seconds: float = 10.0,
        max_objects: int = 100_000,
        max_bytes: int = 256 * 2**20,
        allow_exec: Collection[str] = (),
        new_client: Callable[[ClientConfig], AsyncClient] = cluster_client,
    ) -> None:
        metrics = metrics or Metrics()
        self._io_loop = io_loop
        self._clock = clock
        self._new_client = new_client
        self._allow_exec = frozenset(allow_exec)
        self._by_state = metrics.gauge("kcpctl_clusters", "Clusters of the pool", ("state",))
        self._moves = metrics.counter(
            "kcpctl_cluster_transitions_total", "Changes of a cluster's state", ("state",)
        )
        self._probe_seconds = metrics.histogram(
            "kcpctl_cluster_probe_seconds",
            "How long probes and connects take",
            ("result",),
            buckets=_PROBE_BUCKETS_SECONDS,
        )
        self._probes = metrics.counter(
            "kcpctl_cluster_probes_total", "Probes and connects by result", ("result",)
        )
        self._environment = Environment(
            io_loop=io_loop,
            clock=clock,
            rng=rng,
            budget=ConnectBudget(_CONNECTS_AT_ONCE, clock=clock),
            probe_interval_seconds=probe_interval_seconds,
            probe_timeout_seconds=probe_timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            cap=Cap(max_objects, max_bytes),
            moved=self._moved,
            probed=self._probed,
        )
        self._tasks = TaskSet("cluster pool")  # of the I/O thread
        self._lock = threading.Lock()
        # Guarded by _lock for writing; single look-ups are atomic.
        self._connections: dict[str, Connection] = {}
        self._draining: dict[str, Connection] = {}
        self._digests: dict[str, bytes] = {}
        self._refused: dict[str, tuple[bytes, str]] = {}
        self._subscribers: list[Callable[[str], None]] = []
        self._closed = False

    def ensure(self, key: str, kubeconfig: bytes, *, source: str) -> None:
        """Keep a connection with these credentials under ``key``.

        The same kubeconfig again changes nothing; another one is swapped in place and starts the
        back-off over. Raises ConfigError, naming ``source``, for one that cannot be used; the
        connection then stays what it was (see :meth:`fail`).
        """
        digest = hashlib.sha256(kubeconfig).digest()
        if self._digests.get(key) == digest:
            return
        self._check_open()
        refused, why = self._refused.get(key, (b"", ""))
        if refused == digest:
            # Reading it again would cost as much as the first time, at each reconcile.
            raise ConfigError(why)
        try:
            config = self._read(kubeconfig, source)
        except ConfigError as error:
            with self._lock:
                self._refused[key] = (digest, str(error))
            raise
        make = partial(self._new_client, config)
        client = make()
        with self._lock:
            connection = self._entry(key)
            self._digests[key] = digest
            self._refused.pop(key, None)
            self._io_loop.call(partial(connection.use, client, make, source))

    def _read(self, kubeconfig: bytes, source: str) -> ClientConfig:
        allow_exec = self._allow_exec or False
        config = config_from_kubeconfig(kubeconfig, source=source, allow_exec=allow_exec)
        if config.cluster == WILDCARD:
            raise ConfigError(
                f"{source}: the server URL names all logical clusters (*); end it with "
                "/clusters/<name>"
            )
        return config

    def fail(self, key: str, reason: str, message: str) -> None:
        """Say that there are no usable credentials for ``key``: its Secret is gone or garbage.

        A connection there is is dropped, and nothing is tried until :meth:`ensure`.
        """
        with self._lock:
            connection = self._entry(key)
            self._digests.pop(key, None)
            self._io_loop.call(partial(connection.fail, reason, message))

    def remove(self, key: str) -> None:
        """End the connection and forget all about it; nothing happens for an unknown key."""
        if not (key in self._connections or key in self._digests or key in self._refused):
            return  # as in each pass over a SyncTarget that is not Managed: no lock for it
        with self._lock:
            connection = self._connections.pop(key, None)
            self._digests.pop(key, None)
            self._refused.pop(key, None)
            if connection is None:
                return
            self._draining[key] = connection
        if self._io_loop.on_loop_thread:
            self._tasks.spawn(self._drain(connection), name=f"remove {key}")
        else:
            self._io_loop.run(self._drain(connection))

    def client(self, key: str) -> Client:
        """Return the live client of a cluster; raises NotConnected, never waits."""
        return self._known(key).get()

    @overload
    def watch(
        self,
        key: str,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ClusterWatch[Unstructured]: ...

    @overload
    def watch(
        self,
        key: str,
        resource: Resource,
        type: type[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ClusterWatch[T]: ...

    def watch(
        self,
        key: str,
        resource: Resource,
        type: type[Any] = dict,  # noqa: A002 - the word for it
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ClusterWatch[Any]:
        """Return a hold on the cluster's informer for these arguments, which all askers share.

        Keep it and :meth:`ClusterWatch.release` it: a minute after the last one was released the
        informer ends. It has no state yet when it is the first; :meth:`subscribe` tells when that
        is read. Raises NotConnected as :meth:`client` does, and never waits.
        """
        scope = Scope(resource, type, namespace, label_selector, field_selector, metadata_only)
        return self._known(key).watch(scope)

    def status(self, key: str) -> ConnectionStatus | None:
        """Return what is known of a cluster; None for one the pool does not know."""
        connection = self._connections.get(key) or self._draining.get(key)
        return None if connection is None else connection.status()

    def statuses(self) -> list[ConnectionStatus]:
        """Return what is known of every cluster."""
        with self._lock:
            connections = [*self._connections.values(), *self._draining.values()]
        return [connection.status() for connection in connections]

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback`` with the key at every change of state; returns how to end that."""
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def close(self) -> None:
        """End every connection. May be called twice; afterwards ``ensure`` raises RuntimeError."""
        self._io_loop.run(self.aclose())

    async def aclose(self) -> None:
        """Do what :meth:`close` does, on the I/O loop."""
        with self._lock:
            self._closed = True
            connections = [*self._connections.values(), *self._draining.values()]
            self._connections.clear()
            self._digests.clear()
            self._refused.clear()
        await gather_all(*(connection.close() for connection in connections))
        await self._tasks.close()
        self._draining.clear()

    async def _drain(self, connection: Connection) -> None:
        await connection.close()
        with self._lock:
            # It may have come back and been removed again meanwhile.
            if self._draining.get(connection.key) is connection:
                del self._draining[connection.key]

    def _known(self, key: str) -> Connection:
        connection = self._connections.get(key)
        if connection is None:
            raise NotConnected(
                key,
                state=ConnectionState.GONE,
                since=self._clock.time(),
                last_error="the pool does not know this cluster",
            )
        return connection

    def _probed(self, fine: bool, seconds: float) -> None:
        result = "success" if fine else "failure"
        self._probes.labels(result).inc()
        self._probe_seconds.labels(result).observe(seconds)

    def _entry(self, key: str) -> Connection:
        self._check_open()
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = Connection(key, self._environment)
            self._by_state.labels(ConnectionState.PENDING).inc()
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the cluster pool is closed")

    def _moved(self, old: ConnectionStatus, new: ConnectionStatus) -> None:
        """Tell a change of state: one log line, one metric, one notification."""
        if old.state is not new.state:
            self._by_state.labels(old.state).dec()
            if new.state is not ConnectionState.GONE:
                self._by_state.labels(new.state).inc()
        self._moves.labels(new.state).inc()
        _log.info(
            "Cluster connection changed",
            cluster=new.key,
            state=new.state,
            was=old.state,
            reason=new.reason,
            detail=new.message,
        )
        with self._lock:
            subscribers = list(self._subscribers)
        for callback in subscribers:
            try:
                callback(new.key)
            except Exception as error:  # noqa: BLE001 - one subscriber must not stop the others
                _log.error("A pool subscriber failed", cluster=new.key, exc_info=error)
