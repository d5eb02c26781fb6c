"""A real etcd and kube-apiserver for tests, where their binaries are at hand.

The binaries are found as controller-runtime's envtest finds them: in the directory that
``KUBEBUILDER_ASSETS`` names (``etcd`` and ``kube-apiserver``; for ``full`` also
``kube-controller-manager``, ``kube-scheduler``, ``kwok`` and its ``stages.yaml``). No container
runs: with ``full`` a fake node makes Pods Ready.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import yaml

from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.runtime.process import Child
from kcpctl.testing.waiting import eventually

__all__ = ["ASSETS_VARIABLE", "RealCluster", "free_ports", "missing_binaries"]

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
_API_BINARIES: Final = ("etcd", "kube-apiserver")
_FULL_BINARIES: Final = ("kube-controller-manager", "kube-scheduler", "kwok", "stages.yaml")
_START_TIMEOUT_SECONDS = 60.0

_FAKE_NODE: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "n1",
        "annotations": {"kwok.x-k8s.io/node": "fake"},
        "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": "n1", "type": "kwok"},
    },
    "status": {
        "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "500"},
        "capacity": {"cpu": "32", "memory": "256Gi", "pods": "500"},
    },
}


def missing_binaries(*, full: bool = False) -> str:
    """Return why no real cluster can be started here, or ""."""
    assets = os.environ.get(ASSETS_VARIABLE)
    if not assets:
        return f"{ASSETS_VARIABLE} is not set"
    names = _API_BINARIES + (_FULL_BINARIES if full else ())
    absent = [name for name in names if not Path(assets, name).exists()]
    return f"{assets} has no {', '.join(absent)}" if absent else ""


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listened on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(made.getsockname()[1]) for made in sockets]
    for made in sockets:
        made.close()
    return ports


class RealCluster:
    """One real cluster on loopback, as a context manager.

    ``kubeconfig`` is that of an admin (``system:masters``). ``full`` adds the controllers, the
    scheduler and a fake node. Its data is in a temporary directory and gone at ``close``.
    """

    def __init__(self, *, full: bool = False) -> None:
        self._full = full
        self._directory = Path(tempfile.mkdtemp(prefix="kcpctl-real-"))
        self._children: list[Child] = []
        self._api_server: Child | None = None
        self._flags: Sequence[str] = ()
        self._port, self._etcd, self._peer, self._kcm, self._scheduler = free_ports(5)
        self.kubeconfig = self._directory / "kubeconfig"

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self._port}"

    def kill_api_server(self) -> None:
        """End the API server by SIGKILL; its data stays."""
        assert self._api_server is not None, "not started"
        self._api_server.close(grace_seconds=0)
        self._children.remove(self._api_server)

    def start_api_server(self) -> None:
        """Start the API server again and wait until it is ready."""
        self._start_api_server()
        self._wait_until_ready()

    def compact(self) -> None:
        """Have etcd forget all versions but the last, as it does by itself in time."""
        revision = self._ask_etcd("maintenance/status", {})["header"]["revision"]
        self._ask_etcd("kv/compaction", {"revision": revision, "physical": True})

    def _ask_etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._etcd}/v3/{path}"
        with urllib.request.urlopen(url, data=json.dumps(body).encode(), timeout=10) as answer:
            result: dict[str, Any] = json.load(answer)
        return result

    def _run(self, binary: str, *arguments: str) -> Child:
        path = Path(os.environ[ASSETS_VARIABLE], binary)
        with (self._directory / f"{binary}.log").open("ab") as output:
            child = Child([str(path), *arguments], env=os.environ, output=output)
        self._children.append(child)
        return child

    def _write_keys(self) -> None:
        authority = CertificateAuthority(self._directory)
        server = authority.issue_server(["127.0.0.1", "10.0.0.1", "localhost"])
        admin = authority.issue_client("admin", ["system:masters"])
        accounts = authority.issue_client("service-accounts")
        for name, data in (
            ("server.crt", server.certificate_pem),
            ("server.key", server.key_pem),
            ("admin.crt", admin.certificate_pem),
            ("admin.key", admin.key_pem),
            ("sa.crt", accounts.certificate_pem),
            ("sa.key", accounts.key_pem),
        ):
            (self._directory / name).write_bytes(data)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "real", "cluster": {"server": self.url, **_data("ca", authority.pem)}}
            ],
            "users": [
                {
                    "name": "admin",
                    "user": {**_data("cert", admin.certificate_pem), **_data("key", admin.key_pem)},
                }
            ],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
            "current-context": "real",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )

    def _start_api_server(self) -> None:
        self._api_server = self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self._directory / 'certs'}",
            f"--tls-cert-file={self._directory / 'server.crt'}",
            f"--tls-private-key-file={self._directory / 'server.key'}",
            f"--client-ca-file={self._directory / 'ca.crt'}",
            f"--service-account-key-file={self._directory / 'sa.crt'}",
            f"--service-account-signing-key-file={self._directory / 'sa.key'}",
            f"--service-account-issuer={self.url}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=Node,RBAC",
            "--endpoint-reconciler-type=none",
            # Without controllers nobody makes the default ServiceAccount that it asks for.
            "--disable-admission-plugins=ServiceAccount",
            *self._flags,
        )

    def _wait_until_ready(self) -> None:
        eventually(lambda: self._open("/readyz") == 200, timeout_seconds=_START_TIMEOUT_SECONDS)

    def _start_controllers(self) -> None:
        shared = [
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            f"--cert-dir={self._directory / 'certs'}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ]
        self._run(
            "kube-controller-manager",
            *shared,
            f"--secure-port={self._kcm}",
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={self._directory / 'sa.key'}",
            f"--root-ca-file={self._directory / 'ca.crt'}",
            f"--cluster-signing-cert-file={self._directory / 'ca.crt'}",
            f"--cluster-signing-key-file={self._directory / 'ca.key'}",
        )
        self._run("kube-scheduler", *shared, f"--secure-port={self._scheduler}")
        stages = Path(os.environ[ASSETS_VARIABLE], "stages.yaml")
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=true",
            f"--config={stages}",
        )
        self._create_node()

    def _open(self, path: str, body: bytes | None = None) -> int:
        context = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        context.load_cert_chain(self._directory / "admin.crt", self._directory / "admin.key")
        request = urllib.request.Request(self.url + path, data=body)
        request.add_header("Content-Type", "application/yaml")
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def _create_node(self) -> None:
        status = self._open("/api/v1/nodes", yaml.safe_dump(_FAKE_NODE).encode())
        assert status == 201, f"the fake node was not created: {status}"

    def start(self, *api_server_flags: str) -> Self:
        """Start it and wait until it is ready."""
        self._write_keys()
        self._flags = api_server_flags
        self._start_etcd()
        self.start_api_server()
        if self._full:
            self._start_controllers()
        return self

    def close(self) -> None:
        """End every process, hard (an API server takes its time), and remove the data."""
        for child in reversed(self._children):
            child.close(grace_seconds=0)
        self._children.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_FIELDS: Final = {
    "ca": "certificate-authority-data",
    "cert": "client-certificate-data",
    "key": "client-key-data",
}


def _data(field: str, pem: bytes) -> dict[str, str]:
    return {_FIELDS[field]: base64.b64encode(pem).decode()}
