"""A control plane in a process of its own, as its parent sees it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.process import Child

__all__ = ["ControlPlaneProcess", "ControlPlaneStartError"]

_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 2000
_START_SECONDS = 30.0
# 50,000 objects took more than half a minute on a busy machine; one that ends is noticed at once.
_READING_SECONDS = 300.0


class ControlPlaneStartError(Exception):
    """The process ended, or did not serve in time; the message has the last lines of its log."""


class ControlPlaneProcess:
    """``python -m kcpctl control-plane`` as a child that cannot outlive this process.

    Parameters
    ----------
    directory: holds the kubeconfig, the keys (so that a restart on the same port is trusted by the
        kubeconfigs of before) and the log. Created when absent.
    workspaces: logical clusters under ``/clusters/<name>``; otherwise one ordinary cluster.
    bare: workspaces begin without kcpctl's CRDs, as on kcp.
    kubelet: run the Deployments (ordinary mode only).
    keeps_objects: ``directory`` holds the objects too, and a restart has them again; otherwise
        it is empty.
    signing_seconds: longest life of certificates for CertificateSigningRequests; None: a year.
    port: the port, or 0 for a free one. A restart uses the port of the first start.

    ``start`` returns at once; ``wait_ready`` returns when it serves. ``close`` may be called
    more than once. One thread at a time.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workspaces: bool = True,
        bare: bool = False,
        kubelet: bool = False,
        keeps_objects: bool = False,
        signing_seconds: float | None = None,
        port: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.log = directory / "log"
        self._workspaces = workspaces
        self._bare = bare
        self._kubelet = kubelet
        self._keeps_objects = keeps_objects
        self._signing_seconds = signing_seconds
        self._port = port
        self._clock = clock
        self._log_start = 0
        self._kubeconfig_before = 0
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it was not started."""
        if self._child is None:
            raise RuntimeError("the control plane was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def _arguments(self) -> Sequence[str]:
        arguments = [sys.executable, "-m", "kcpctl", "control-plane"]
        arguments += ["--write-kubeconfig", str(self.kubeconfig)]
        flag = "--data-dir" if self._keeps_objects else "--state-dir"
        arguments += [flag, str(self.directory / "state"), "--port", str(self._port)]
        if not self._workspaces:
            arguments.append("--plain")
        if self._bare:
            arguments.append("--bare")
        if self._kubelet:
            arguments.append("--kubelet")
        if self._signing_seconds is not None:
            arguments += ["--cluster-signing-duration", f"{self._signing_seconds}s"]
        return arguments

    def start(self) -> Self:
        """Start the process; a second start after its end is a restart on the same port."""
        if self.running:
            raise RuntimeError("the control plane runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        # Not removed: it may be the one of a server that runs there, and this one will not.
        self._kubeconfig_before = self._kubeconfig_written_at()
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = Child(self._arguments(), env=os.environ, output=output)
        return self

    def wait_ready(
        self, timeout_seconds: float | None = None, *, stop: threading.Event | None = None
    ) -> Self:
        """Wait until it serves; raises ControlPlaneStartError when it does not, or at ``stop``.

        For 30 s, or 5 minutes when it has objects to read first, unless a time is given.
        """
        if timeout_seconds is None:
            timeout_seconds = _READING_SECONDS if self._keeps_objects else _START_SECONDS
        deadline = self._clock.monotonic() + timeout_seconds
        while self._kubeconfig_written_at() == self._kubeconfig_before:
            if not self.running:
                raise ControlPlaneStartError(
                    f"the control plane ended at its start: {self._tail()}"
                )
            if stop is not None and stop.is_set():
                raise ControlPlaneStartError("its start was cut off by a stop")
            if self._clock.monotonic() >= deadline:
                raise ControlPlaneStartError(
                    f"the control plane did not serve within {timeout_seconds:.0f}s: {self._tail()}"
                )
            self._clock.sleep(_POLL_SECONDS)
        if not self._port:
            self._port = self._served_port()
        return self

    def _kubeconfig_written_at(self) -> int:
        """The server writes it when it serves."""
        try:
            return self.kubeconfig.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _served_port(self) -> int:
        for line in self.kubeconfig.read_text().splitlines():
            if line.strip().startswith("server:"):
                return int(line.split("//", 1)[1].split("/", 1)[0].rsplit(":", 1)[1])
        raise ControlPlaneStartError(f"{self.kubeconfig} names no server")

    def _tail(self) -> str:
        if not self.log.exists():
            return "it wrote nothing"
        written = self.log.read_bytes()[self._log_start :]
        return written[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def kill(self) -> None:
        """End it as a crash does."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            self._child.close()

    def close(self) -> None:
        """End it as SIGTERM does, by force after 5 s."""
        if self._child is not None:
            self._child.close()

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.close()
