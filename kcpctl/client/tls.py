"""TLS contexts: one for each distinct set of CA, certificate and key."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from kcpctl.errors import ConfigError

__all__ = ["share_read_buffer", "shrink_read_buffers", "tls_context"]

_Key = tuple[bytes | None, bytes | None, bytes | None, bool]

_lock = threading.Lock()
_contexts: WeakValueDictionary[_Key, ssl.SSLContext] = WeakValueDictionary()  # guarded by _lock

# A TLS record holds at most 16 KiB. With 64 KiB thousands of events a second are a fifth cheaper,
# but OpenSSL's side of each connection grows with what is handed to it at once and never shrinks
# again: 38 KB more for each watch that began with a large state.
_READ_BUFFER_BYTES = 16 * 1024
_shared_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, bytearray] = WeakKeyDictionary()


def tls_context(
    *,
    ca: bytes | None = None,
    client_cert: bytes | None = None,
    client_key: bytes | None = None,
    insecure: bool = False,
    source: str = "",
) -> ssl.SSLContext:
    """Return the context for these PEM bytes; equal ones share it while somebody uses it.

    With a CA only that one is trusted: loading the system's trust store costs 49 ms and 840 KiB,
    a single CA 1 ms and 18 KiB. Raises ConfigError naming ``source`` for bytes that are no PEM.
    Safe from any thread.
    """
    key = (ca, client_cert, client_key, insecure)
    with _lock:
        context = _contexts.get(key)
        if context is None:
            context = _contexts[key] = _new_context(key, source or "the TLS settings")
        return context


def _new_context(key: _Key, source: str) -> ssl.SSLContext:
    ca, client_cert, client_key, insecure = key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        _trust(context, ca, source)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if client_cert is not None and client_key is not None:
        _identify(context, client_cert, client_key, source)
    return context


def _trust(context: ssl.SSLContext, ca: bytes, source: str) -> None:
    try:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{source}: the certificate authority is not a PEM certificate ({_reason(error)}); "
            "it begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _identify(context: ssl.SSLContext, cert: bytes, key: bytes, source: str) -> None:
    try:
        with _as_file(cert.rstrip() + b"\n" + key) as path:
            # The callable keeps OpenSSL from asking for a passphrase on the terminal.
            context.load_cert_chain(path, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{source}: the client certificate and key cannot be used ({_reason(error)}); "
            "both must be PEM, belong together and have no passphrase"
        ) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else type(error).__name__


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield a path to ``data``: OpenSSL's binding takes keys from files only.

    On Linux it is memory, so that a key never touches a disk; elsewhere a private file.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kcpctl-key")
        try:
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="kcpctl-") as file:
        file.write(data)
        file.flush()
        yield file.name


def shrink_read_buffers() -> None:
    """Make asyncio's TLS connections allocate 16 KiB for reading instead of 256 KiB each.

    The size is an attribute of asyncio's protocol class and cannot be set for one connection;
    connections that are there already keep their buffers. A Python that has no such attribute is
    left alone.
    Measured on 200 idle watches of a kube-apiserver: 266 KiB each with 256, 80 with 64, 31 with
    16, and the same CPU time for lists of 5.5 MB.
    """
    protocol = getattr(asyncio.sslproto, "SSLProtocol", None)
    if protocol is not None and getattr(protocol, "max_size", 0) > _READ_BUFFER_BYTES:
        protocol.max_size = _READ_BUFFER_BYTES


def share_read_buffer(transport: asyncio.BaseTransport) -> None:
    """Have a TLS connection read into one buffer that the quiet connections of its loop share.

    A selector loop asks for the buffer, fills it and hands it over in one step, after which its
    content is in OpenSSL's hands; between two steps nobody needs it. So an idle connection costs 16
    KiB less, and 1.4 for the server's certificate, which asyncio keeps decoded and nobody asks for.
    Connections of other loops and of a Python that is made otherwise are left alone.
    """
    loop = asyncio.get_running_loop()
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if not isinstance(loop, asyncio.SelectorEventLoop) or not all(
        hasattr(protocol, name) for name in ("max_size", "_ssl_buffer", "_ssl_buffer_view")
    ):
        return
    buffer = _shared_buffers.get(loop)
    if buffer is None:
        with _lock:
            buffer = _shared_buffers[loop] = bytearray(_READ_BUFFER_BYTES)
    if protocol._ssl_buffer is buffer:
        return
    getattr(protocol, "_extra", {}).pop("peercert", None)
    protocol.max_size = len(buffer)
    protocol._ssl_buffer = buffer
    protocol._ssl_buffer_view = memoryview(buffer)
