"""``kcpctl control-plane``: the embedded API server alone."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcpctl.cli.connect import logging_flags
from kcpctl.cli.options import DIRECTORY, DURATION, FILE, GroupedCommand, flag
from kcpctl.errors import KcpctlError, UsageError

if TYPE_CHECKING:
    from kcpctl.embedded.server import RunningServer, ServerOptions

__all__ = ["command"]


@click.command("control-plane", cls=GroupedCommand)
@flag(
    "--write-kubeconfig",
    group="Server",
    type=FILE,
    default=".kcpctl/kubeconfig",
    help="Where the admin's kubeconfig is written, as soon as the server serves.",
)
@flag(
    "--port",
    group="Server",
    type=click.IntRange(0, 65535),
    default=6443,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@flag(
    "--data-dir",
    group="Server",
    type=DIRECTORY,
    help="Directory that keeps everything: objects, workspaces, versions, the CA and the keys. A "
    "write is answered when it is safe there from a crash of the server [default: objects are in "
    "memory only].",
)
@flag(
    "--state-dir",
    group="Server",
    hidden=True,
    type=DIRECTORY,
    help="Directory that keeps the CA and the keys alone.",
)
@flag(
    "--plain",
    group="Server",
    is_flag=True,
    help="One ordinary cluster, without workspaces and /clusters/ in URLs.",
)
@flag(
    "--bare",
    group="Server",
    is_flag=True,
    help="Begin workspaces without kcpctl's CRDs, as kcp does: they get its APIs by an APIBinding.",
)
@flag(
    "--kubelet",
    group="Server",
    is_flag=True,
    help="With --plain: one node, on which Deployments run. Containers are not started, except "
    "those of the syncer, which are processes on this machine.",
)
@flag(
    "--cluster-signing-duration",
    group="Server",
    type=DURATION,
    default="8760h",
    help="Longest life of a certificate that is signed for a CertificateSigningRequest.",
)
@logging_flags
def command(
    write_kubeconfig: Path,
    port: int,
    data_dir: Path | None,
    state_dir: Path | None,
    plain: bool,
    bare: bool,
    kubelet: bool,
    cluster_signing_duration: float,
) -> int:
    """Run an API server, for a first look and for tests: in memory, or with --data-dir.

    It serves workspaces at /clusters/<name>, or with --plain one ordinary cluster.
    """
    if kubelet and not plain:
        raise UsageError(
            "--kubelet needs --plain: Pods run in ordinary clusters, not in workspaces"
        )
    if bare and plain:
        raise UsageError("--bare is about workspaces, and with --plain there are none")
    from kcpctl.embedded.database import DataDirError
    from kcpctl.embedded.server import ServerOptions

    options = ServerOptions(
        port=port,
        workspaces=not plain,
        system_crds=not bare,
        kubelet=kubelet,
        state_dir=data_dir or state_dir,
        keeps_objects=data_dir is not None,
        signing_seconds=cluster_signing_duration,
    )
    try:
        asyncio.run(_serve(options, write_kubeconfig))
    except DataDirError as error:
        raise KcpctlError(str(error)) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise KcpctlError(
            f"port {port} of {options.host} is in use by another process; choose another with "
            "--port, or --port 0 for a free one"
        ) from error
    return 0


async def _serve(options: ServerOptions, kubeconfig: Path) -> None:
    from kcpctl.embedded.kubeconfig import write_kubeconfig
    from kcpctl.embedded.server import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)

    def ready(server: RunningServer) -> None:
        try:
            write_kubeconfig(kubeconfig, server.admin_kubeconfig())
        except OSError as error:
            raise KcpctlError(
                f"the kubeconfig cannot be written to {kubeconfig}: {error.strerror}; make room "
                "or give this user the right to write there, or name another file with "
                "--write-kubeconfig"
            ) from error
        click.echo(f"serving at {server.url}, kubeconfig {kubeconfig}")

    await serve(options, ready=ready, stop=stop)
