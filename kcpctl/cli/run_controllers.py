"""``kcpctl run-controllers``: the controller manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kcpctl.cli.config_file import ConfigFile, config_flag
from kcpctl.cli.connect import logging_flags, reloads_logging, server_flags
from kcpctl.cli.controllers import ALL_CONTROLLERS, ControllersType
from kcpctl.cli.election import election_flags
from kcpctl.cli.options import (
    COMMANDS,
    DIRECTORY,
    DURATION,
    EXPORT,
    FILE,
    GroupedCommand,
    flag,
)
from kcpctl.cli.tracing import tracing_flag
from kcpctl.errors import UsageError
from kcpctl.runtime.clock import SYSTEM_CLOCK

__all__ = ["command"]

_DEFAULT_HEALTH = ":8081"
_DEFAULT_METRICS = ":8080"


def _on_loopback(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Refuse other addresses before anything is started; what that takes is loaded if need be."""
    if value != "0":
        from kcpctl.manager.endpoint import Endpoint

        Endpoint(value, "--debug-bind-address").require_loopback()
    return value


@click.command("run-controllers", cls=GroupedCommand)
@server_flags
@flag(
    "--cluster-name",
    group="Server",
    metavar="NAME",
    help="Name of the server's one cluster in keys and hashes [default: root, or the logical "
    "cluster that the server URL ends with].",
)
@flag(
    "--apiexport",
    group="Server",
    type=EXPORT,
    metavar="PATH:NAME",
    help="Serve every workspace of a kcp that binds the APIExport NAME of the workspace PATH, "
    "through the export's virtual workspaces.",
)
@flag(
    "--install-crds",
    group="Server",
    is_flag=True,
    help="Apply the CRDs before starting; with --apiexport what config/kcp has, in PATH.",
)
@flag(
    "--crd-timeout",
    group="Server",
    type=DURATION,
    default="30s",
    help="How long to wait for CRDs that are not served yet.",
)
@flag(
    "--kube-api-qps",
    group="Server",
    type=click.FloatRange(min=0, min_open=True),
    help="Most requests a second to the server [default: no limit; the server's own rules hold].",
)
@flag(
    "--kube-api-burst",
    group="Server",
    type=click.IntRange(min=1),
    help="Requests that may exceed --kube-api-qps for a moment.",
)
@flag(
    "--embedded",
    group="Embedded",
    is_flag=True,
    help="Start a control plane with workspaces in a process of its own, and use that.",
)
@flag(
    "--demo",
    group="Embedded",
    is_flag=True,
    help="With --embedded: start two clusters too, and show the whole product on them.",
)
@flag(
    "--port",
    group="Embedded",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the embedded control plane; 0 takes a free one.",
)
@flag(
    "--data-dir",
    group="Embedded",
    type=DIRECTORY,
    help="Directory that keeps all objects of the embedded servers, for the next run too "
    "[default: they are in memory only].",
)
@flag(
    "--write-kubeconfig",
    group="Embedded",
    type=FILE,
    default=".kcpctl/kubeconfig",
    help="Where the embedded control plane's kubeconfig is written.",
)
@flag(
    "--exit-when-ready",
    group="Embedded",
    is_flag=True,
    help="End with 0 when everything is ready, or with 1 and the reason after --timeout.",
)
@flag(
    "--timeout",
    group="Embedded",
    type=DURATION,
    default="60s",
    help="How long --exit-when-ready waits.",
)
@flag(
    "--controllers",
    group="Controller",
    type=ControllersType(),
    default="*",
    metavar="NAMES",
    help="Which controllers run: * for all, NAME for one, -NAME for all but that; separated by "
    f"commas. There are {', '.join(ALL_CONTROLLERS)}.",
)
@flag(
    "--workers",
    group="Controller",
    type=click.IntRange(min=1),
    default=4,
    help="Worker threads of each controller.",
)
@flag(
    "--sync-target-heartbeat-threshold",
    group="Controller",
    type=DURATION,
    default="1m",
    help="Age of the last heartbeat from which HeartbeatHealthy is False.",
)
@flag(
    "--sync-target-unhealthy-threshold",
    group="Controller",
    type=DURATION,
    default="5m",
    help="Age of the last heartbeat from which Ready is False.",
)
@flag(
    "--sync-target-startup-grace",
    group="Controller",
    type=DURATION,
    default="60s",
    help="How long a deployed syncer may take to its first heartbeat.",
)
@flag(
    "--force-delete-after",
    group="Controller",
    type=DURATION,
    default="10m",
    help="How long the deletion of a SyncTarget waits for a cluster that cannot be reached.",
)
@flag(
    "--credentials-namespace",
    group="Controller",
    default="kcpctl-system",
    metavar="NAME",
    help="Namespace of kubeconfig Secrets and syncer identities, in the SyncTarget's workspace.",
)
@flag(
    "--allow-exec-plugins",
    group="Controller",
    type=COMMANDS,
    default="",
    show_default=False,
    metavar="COMMANDS",
    help="Credential plugins that kubeconfigs of clusters may run, as they write them, separated "
    "by commas. They run as this process, with arguments and environment of whoever writes the "
    "Secret [default: none].",
)
@flag(
    "--syncer-image",
    group="Controller",
    metavar="IMAGE",
    help="Image of deployed syncers [default with --embedded: kcpctl-syncer:local; else none, and "
    "a SyncTarget that wants one and names none is not Valid].",
)
@flag(
    "--syncer-auth",
    group="Controller",
    type=click.Choice(["token", "certificate", "external"]),
    default="token",
    help="How deployed syncers authenticate upstream: token is made and renewed by the controller; "
    "certificate is asked for by each syncer itself, approved by the controller and signed by the "
    "server's signer; external is a kubeconfig that somebody else puts into the syncer's Secret on "
    "its cluster.",
)
@flag(
    "--upstream-server-url",
    group="Controller",
    metavar="URL",
    help="Server URL for deployed syncers, as their Pods reach it [default: the kubeconfig's].",
)
@flag(
    "--health-probe-bind-address",
    group="Manager",
    metavar="[HOST]:PORT",
    help="Where /healthz, /readyz and /livez are served; 0 turns it off [default: :8081; with "
    "--embedded 127.0.0.1:8081, or a free port].",
)
@flag(
    "--metrics-bind-address",
    group="Manager",
    metavar="[HOST]:PORT",
    help="Where /metrics is served; 0 turns it off [default: :8080; with --embedded "
    "127.0.0.1:8080, or a free port].",
)
@flag(
    "--debug-bind-address",
    group="Manager",
    default="0",
    show_default=False,
    metavar="LOOPBACK:PORT",
    callback=_on_loopback,
    help="Where /debug/clusters, queues, informers, stacks and, with --apiexport, fleet are "
    "served, for this machine only, as 127.0.0.1:6060 [default: nowhere].",
)
@flag(
    "--graceful-shutdown-timeout",
    group="Manager",
    type=DURATION,
    default="30s",
    help="How long a stop waits for queued and running reconciles.",
)
@tracing_flag("Manager")
@config_flag
@election_flags
@logging_flags
@click.pass_context
def command(ctx: click.Context, /, **flags: Any) -> int:
    """Run the controllers until Ctrl-C.

    Against a server: kcpctl run-controllers --kubeconfig FILE --install-crds

    For the consumers of an APIExport: kcpctl run-controllers --apiexport root:kcpctl:kcpctl

    Without one: kcpctl run-controllers --embedded --demo
    """
    started_at = SYSTEM_CLOCK.monotonic()
    config: ConfigFile | None = flags["config"]
    try:
        _check(flags)
    except UsageError as error:
        raise (config.located(error) if config is not None else error) from None
    from kcpctl.cli.session import run

    flags |= {"check": _check, "reload": reloads_logging(ctx)}
    return run(flags, started_at=started_at)


def _check(flags: dict[str, Any]) -> None:
    """Refuse what does not go together; fill in what depends on another flag."""
    embedded: bool = flags["embedded"]
    kubeconfig: Path | None = flags["kubeconfig"]
    if embedded and (kubeconfig or flags["context"]):
        raise UsageError(
            "--embedded starts a server of its own: leave out --kubeconfig and --context"
        )
    if flags["apiexport"] is not None:
        _check_fleet(flags)
    if flags["demo"] and not embedded:
        raise UsageError("--demo needs --embedded: it starts its own control plane and clusters")
    if flags["data_dir"] and not embedded:
        raise UsageError("--data-dir needs --embedded: another server keeps its objects itself")
    if flags["leader_elect"] and embedded:
        raise UsageError("--leader-elect is for servers that several processes share: leave it out")
    if flags["exit_when_ready"] and not embedded:
        raise UsageError("--exit-when-ready needs --embedded")
    if flags["kube_api_burst"] is not None and flags["kube_api_qps"] is None:
        raise UsageError("--kube-api-burst needs --kube-api-qps")
    heartbeat = flags["sync_target_heartbeat_threshold"]
    if not 0 < heartbeat <= flags["sync_target_unhealthy_threshold"]:
        raise UsageError(
            "--sync-target-heartbeat-threshold must be above zero and not above "
            "--sync-target-unhealthy-threshold"
        )
    if embedded and flags["syncer_image"] is None:
        flags["syncer_image"] = "kcpctl-syncer:local"


def _check_fleet(flags: dict[str, Any]) -> None:
    """Refuse what makes no sense for many workspaces of a kcp."""
    if flags["embedded"]:
        raise UsageError(
            "--apiexport serves the workspaces of a kcp, and --embedded starts a server of its own "
            "where every workspace has the CRDs: leave one of them out"
        )
    if flags["cluster_name"] is not None:
        raise UsageError(
            "--cluster-name is for a server that is one cluster; with --apiexport each workspace "
            "has the name that kcp gave it: leave it out"
        )
    if flags["syncer_auth"] == "certificate":
        raise UsageError(
            "--syncer-auth certificate needs a server that signs certificates, and a kcp has no "
            "signer: with --apiexport use token or external"
        )
