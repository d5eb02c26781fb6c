"""``kcpctl syncer``: the agent that carries workloads down and status up."""

from __future__ import annotations

from pathlib import Path

import click

from kcpctl.cli.connect import logging_flags
from kcpctl.cli.options import DURATION, FILE, GroupedCommand, flag
from kcpctl.cli.tracing import traced, tracing_flag

__all__ = ["command"]


@click.command("syncer", cls=GroupedCommand)
@flag(
    "--sync-target-name",
    group="SyncTarget",
    required=True,
    metavar="NAME",
    help="The SyncTarget to work for.",
)
@flag(
    "--sync-target-uid",
    group="SyncTarget",
    required=True,
    metavar="UID",
    help="Its uid; one that was deleted and made again is another SyncTarget.",
)
@flag(
    "--from-kubeconfig",
    "--kubeconfig",
    "from_kubeconfig",
    group="Server",
    type=FILE,
    required=True,
    help="Kubeconfig of the upstream server. It is read again when it changes.",
)
@flag(
    "--from-auth",
    group="Server",
    type=click.Choice(["kubeconfig", "certificate"]),
    default="kubeconfig",
    help="How to log in upstream: as the kubeconfig says; or so only to ask for a client "
    "certificate by a CertificateSigningRequest, which is renewed at 80 % of its life.",
)
@flag(
    "--certificate-duration",
    group="Server",
    type=DURATION,
    default="24h",
    help="Life of such a certificate; the server may grant less.",
)
@flag(
    "--from-cluster",
    group="Server",
    default="root",
    metavar="NAME",
    help="The upstream logical cluster, by name or path.",
)
@flag(
    "--to-kubeconfig",
    group="Server",
    type=FILE,
    help="Kubeconfig of the downstream cluster. Without it: $KUBECONFIG, ~/.kube/config, then the "
    "cluster that the Pod runs in.",
)
@flag(
    "--qps",
    group="Server",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    help="Most requests a second to each of the two servers.",
)
@flag(
    "--burst",
    group="Server",
    type=click.IntRange(min=1),
    default=30,
    help="Requests that may exceed --qps for a moment.",
)
@flag("--once", group="Syncer", is_flag=True, help="Make a single pass and end.")
@flag(
    "--heartbeat-interval",
    group="Syncer",
    type=DURATION,
    default="20s",
    help="Time between two heartbeats.",
)
@flag(
    "--sync-interval",
    group="Syncer",
    type=DURATION,
    default="30s",
    help="How often everything is compared again, without requests; 0 for never.",
)
@flag(
    "--retry-initial-interval",
    group="Syncer",
    type=DURATION,
    default="5ms",
    help="Longest wait after the first failure of an object.",
)
@flag(
    "--retry-max-interval",
    group="Syncer",
    type=DURATION,
    default="60s",
    help="Longest wait after any number of failures.",
)
@flag(
    "--retry-multiplier",
    group="Syncer",
    type=click.FloatRange(min=1, min_open=True),
    default=2.0,
    help="Factor from one wait to the next.",
)
@flag(
    "--workers",
    group="Syncer",
    type=click.IntRange(min=1),
    default=2,
    help="Worker threads for each synced type.",
)
@flag(
    "--downstream-namespace-clean-delay",
    group="Syncer",
    type=DURATION,
    default="30s",
    help="How long a downstream namespace is kept after its last object.",
)
@flag(
    "--namespace",
    group="Syncer",
    envvar=["KCPCTL_NAMESPACE", "NAMESPACE"],
    default="",
    metavar="NAME",
    help="The namespace that the syncer runs in; nothing in it is synced.",
)
@flag(
    "--health-probe-bind-address",
    group="Syncer",
    default="",
    metavar="[HOST]:PORT",
    help="Where /healthz and /readyz are served [default: nowhere].",
)
@flag(
    "--leader-elect",
    group="Syncer",
    is_flag=True,
    help="Work only while holding the Lease of the SyncTarget's syncers in --namespace downstream, "
    "so that several may run.",
)
@tracing_flag("Syncer")
@logging_flags
def command(
    sync_target_name: str,
    sync_target_uid: str,
    from_kubeconfig: Path,
    from_auth: str,
    certificate_duration: float,
    from_cluster: str,
    to_kubeconfig: Path | None,
    qps: float,
    burst: int,
    once: bool,
    heartbeat_interval: float,
    sync_interval: float,
    retry_initial_interval: float,
    retry_max_interval: float,
    retry_multiplier: float,
    workers: int,
    downstream_namespace_clean_delay: float,
    namespace: str,
    health_probe_bind_address: str,
    leader_elect: bool,
    tracing: bool,
) -> int:
    """Run the syncer of one SyncTarget until it is stopped.

    It takes what carries the SyncTarget's state label (see `kcpctl workload assign`), applies it
    to the downstream cluster, brings status back, and sends a heartbeat.
    """
    from kcpctl.manager.signals import install
    from kcpctl.syncer import SyncerOptions, run_syncer

    options = SyncerOptions(
        sync_target_name=sync_target_name,
        sync_target_uid=sync_target_uid,
        from_cluster=from_cluster,
        heartbeat_interval_seconds=heartbeat_interval,
        sync_interval_seconds=sync_interval,
        retry_initial_seconds=retry_initial_interval,
        retry_max_seconds=retry_max_interval,
        retry_multiplier=retry_multiplier,
        workers=workers,
        namespace_clean_delay_seconds=downstream_namespace_clean_delay,
        health_bind_address=health_probe_bind_address,
        syncer_namespace=namespace,
        leader_elect=leader_elect,
        certificate_seconds=certificate_duration if from_auth == "certificate" else None,
    )
    with traced(tracing, "kcpctl-syncer"):
        run_syncer(
            options,
            from_kubeconfig=from_kubeconfig,
            to_kubeconfig=to_kubeconfig,
            stop=install(),
            once=once,
            qps=qps,
            burst=burst,
        )
    return 0
