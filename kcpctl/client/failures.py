"""From what goes wrong on a socket, or is answered, to the error tree."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Mapping

import aiohttp
import msgspec

from kcpctl.client.objects import UNREADABLE, excerpt
from kcpctl.errors import (
    ApiError,
    CertificateInvalid,
    ConfigError,
    ConnectionRefused,
    KcpctlError,
    TransportError,
    TransportTimeout,
    error_from_status,
)

__all__ = [
    "AnswerTooLong",
    "ClientCertificateRefused",
    "ClientClosed",
    "ConnectionLost",
    "ConnectionRenewed",
    "api_error",
    "transport_error",
]

# The alerts that a server sends about a client's certificate, as OpenSSL names them. With TLS 1.3
# they come after the handshake, in place of the answer.
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants one",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who issued it",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is not valid",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it is not valid",
}

_LOST = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


class ClientClosed(TransportError):
    """The client was closed, before the call or meanwhile."""

    retryable = False


class ConnectionLost(TransportError):
    """The connection was reset or closed before the answer was complete (RC-08)."""


class ConnectionRenewed(TransportError):
    """A stream was ended by this side, to be opened again with new certificates (AU-07)."""


class AnswerTooLong(TransportError):
    """The server sends more than anybody wants to hold; it would do so again."""

    retryable = False


class ClientCertificateRefused(TransportError):
    """The server does not accept our certificate; it looked at nothing that was sent."""

    retryable = False


def transport_error(error: Exception, request: str, timeout_seconds: float) -> KcpctlError:
    """Return the error of the tree for what aiohttp raised for ``request``."""
    if isinstance(error, TimeoutError):
        return TransportTimeout(f"no answer within {timeout_seconds:g}s ({request})")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_error(error.certificate_error, request)
    if (alert := _alert(error)) in _REFUSALS:
        return ClientCertificateRefused(
            f"the server does not accept the client certificate: {_REFUSALS[alert]}; check the "
            f"user's client-certificate in the kubeconfig ({request})"
        )
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return TransportError(f"the TLS handshake failed: {_tls_reason(error)} ({request})")
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return TransportError(f"the host name cannot be resolved: {_os_reason(error)} ({request})")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(f"the proxy answered {error.status} {error.message} ({request})")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connect_error(error, request)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"the server is not a URL ({request})")
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost(f"the answer was cut off ({request})")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionLost(f"the server closed the connection without an answer ({request})")
    if isinstance(error, aiohttp.ClientResponseError):
        return TransportError(
            f"the answer is not HTTP: {excerpt(error.message.encode())} ({request})"
        )
    if isinstance(error, OSError):
        cls = ConnectionLost if error.errno in _LOST else TransportError
        return cls(f"the connection broke: {_os_reason(error)} ({request})")
    if isinstance(error, ValueError):
        # A header with a line break in it, or a host that is no name.
        return ConfigError(f"the request cannot be sent: {error} ({request})")
    return TransportError(f"{type(error).__name__}: {error} ({request})")


def _certificate_error(error: Exception, request: str) -> KcpctlError:
    reason = getattr(error, "verify_message", "") or _tls_reason(error)
    return CertificateInvalid(
        f"the server's certificate is not accepted: {reason}; check the certificate authority "
        f"and the server's name in the kubeconfig ({request})"
    )


def _connect_error(error: aiohttp.ClientConnectorError, request: str) -> KcpctlError:
    # With several addresses the error is about all of them and may have lost its number.
    inner = error.os_error
    proxy = " by the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    if inner.errno == errno.ECONNREFUSED or "refused" in str(inner).lower():
        return ConnectionRefused(f"connection refused{proxy}: nothing listens there ({request})")
    if isinstance(inner, ConnectionResetError) or inner.errno in _LOST:
        during = "the TLS handshake; does it speak TLS?" if " https:" in request else "connecting"
        return ConnectionLost(f"the server closed the connection during {during} ({request})")
    return TransportError(f"cannot connect: {_os_reason(inner)} ({request})")


def _os_reason(error: Exception) -> str:
    inner = getattr(error, "os_error", error)
    return str(getattr(inner, "strerror", None) or inner) or type(inner).__name__


def _alert(error: BaseException | None) -> str:
    """Return the name of the TLS alert behind an error, or ""."""
    while error is not None:
        inner = getattr(error, "os_error", error)
        if isinstance(inner, ssl.SSLError):
            return str(getattr(inner, "reason", None) or "")
        error = error.__cause__
    return ""


def _tls_reason(error: Exception) -> str:
    inner = getattr(error, "os_error", error)
    reason = getattr(inner, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(inner) or type(inner).__name__


def api_error(code: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """Return the error for an answer of 300 or above.

    API servers answer with a Status; proxies and load balancers with HTML or text, of which the
    message shows the beginning.
    """
    retry_after = _retry_after(headers.get("Retry-After", ""))
    status: object = None
    with contextlib.suppress(*UNREADABLE):
        status = msgspec.json.decode(body)
    if not isinstance(status, dict) or not isinstance(status.get("message", ""), str):
        status = {}
    if not status.get("message") and not status.get("reason"):
        text = excerpt(body) or "nothing"
        if location := headers.get("Location"):
            text = f"a redirect to {location.partition('?')[0]}"
        status = {"message": f"the server answered {code} with {text}"}
    return error_from_status(status, code=code, retry_after_seconds=retry_after, request=request)


def _retry_after(header: str) -> float | None:
    """RC-06: whole seconds only; a date is as good as nothing."""
    text = header.strip()
    return float(text) if text.isascii() and text.isdigit() else None
