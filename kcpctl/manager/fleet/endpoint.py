"""Endpoints of an APIExport: how they are reached, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kcpctl.apis.kcp import API_BINDINGS, API_EXPORT_ENDPOINT_SLICES, ExportReference
from kcpctl.client import ClientConfig
from kcpctl.client.config import split_server_url
from kcpctl.errors import ConfigError, Forbidden, NotFound

__all__ = ["EndpointStatus", "config_for", "explain"]


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """An endpoint at one moment.

    ``state`` is Connecting until its bindings are known, Idle until one of them is Ready, Syncing
    until all its objects are known, then Serving; Leaving once it is not listed; or Refused.
    ``engaged`` and ``parked`` are the logical clusters that it serves; ``last_error`` says why
    something of it cannot be read now.
    """

    url: str
    state: str
    engaged: Sequence[str]
    parked: Sequence[str]
    last_error: str


def config_for(config: ClientConfig, url: str) -> ClientConfig:
    """Return the configuration for an endpoint: the same credentials, sent no less safely.

    Raises ConfigError for what is not the URL of one.
    """
    source = "APIExportEndpointSlice"
    server, cluster = split_server_url(url, source=source)
    if cluster is not None:
        raise ConfigError(f"{source}: {url} ends with a logical cluster, which no endpoint does")
    known, new = urlsplit(config.server), urlsplit(server)
    if known.scheme == "https" and new.scheme != "https":
        raise ConfigError(
            f"{source}: {url} is not encrypted, but {config.server} is, so the credentials are not "
            "sent there; correct the shard's virtual workspace URL"
        )
    # The name on the certificate was given for one server.
    server_name = config.server_name if known.netloc == new.netloc else ""
    return replace(config, server=server, cluster=None, server_name=server_name)


def explain(error: Exception, export: ExportReference) -> str:
    """Return what went wrong when a slice or the bindings were read, with the way out."""
    text = str(error) or type(error).__name__
    if isinstance(error, Forbidden):
        return (
            f"{text}; grant get, list and watch on {API_EXPORT_ENDPOINT_SLICES.group_resource}, "
            f"and every verb on apiexports/content named {export.name!r}, both in {export.path}, "
            "and access to that workspace"
        )
    if isinstance(error, NotFound) and API_EXPORT_ENDPOINT_SLICES.plural in text:
        return f"{text}; is this a kcp, and is {export.path!r} one of its workspaces?"
    if isinstance(error, NotFound) and API_BINDINGS.plural in text:
        return f"{text} (a URL may be published before it serves; it is tried again)"
    return text
