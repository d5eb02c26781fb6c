"""One run of the controller manager, from the flags to the exit code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import yaml

from kcpctl import __version__
from kcpctl.cli.progress import Progress
from kcpctl.cli.servers import EmbeddedServers, merge_kubeconfigs, write_kubeconfig
from kcpctl.cli.tracing import traced
from kcpctl.errors import (
    CertificateInvalid,
    Forbidden,
    KcpctlError,
    TransportError,
    Unauthorized,
)
from kcpctl.manager.signals import install

if TYPE_CHECKING:
    from kcpctl.cli.assembly import Assembly
    from kcpctl.cli.demo_watch import DemoWatch
    from kcpctl.client import Client, ClientConfig
    from kcpctl.manager import Manager

__all__ = ["run"]

_POLL_SECONDS: Final = 0.1
Kubeconfig = dict[str, Any]


def run(flags: Mapping[str, Any], *, started_at: float) -> int:
    """Run until a signal, or as ``--exit-when-ready`` says; return the exit code."""
    stop = install()
    with traced(flags["tracing"], "kcpctl-controllers"):
        if flags["embedded"]:
            with ExitStack() as stack:
                return _Embedded(flags, stop, stack, Progress(started_at=started_at)).run()
        with suppress(_Stopped):
            (_run_on_server if flags["apiexport"] is None else _run_on_export)(flags, stop)
        return 0


class _Stopped(Exception):
    """The stop came before there was anything to run."""


def _run_on_server(flags: Mapping[str, Any], stop: threading.Event) -> None:
    """Run on the server of a kubeconfig, as one cluster."""
    from kcpctl.cli.assembly import Assembly
    from kcpctl.cli.crds import install_crds, wait_for_crds
    from kcpctl.client import load_config

    config = load_config(flags["kubeconfig"], flags["context"])
    with Assembly(flags) as assembly:
        with _first_contact(config, assembly, stop):
            client = assembly.connect(config)
            if flags["install_crds"]:
                # Whoever comes first does this, leader or not.
                install_crds(assembly.connect(config, gated=False))
            wait_for_crds(client, flags["crd_timeout"], stop)
        assembly.manager(client, config).run(stop)


def _run_on_export(flags: Mapping[str, Any], stop: threading.Event) -> None:
    """Run on every workspace of a kcp that binds an APIExport."""
    from kcpctl.cli.assembly import Assembly, in_workspace
    from kcpctl.cli.export import install_export
    from kcpctl.client import load_config

    config = load_config(flags["kubeconfig"], flags["context"])
    home = in_workspace(config, flags["apiexport"].path)
    with Assembly(flags) as assembly:
        with _first_contact(home, assembly, stop):
            if flags["install_crds"]:
                install_export(assembly.connect(home, gated=False), flags["apiexport"].name)
            fleet = assembly.fleet(config)
        assembly.manager(fleet.client, home, fleet=fleet).run(stop)


@contextmanager
def _first_contact(
    config: ClientConfig, assembly: Assembly, stop: threading.Event
) -> Iterator[None]:
    """Explain what fails inside. The stop ends it, however long a server may take to answer."""
    try:
        with _explained(config), assembly.ended_by(stop):
            yield
    except KcpctlError:
        if not stop.is_set():
            raise
    if stop.is_set():
        raise _Stopped


@contextmanager
def _explained(config: ClientConfig) -> Iterator[None]:
    """Say of a failed first contact which server and which credentials it was, and what to do."""
    try:
        yield
    except CertificateInvalid as error:
        raise KcpctlError(
            f"{config.server} is not trusted: {error}; correct the CA in {config.source}"
        ) from error
    except TransportError as error:
        raise KcpctlError(
            f"{config.server} cannot be reached: {error}; start it, or correct the server in "
            f"{config.source}"
        ) from error
    except (Unauthorized, Forbidden) as error:
        raise KcpctlError(
            f"{config.server} refuses the credentials of {config.source}: {error}"
        ) from error


class _Embedded:
    """A run with a control plane of its own, and perhaps the demo."""

    def __init__(
        self,
        flags: Mapping[str, Any],
        stop: threading.Event,
        stack: ExitStack,
        progress: Progress,
    ) -> None:
        self._flags = flags
        self._stop = stop
        self._stack = stack
        self._progress = progress
        self._kubeconfigs: dict[str, Kubeconfig] = {}

    def run(self) -> int:
        """See :func:`run`."""
        try:
            code = self._run()
        except KcpctlError:
            if not self._stop.is_set():
                raise
            code = 0  # the stop has cut the start off
        self._progress.say("kcpctl", "stopping")
        return code

    def _run(self) -> int:
        self._progress.say("kcpctl", f"version {__version__}")
        servers = self._start_servers()
        # The servers start on the other core while this process imports what it needs.
        from kcpctl.cli.assembly import Assembly
        from kcpctl.client import config_from_kubeconfig

        root = self._kubeconfigs["root"] = servers.wait_ready("root", self._stop)
        self._write_kubeconfig()
        config = config_from_kubeconfig(yaml.safe_dump(root).encode(), source="embedded server")
        path = self._flags["write_kubeconfig"]
        self._progress.say("control plane", f"up at {config.server}, kubeconfig {path}")
        assembly = self._stack.enter_context(Assembly(self._flags))
        client = assembly.connect_all(config)
        manager = assembly.manager(client, config)
        self._stack.callback(manager.stop)
        with assembly.ended_by(self._stop):
            watch = self._start_demo(servers, client) if self._flags["demo"] else None
        servers.supervise()
        if not manager.start(self._stop):
            return 0
        self._tell_started(manager)
        return self._serve(watch)

    def _start_servers(self) -> EmbeddedServers:
        clusters: tuple[str, ...] = ()
        if self._flags["demo"]:
            from kcpctl.cli.demo import CLUSTERS

            clusters = CLUSTERS
        servers = EmbeddedServers(
            clusters, port=self._flags["port"], data_directory=self._flags["data_dir"]
        )
        self._stack.callback(servers.close)
        servers.start()
        return servers

    def _write_kubeconfig(self) -> None:
        """Write a kubeconfig with a context for each server there is; the first is current."""
        path = self._flags["write_kubeconfig"]
        merged = merge_kubeconfigs(self._kubeconfigs, current=next(iter(self._kubeconfigs)))
        try:
            write_kubeconfig(path, merged)
        except OSError as error:
            raise KcpctlError(
                f"the kubeconfig cannot be written to {path}: {error.strerror}; "
                "name another file with --write-kubeconfig"
            ) from error

    def _start_demo(self, servers: EmbeddedServers, client: Client) -> DemoWatch:
        from kcpctl.cli import demo
        from kcpctl.cli.demo_watch import DemoWatch

        cluster = demo.make_workspace(client)
        workspace = f"root:{demo.WORKSPACE}"
        self._progress.say("workspace", f"{workspace} ready")
        downstream: dict[str, Kubeconfig] = {}
        for name in demo.CLUSTERS:
            downstream[name] = servers.wait_ready(name, self._stop)
            server = downstream[name]["clusters"][0]["cluster"]["server"]
            self._progress.say(f"cluster {name}", f"up at {server}")
        root = self._kubeconfigs["root"]
        self._kubeconfigs = {workspace: _in_cluster(root, workspace), "root": root, **downstream}
        self._write_kubeconfig()
        bound = client.cluster(cluster)
        watch = self._stack.enter_context(DemoWatch(bound, downstream))
        demo.create_objects(bound, downstream, cluster)
        return watch

    def _tell_started(self, manager: Manager) -> None:
        places = [
            f"{name} http://{address}"
            for name, address in (
                ("health", manager.health_address),
                ("metrics", manager.metrics_address),
                ("debug", manager.debug_address),
            )
            if address
        ]
        self._progress.say("controllers", ", ".join(["started", *places]))

    def _serve(self, watch: DemoWatch | None) -> int:
        """Show the demo until all of it was seen; then run on, or end as the flags say."""
        exits: bool = self._flags["exit_when_ready"]
        deadline: float = self._flags["timeout"]
        while watch is not None and watch.tracker.missing() and not self._stop.is_set():
            for subject, text in watch.lines(_POLL_SECONDS):
                self._progress.say(subject, text)
            if exits and self._progress.elapsed_seconds > deadline and watch.tracker.missing():
                raise KcpctlError(
                    f"not ready after {deadline:g}s: " + "; ".join(watch.tracker.missing())
                )
        if exits:
            if not self._stop.is_set():
                self._progress.say("kcpctl", "everything is ready")
            return 0
        if not self._stop.is_set():
            self._tell_what_next(watch is not None)
        self._stop.wait()
        return 0

    def _tell_what_next(self, is_demo: bool) -> None:
        if is_demo:
            self._progress.say("kcpctl", "everything is ready; look around from another terminal:")
        else:
            self._progress.say("kcpctl", "ready; from another terminal:")
        lines = [f"export KUBECONFIG={self._flags['write_kubeconfig'].absolute()}"]
        lines.append("kubectl get synctargets -o wide")
        if is_demo:
            lines += ["kubectl get deploy -w", "kubectl --context east get pods -A"]
        else:
            lines.append("kubectl explain synctarget.spec")
        for line in lines:
            self._progress.line(f"           {line}")
        self._progress.line("         Ctrl-C stops everything.")


def _in_cluster(root: Kubeconfig, path: str) -> Kubeconfig:
    """Return the kubeconfig of ``root`` for another logical cluster of the same server."""
    clusters = [
        {
            **item,
            "cluster": {
                **item["cluster"],
                "server": item["cluster"]["server"].rsplit("/clusters/", 1)[0]
                + f"/clusters/{path}",
            },
        }
        for item in root["clusters"]
    ]
    return {**root, "clusters": clusters}
