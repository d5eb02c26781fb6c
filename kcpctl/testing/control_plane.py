"""A control plane for tests."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Final, Self

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import WORKSPACES
from kcpctl.client import AsyncClient, Client, ClientConfig, load_config
from kcpctl.embedded.process import ControlPlaneProcess
from kcpctl.runtime.ioloop import IOLoop

__all__ = ["ControlPlane", "new_workspace"]

_START_SECONDS: Final = 60.0
_WORKSPACE_SECONDS: Final = 60.0


class ControlPlane:
    """An embedded control plane in a process of its own, with an admin's client.

    Use it as a context manager, or ``start`` and ``close`` it. With ``workspaces`` (the default)
    ``workspace()`` makes a fresh logical cluster for each test that wants one; with ``bare`` they
    are without kcpctl's CRDs. Otherwise it is one ordinary cluster, with ``kubelet`` one whose
    Deployments run. With ``keeps_objects`` it writes them to disk, and has them after a
    ``restart``. No certificate that it signs lives longer than ``signing_seconds``.
    """

    def __init__(
        self,
        *,
        workspaces: bool = True,
        bare: bool = False,
        kubelet: bool = False,
        keeps_objects: bool = False,
        signing_seconds: float | None = None,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kcpctl-test-"))
        self.process = ControlPlaneProcess(
            self._directory,
            workspaces=workspaces,
            bare=bare,
            kubelet=kubelet,
            keeps_objects=keeps_objects,
            signing_seconds=signing_seconds,
        )
        self.workspaces = workspaces
        self._loop: IOLoop | None = None
        self._client: Client | None = None
        self._numbers = count(1)

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self.process.kubeconfig

    @property
    def config(self) -> ClientConfig:
        """The admin's client configuration."""
        return load_config(self.kubeconfig)

    @property
    def loop(self) -> IOLoop:
        """The I/O loop of ``client``."""
        if self._loop is None:
            self._loop = IOLoop("kcpctl-test-io")
        return self._loop

    @property
    def client(self) -> Client:
        """The admin's blocking client: of ``root``, or of the one ordinary cluster."""
        if self._client is None:
            config = self.config
            made = AsyncClient.workspaces(config) if self.workspaces else AsyncClient.plain(config)
            self._client = Client(made, self.loop)
        return self._client.cluster("root") if self.workspaces else self._client

    @property
    def all_clusters(self) -> Client:
        """The admin's blocking client that is not bound to a logical cluster."""
        _ = self.client
        assert self._client is not None
        return self._client

    def workspace(self, name: str = "") -> Client:
        """Make a workspace below ``root`` and return a client bound to its logical cluster."""
        name = name or f"test-{next(self._numbers)}"
        return new_workspace(self.all_clusters, name)

    def start(self) -> Self:
        """Start it and wait until it serves; if it does not, end it and raise the reason."""
        try:
            self.process.start().wait_ready(_START_SECONDS)
        except BaseException:
            self.process.kill()
            raise
        return self

    def restart(self) -> None:
        """Kill it as a crash does and start it again on the same port."""
        self.process.kill()
        self.start()

    def close(self) -> None:
        """Stop it and remove its files."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        self.process.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def new_workspace(
    clusters: Client, name: str, *, timeout_seconds: float = _WORKSPACE_SECONDS
) -> Client:
    """Make a workspace below ``root`` and return a client bound to its logical cluster.

    ``clusters`` is an admin's client that is not bound to one.
    """
    workspaces = clusters.cluster("root").resource(WORKSPACES)
    workspaces.create(
        {"apiVersion": WORKSPACES.api_version, "kind": "Workspace", "metadata": {"name": name}}
    )

    def is_ready(found: Unstructured | None) -> bool:
        return found is not None and found.get("status", {}).get("phase") == "Ready"

    made = workspaces.wait_until(name, is_ready, timeout_seconds=timeout_seconds)
    assert made is not None
    return clusters.cluster(made["spec"]["cluster"])
