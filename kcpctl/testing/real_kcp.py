"""A real kcp for tests, where its binary is at hand: ``kcp`` in the directory ``KCP_ASSETS``."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

from kcpctl.client import AsyncClient, Client, ClientConfig, load_config
from kcpctl.runtime import IOLoop
from kcpctl.runtime.process import Child
from kcpctl.testing.control_plane import new_workspace
from kcpctl.testing.real import free_ports
from kcpctl.testing.waiting import eventually

__all__ = ["KCP_ASSETS_VARIABLE", "RealKcp", "missing_kcp"]

KCP_ASSETS_VARIABLE: Final = "KCP_ASSETS"
# It brings up an etcd, a shard and its own kinds: 15 s on two idle cores.
_START_TIMEOUT_SECONDS: Final = 120.0


def missing_kcp() -> str:
    """Return why no real kcp can be started here, or ""."""
    assets = os.environ.get(KCP_ASSETS_VARIABLE)
    if not assets:
        return f"{KCP_ASSETS_VARIABLE} is not set"
    return "" if Path(assets, "kcp").exists() else f"{assets} has no kcp"


class RealKcp:
    """One kcp of one shard on loopback, as a context manager.

    ``kubeconfig`` and ``client`` are those of an admin, ``client`` not bound to a workspace. Its
    data is in a temporary directory and gone at ``close``.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kcpctl-kcp-"))
        self._port, self._etcd, self._peer = free_ports(3)
        self._child: Child | None = None
        self._loop = IOLoop("kcpctl-test-io")
        self._client: Client | None = None
        self.kubeconfig = self._directory / "admin.kubeconfig"

    @property
    def config(self) -> ClientConfig:
        """The admin's client configuration, of the workspace ``root``."""
        return load_config(self.kubeconfig, "root")

    @property
    def client(self) -> Client:
        """The admin's client of all workspaces."""
        assert self._client is not None, "not started"
        return self._client

    def workspace(self, name: str) -> Client:
        """Make a workspace below ``root`` and return a client bound to its logical cluster."""
        return new_workspace(self.client, name, timeout_seconds=_START_TIMEOUT_SECONDS)

    def start(self) -> Self:
        """Start it and wait until workspaces can be made."""
        url = f"https://127.0.0.1:{self._port}"
        binary = Path(os.environ[KCP_ASSETS_VARIABLE], "kcp")
        flags = {
            "root-directory": self._directory,
            "bind-address": "127.0.0.1",
            "secure-port": self._port,
            "embedded-etcd-client-port": self._etcd,
            "embedded-etcd-peer-port": self._peer,
            "embedded-etcd-directory": self._directory / "etcd",
            "shard-base-url": url,
            "shard-external-url": url,
            "shard-virtual-workspace-url": url,
        }
        with (self._directory / "kcp.log").open("ab") as output:
            self._child = Child(
                [str(binary), "start", *(f"--{flag}={value}" for flag, value in flags.items())],
                env=os.environ,
                output=output,
                cwd=self._directory,
            )
        eventually(self._is_ready, timeout_seconds=_START_TIMEOUT_SECONDS, poll_seconds=0.5)
        return self

    def _is_ready(self) -> bool:
        if self._client is None:
            self._client = Client(AsyncClient.workspaces(self.config), self._loop)
        root = self._client.cluster("root")
        root.request("GET", "/apis/tenancy.kcp.io/v1alpha1/workspacetypes/universal")
        return root.request("GET", "/readyz").status == 200

    def close(self) -> None:
        """End it, hard, and remove its data."""
        if self._client is not None:
            self._client.close()
        self._loop.close()
        if self._child is not None:
            self._child.close(grace_seconds=0)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.close()
