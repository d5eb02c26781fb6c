"""The transport over aiohttp."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kcpctl.client.config import ClientConfig
from kcpctl.client.credentials import Credential, credentials_of
from kcpctl.client.failures import api_error, transport_error
from kcpctl.client.inflight import InFlight
from kcpctl.client.limiter import TokenBucket
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.retries import with_retries
from kcpctl.client.tls import shrink_read_buffers, tls_context
from kcpctl.client.transport import Call, Response
from kcpctl.errors import TransportError, Unauthorized
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.metrics import Metrics

__all__ = ["HttpTransport"]

_CONNECT_SECONDS = 30.0  # RC-18
_IDLE_SECONDS = 30.0  # shorter than any API server keeps an idle connection
_MAX_ERROR_BYTES = 1024 * 1024
# How much may wait for its reader before the socket is left alone (twice this, by aiohttp's rule).
# Watches of thousands of events a second are a tenth faster than with aiohttp's 64 KiB.
_READ_AHEAD_BYTES = 256 * 1024
_LARGE_BYTES = 256 * 1024
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError)


class HttpTransport:
    """A :class:`Transport` over one aiohttp session, made at the first call.

    Failed calls are sent again as :func:`with_retries` says; a 401 once, when there are other
    credentials than those rejected (AU-05); a refused connection or a timeout never (RC-10).
    Redirects are errors: credentials go to the configured server only. Proxies are used when the
    configuration names one; the environment is not looked at here.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        qps: float | None = None,
        burst: int | None = None,
        metrics: Metrics | None = None,
        clock: Clock = SYSTEM_CLOCK,
        request_timeout_seconds: float = 30.0,
    ) -> None:
        self._config = config
        self._clock = clock
        self._timeout_seconds = request_timeout_seconds
        self._limiter = TokenBucket(qps, burst, clock=clock) if qps is not None else None
        self._metrics = ClientMetrics(metrics, config.host)
        self._credentials = credentials_of(config, clock)
        self._base = URL(config.server)
        self._headers = _constant_headers(config)
        self._tls: tuple[Credential, ssl.SSLContext] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = InFlight()
        self._closed = False

    @property
    def server(self) -> str:
        """The base URL."""
        return self._config.server

    async def request(self, call: Call) -> Response:
        """Send ``call`` and return the whole answer."""
        return await with_retries(call, self._exchange, self._clock, self._metrics)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Send ``call`` and yield the body's bytes as they come; not limited (RC-03)."""
        response = await with_retries(call, self._open, self._clock, self._metrics)
        _keep_alive(response)
        try:
            with self._in_flight.reading(response):
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
        except _FAILURES as error:
            raise self._failure(error, call, self._total_seconds(call)) from error
        finally:
            _hang_up(response)

    async def close(self) -> None:
        """Close every connection; calls under way and afterwards raise TransportError."""
        self._closed = True
        self._in_flight.end()
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._credentials.close()

    async def _exchange(self, call: Call) -> Response:
        if self._limiter is not None:
            # RC-04: the timeout starts after the wait.
            self._metrics.waited(call.method, await self._limiter.acquire())
        response = await self._open(call, endless=False)
        try:
            with self._in_flight.reading(response):
                body = await response.read()
        except _FAILURES as error:
            raise self._failure(error, call, self._total_seconds(call)) from error
        finally:
            response.release()
        self._metrics.sized(call.method, len(call.body or b""), len(body))
        return Response(response.status, _lower(response.headers), body)

    async def _open(self, call: Call, *, endless: bool = True) -> aiohttp.ClientResponse:
        """Return a response below 300 whose body is not read yet; one 401 is mended.

        A body that is not ``endless`` must not pause for longer than a request may take, however
        long all of it may.
        """
        credential = await self._credentials.current()
        try:
            return await self._open_as(call, credential, endless)
        except Unauthorized:
            if not await self._credentials.renew(credential):
                raise
        return await self._open_as(call, await self._credentials.current(), endless)

    async def _open_as(
        self, call: Call, credential: Credential, endless: bool
    ) -> aiohttp.ClientResponse:
        started, code = self._clock.monotonic(), None
        try:
            async with self._in_flight.opening(self._opening_seconds(call)):
                response = await self._send(call, credential, endless)
                code = response.status
                if code < 300:
                    return response
                body = await _error_body(response)
        except _FAILURES as error:
            raise self._failure(error, call, self._opening_seconds(call)) from error
        finally:
            self._metrics.answered(call.method, code, self._clock.monotonic() - started)
        raise api_error(code, response.headers, body, self._describe(call))

    async def _send(
        self, call: Call, credential: Credential, endless: bool
    ) -> aiohttp.ClientResponse:
        headers = self._headers.copy()
        headers["Accept"] = call.accept
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if credential.authorization:
            headers["Authorization"] = credential.authorization
        return await self._live_session().request(
            call.method,
            self._url(call),
            headers=headers,
            data=_sendable(call.body),
            ssl=self._context(credential),
            server_hostname=self._config.server_name or None,
            proxy=self._config.proxy_url or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=self._total_seconds(call),
                sock_connect=_CONNECT_SECONDS,
                sock_read=None if endless else self._timeout_seconds,
            ),
        )

    def _url(self, call: Call) -> URL:
        # The path is encoded already; yarl must not decide about it again.
        url = URL(self._config.server + call.path, encoded=True)
        return url.with_query(call.query) if call.query else url

    def _live_session(self) -> aiohttp.ClientSession:
        if self._closed:
            # Not a RuntimeError: a worker may hold on to a client that its pool has just closed.
            raise TransportError(f"the client of {self.server} is closed")
        if self._session is None:
            shrink_read_buffers()
            self._session = aiohttp.ClientSession(
                # No limit: each watch holds a connection, and requests must not wait for one.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                read_bufsize=_READ_AHEAD_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def _context(self, credential: Credential) -> ssl.SSLContext | bool:
        if self._base.scheme != "https":
            return True
        if self._tls is None or self._tls[0] != credential:
            config = self._config
            context = tls_context(
                ca=config.ca,
                client_cert=credential.client_cert or config.client_cert,
                client_key=credential.client_key or config.client_key,
                insecure=config.insecure,
                source=config.source,
            )
            self._tls = (credential, context)
        return self._tls[1]

    def _describe(self, call: Call) -> str:
        """Return the request line without the query, which may hold what is not for a log."""
        return f"{call.method} {self._config.server}{call.path}"

    def _total_seconds(self, call: Call) -> float:
        return call.timeout_seconds or self._timeout_seconds

    def _opening_seconds(self, call: Call) -> float:
        """A stream may last for minutes, but must begin as soon as any other answer."""
        return min(self._total_seconds(call), self._timeout_seconds)

    def _failure(self, error: Exception, call: Call, timeout_seconds: float) -> Exception:
        if self._closed:
            return TransportError(f"the client was closed meanwhile ({self._describe(call)})")
        return transport_error(error, self._describe(call), timeout_seconds)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Read the body of an error, which may be of anybody and of any size."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) >= _MAX_ERROR_BYTES:
                response.close()
                break
    finally:
        response.release()
    return bytes(body)


def _sendable(body: bytes | None) -> bytes | io.BytesIO | None:
    """Have a large body written piece by piece, so that it does not hold up the loop."""
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body


def _constant_headers(config: ClientConfig) -> CIMultiDict[str]:
    headers = CIMultiDict({"User-Agent": config.user_agent})
    # Unpacking a compressed list costs more than receiving it, except over slow lines.
    headers["Accept-Encoding"] = "identity"
    if (user := config.impersonate) is not None:
        headers["Impersonate-User"] = user.user
        if user.uid:
            headers["Impersonate-Uid"] = user.uid
        for group in user.groups:
            headers.add("Impersonate-Group", group)
        for key, values in user.extra:
            for value in values:
                headers.add(f"Impersonate-Extra-{key}", value)
    return headers


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the connection at once: a polite TLS shutdown of an endless answer can outlive the
    event loop, and the socket with it."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the kernel notice a peer that is gone, within about 2 minutes (RC-18, pitfall 8)."""
    connection = response.connection
    sock = (
        connection.transport.get_extra_info("socket")
        if connection and connection.transport
        else None
    )
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
