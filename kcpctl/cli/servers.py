"""The embedded control plane and the demo's clusters: processes of their own, kept running."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kcpctl.embedded.process import ControlPlaneProcess, ControlPlaneStartError
from kcpctl.embedded.security.private_file import write_private
from kcpctl.errors import KcpctlError
from kcpctl.runtime.backoff import Backoff
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.logging import get_logger
from kcpctl.runtime.threads import start_thread

__all__ = ["EmbeddedServers", "ServerStartError", "merge_kubeconfigs", "write_kubeconfig"]

_log = get_logger(__name__)

_WATCH_SECONDS = 0.5


class ServerStartError(KcpctlError):
    """An embedded server did not start."""


class EmbeddedServers:
    """One control plane with workspaces (``root``) and any number of ordinary clusters.

    ``start`` starts all at once and returns; ``wait_ready(name)`` returns when that one serves.
    ``supervise`` restarts, with back-off and on the same port, what ends by itself: the kubeconfigs
    stay valid, the objects are gone unless there is a ``data_directory``, which keeps them for the
    next ones too. ``close`` ends all of it and removes the files, but not that directory.
    """

    def __init__(
        self,
        clusters: Sequence[str] = (),
        *,
        port: int = 0,
        data_directory: Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._keeps_objects = keeps = data_directory is not None
        self._directory = data_directory or Path(tempfile.mkdtemp(prefix="kcpctl-"))
        self._clock = clock
        self._stop = threading.Event()
        self._supervisor: threading.Thread | None = None
        self.members = {
            "root": ControlPlaneProcess(
                self._directory / "root", keeps_objects=keeps, port=port, clock=clock
            )
        } | {
            name: ControlPlaneProcess(
                self._directory / name,
                workspaces=False,
                kubelet=True,
                keeps_objects=keeps,
                clock=clock,
            )
            for name in clusters
        }

    def start(self) -> None:
        """Start every process; raises ServerStartError when its files cannot be written."""
        for name, member in self.members.items():
            try:
                member.start()
            except OSError as error:
                raise ServerStartError(
                    f"the embedded server {name!r} cannot write {error.filename}: "
                    f"{error.strerror}; make room or give this user the right to write there, or "
                    "name another directory with --data-dir"
                ) from error

    def wait_ready(self, name: str, stop: threading.Event | None = None) -> dict[str, Any]:
        """Wait until one serves and return its kubeconfig.

        Raises ServerStartError when it does not start, also at ``stop``.
        """
        try:
            path = self.members[name].wait_ready(stop=stop).kubeconfig
        except ControlPlaneStartError as error:
            raise ServerStartError(
                f"the embedded server {name!r} did not start: {error}"
            ) from error
        kubeconfig: dict[str, Any] = yaml.safe_load(path.read_text())
        return kubeconfig

    def supervise(self) -> None:
        """Restart what ends by itself, from now on."""
        if self._supervisor is None:
            self._supervisor = start_thread(self._watch, name="kcpctl-servers")

    def _watch(self) -> None:
        backoffs = {
            name: Backoff(0.2, 10, reset_after_seconds=60, clock=self._clock)
            for name in self.members
        }
        while not self._stop.wait(_WATCH_SECONDS):
            for name, member in self.members.items():
                if not member.running and not self._stop.wait(backoffs[name].next()):
                    _log.warning(
                        "Embedded server ended; restarting it",
                        server=name,
                        keeps_objects=self._keeps_objects,
                    )
                    try:
                        member.start().wait_ready()
                    except (ControlPlaneStartError, OSError) as error:
                        _log.error("Embedded server did not restart", server=name, exc_info=error)

    def close(self) -> None:
        """End all of it and remove the files. May be called more than once."""
        self._stop.set()
        if self._supervisor is not None:
            self._supervisor.join()
        threads = [
            start_thread(member.close, name=f"kcpctl-close-{name}")
            for name, member in self.members.items()
        ]
        for thread in threads:
            thread.join()
        if not self._keeps_objects:
            shutil.rmtree(self._directory, ignore_errors=True)


def merge_kubeconfigs(parts: Mapping[str, Mapping[str, Any]], current: str) -> dict[str, Any]:
    """Return one kubeconfig with a context for each part, named by its key.

    Each part is a kubeconfig whose current context is taken; ``current`` names the new current one.
    """
    clusters, users, contexts = [], [], []
    for name, part in parts.items():
        context = _named(part["contexts"], part["current-context"])["context"]
        cluster = _named(part["clusters"], context["cluster"])["cluster"]
        user = _named(part["users"], context["user"])["user"]
        clusters.append({"name": name, "cluster": cluster})
        users.append({"name": name, "user": user})
        contexts.append({"name": name, "context": {**context, "cluster": name, "user": name}})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": users,
        "contexts": contexts,
        "current-context": current,
        "preferences": {},
    }


def _named(items: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(item for item in items if item["name"] == name)


def write_kubeconfig(path: Path, kubeconfig: Mapping[str, Any]) -> None:
    """Write a kubeconfig that only its owner can read, in one step; raises OSError."""
    write_private(path, yaml.safe_dump(dict(kubeconfig), sort_keys=False).encode())
