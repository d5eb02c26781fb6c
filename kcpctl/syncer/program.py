"""The syncer as a program: from two kubeconfigs to a running agent."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from kcpctl.apis.naming import syncer_id
from kcpctl.client import AsyncClient, Client, ClientConfig, Transport, WriteGate, load_config
from kcpctl.client.http import HttpTransport
from kcpctl.errors import InternalError, ServiceUnavailable, TransportError, UsageError
from kcpctl.logicalcluster import ROOT, WILDCARD, is_valid_path
from kcpctl.manager.election import Election, ElectionOptions, new_identity
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Backoff,
    Clock,
    IOLoop,
    Metrics,
    get_logger,
)
from kcpctl.syncer.login import Upstream, certified
from kcpctl.syncer.options import SyncerOptions
from kcpctl.syncer.reloading import ReloadingTransport
from kcpctl.syncer.syncer import Syncer
from kcpctl.syncer.target import FIELD_MANAGER

__all__ = ["run_syncer"]

_log = get_logger(__name__)

# Appendix A: what the original's generated manifests give a syncer.
_QPS: Final = 20.0
_BURST: Final = 30
_ASK_AGAIN_SECONDS: Final = 1.0
_KCP: Final = "+kcp"
"""Part of the version of every kcp, and of the embedded control plane."""


def run_syncer(
    options: SyncerOptions,
    *,
    from_kubeconfig: Path,
    to_kubeconfig: Path | None,
    stop: threading.Event,
    once: bool = False,
    qps: float | None = _QPS,
    burst: int | None = _BURST,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random = SYSTEM_RANDOM,
    metrics: Metrics | None = None,
) -> None:
    """Run a syncer until ``stop`` is set, or make a single pass with ``once``.

    Both files are read again while it runs, so credentials may be renewed in place. With
    ``certificate_seconds`` those upstream are used for nothing but to ask for a certificate.
    Without ``to_kubeconfig`` the cluster is the one that kubectl would use, or that the Pod runs
    in. With ``leader_elect`` it stands by until it holds the Lease; one that has lost it ends.
    Raises the tree of :mod:`kcpctl.errors`; with ``once`` also for whatever was not synced.
    """
    gate = WriteGate(clock) if options.leader_elect and not once else None
    make = partial(
        HttpTransport, qps=qps, burst=burst, clock=clock, metrics=metrics, write_gate=gate
    )
    upstream_config = _load(from_kubeconfig)
    downstream_config = _load(to_kubeconfig)
    prefix, name = _upstream_cluster(upstream_config, options.from_cluster)
    with IOLoop("kcpctl-io") as loop:
        up = loop.run(_transport(from_kubeconfig, upstream_config, make, clock))
        if _may_be_plain(upstream_config, name) and not _has_logical_clusters(
            up, loop, clock, stop
        ):
            prefix = ""
        server, keeper = Upstream(from_kubeconfig, name, prefix, _load, make, clock), None
        if options.certificate_seconds is not None:
            keeper, up = loop.run(certified(options, server, up, rng))
        down = loop.run(_transport(to_kubeconfig, downstream_config, make, clock))
        upstream = Client(server.client(up), loop)
        downstream = Client(_downstream(down, downstream_config), loop)
        try:
            syncer = Syncer(
                options,
                upstream=upstream,
                downstream=downstream,
                clock=clock,
                rng=rng,
                metrics=metrics,
                election=None if gate is None else _election(options, downstream_config, gate),
            )
            if once and keeper is not None:
                loop.run(keeper.first(options.once_timeout_seconds))
            (syncer.run_once if once else syncer.run)(stop)
        finally:
            upstream.close()
            downstream.close()
            if keeper is not None:
                loop.run(keeper.close())


def _load(path: Path | None) -> ClientConfig:
    # API servers take the field manager of a patch from the user agent (decision 13).
    return replace(load_config(path), user_agent=FIELD_MANAGER)


def _election(options: SyncerOptions, config: ClientConfig, gate: WriteGate) -> Election:
    """Return the election among the syncers of one SyncTarget, on a connection of its own."""
    settings = ElectionOptions(
        name=syncer_id(options.sync_target_name, options.sync_target_uid),
        namespace=options.syncer_namespace,
        identity=new_identity(),
    )
    # LE-21: so that a renewal that hangs leaves time for another one.
    patience = settings.renew_deadline_seconds / 2
    connect = partial(AsyncClient.plain, config, request_timeout_seconds=patience)
    return Election(connect, settings, gate)


async def _transport(
    path: Path | None,
    config: ClientConfig,
    make: Callable[[ClientConfig], Transport],
    clock: Clock,
) -> Transport:
    """In-cluster files are followed by the client itself; a kubeconfig is followed here."""
    if path is None:
        return make(config)
    return ReloadingTransport(path, config, load=_load, make=make, clock=clock)


def _upstream_cluster(config: ClientConfig, from_cluster: str) -> tuple[str, str]:
    """Return the URL prefix of the upstream logical cluster and its name in keys.

    ``root`` is what the flag says when nobody sets it, so the URL of a kubeconfig that is bound
    to a logical cluster wins over it, and over nothing else.
    """
    name = from_cluster if from_cluster not in {"", ROOT} else config.cluster or ""
    if name == WILDCARD:
        raise UsageError(
            "a syncer serves one logical cluster; name it, for example --from-cluster root:demo"
        )
    if name and not is_valid_path(name):
        raise UsageError(
            f"--from-cluster {name!r} is neither a workspace path nor the name of a logical "
            "cluster; write for example root:demo"
        )
    return (f"/clusters/{name}", name) if name else ("", ROOT)


def _may_be_plain(config: ClientConfig, name: str) -> bool:
    """Whether ``name`` can also be what ``--cluster-name`` calls an ordinary server."""
    return not config.cluster and name != ROOT and ":" not in name


def _has_logical_clusters(
    transport: Transport, loop: IOLoop, clock: Clock, stop: threading.Event
) -> bool:
    """Ask the server whether it is a kcp (4.10), for as long as it does not answer."""
    client = AsyncClient(transport, cluster_name=ROOT)
    backoff = Backoff(_ASK_AGAIN_SECONDS, 30, clock=clock)
    while not stop.is_set():
        try:
            return _KCP in loop.run(client.server_version())
        except (TransportError, ServiceUnavailable, InternalError) as error:
            _log.warning("Upstream does not answer, will retry", error=error)
            stop.wait(backoff.next())
    return False


def _downstream(transport: Transport, config: ClientConfig) -> AsyncClient:
    if config.cluster == WILDCARD:
        raise UsageError(f"{config.source}: a syncer writes to one cluster, not to all (*)")
    prefix = f"/clusters/{config.cluster}" if config.cluster else ""
    return AsyncClient(transport, cluster_name=config.cluster or ROOT, prefix=prefix)
