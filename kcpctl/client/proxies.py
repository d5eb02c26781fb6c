"""Which proxy a connection goes through, by kubectl's rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from kcpctl.errors import ConfigError

__all__ = ["check_proxy_url", "proxy_from_environment"]


def check_proxy_url(url: str, *, source: str) -> str:
    """Return a ``proxy-url`` that can be used; raises ConfigError for any other."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        # Not quoted: there may be a password in it.
        raise ConfigError(
            f"{source}: the proxy is not a URL; write it as http://host:port"
        ) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(
            f"{source}: the proxy of scheme {parts.scheme or 'none'!r} cannot be used; "
            "give an http:// or https:// URL"
        )
    return url


def proxy_from_environment(server: str, environ: Mapping[str, str]) -> str:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY ask for, or "".

    As Go does it: loopback is never proxied, and NO_PROXY is a list of ``*``, host names (which
    cover their subdomains), addresses and networks, each with or without a port.
    """
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    url = environ.get(name.upper()) or environ.get(name) or ""
    host = (parts.hostname or "").rstrip(".")
    if not url or _is_loopback(host):
        return ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_matches(entry.strip().lower(), host, port) for entry in exceptions.split(",")):
        return ""
    # A proxy may be written without its scheme.
    url = url if "://" in url else f"http://{url}"
    return check_proxy_url(url, source=f"the environment variable {name.upper()}")


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:
        entry, colon, wanted_port = entry.rpartition(":") if ":" in entry else (entry, "", "")
        if colon and wanted_port != str(port):
            return False
    if address is not None:
        return _address(entry) == address
    name = entry.removeprefix("*").removeprefix(".")
    return host.endswith(f".{name}") or (host == name and not entry.startswith((".", "*")))
