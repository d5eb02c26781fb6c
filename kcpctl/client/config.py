"""How to reach one API server, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kcpctl.errors import ConfigError
from kcpctl.logicalcluster import WILDCARD, ClusterName, is_valid_path

__all__ = ["ClientConfig", "ExecPlugin", "Impersonation", "split_server_url"]


@dataclass(frozen=True, slots=True)
class Impersonation:
    """The user to act as; the server checks that the real one may."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A credential plugin of a kubeconfig: the ``exec`` part and the cluster it is told of."""

    spec: Mapping[str, Any] = field(repr=False, hash=False)
    cluster: Mapping[str, Any] = field(repr=False, hash=False)
    directory: Path | None = None

    @property
    def command(self) -> str:
        """The command's name, for messages."""
        return str(self.spec.get("command", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Everything that a connection needs. Two equal configurations reach the same server alike.

    ``server`` is the base URL; a ``/clusters/<name>`` at its end has been cut off into
    ``cluster``. At most one of ``token``, ``token_file``, ``exec_plugin`` and ``username`` is
    used, in that order; a client certificate may come with any. ``source`` says where it was
    read, for messages. The representation shows no secret.

    Where ``ca``, ``client_cert`` or ``client_key`` were read from a file, ``ca_file`` and so on
    name it: a client reads them again while it runs.
    """

    server: str
    cluster: ClusterName | None = None
    ca: bytes | None = field(default=None, repr=False)
    ca_file: Path | None = None
    insecure: bool = False
    server_name: str = ""
    client_cert: bytes | None = field(default=None, repr=False)
    client_cert_file: Path | None = None
    client_key: bytes | None = field(default=None, repr=False)
    client_key_file: Path | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    exec_plugin: ExecPlugin | None = field(default=None, repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    impersonate: Impersonation | None = None
    proxy_url: str = field(default="", repr=False)
    default_namespace: str = "default"
    source: str = field(default="", compare=False)
    user_agent: str = "kcpctl"

    @property
    def host(self) -> str:
        """``host:port`` of the server, as metrics name it."""
        return urlsplit(self.server).netloc


def split_server_url(url: str, *, source: str) -> tuple[str, ClusterName | None]:
    """Split a kubeconfig's server URL into the base URL and the logical cluster it ends with.

    Raises ConfigError, naming ``source``, for what is not the URL of an API server.
    """
    parts = _split(url.strip())
    if parts is None:
        shown = url.rpartition("@")[2]
        raise ConfigError(f"{source}: server {shown!r} is not a URL; write it as https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{source}: the server URL of {parts.hostname} has a user, a query or a fragment in "
            "it; credentials belong into the user of the kubeconfig"
        )
    path, marker, cluster = parts.path.rstrip("/").rpartition("/clusters/")
    if not marker:
        path, cluster = parts.path.rstrip("/"), ""
    elif cluster != WILDCARD and not is_valid_path(cluster):
        raise ConfigError(
            f"{source}: {cluster!r} in the server URL is not a logical cluster; "
            "write for example https://host:port/clusters/root:demo"
        )
    return f"{parts.scheme}://{parts.netloc}{path}", ClusterName(cluster) if cluster else None


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL that can be connected to, else None."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        port = parts.port
    except ValueError:
        return None
    usable = parts.scheme in {"http", "https"} and parts.hostname and port != 0
    return parts if usable and url.isprintable() and " " not in url else None
