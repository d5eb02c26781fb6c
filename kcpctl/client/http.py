"""The transport over aiohttp."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp
import tenacity
from multidict import CIMultiDict
from yarl import URL

from kcpctl.client.config import ClientConfig
from kcpctl.client.credentials import Credential, credentials_of
from kcpctl.client.failures import ConnectionLost, api_error, transport_error
from kcpctl.client.limiter import TokenBucket
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.tls import shrink_read_buffers, tls_context
from kcpctl.client.transport import Call, Response
from kcpctl.errors import ApiError, ResourceVersionTooLarge, Unauthorized
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.logging import get_logger
from kcpctl.runtime.metrics import Metrics

__all__ = ["HttpTransport"]

T = TypeVar("T")
_log = get_logger(__name__)

_CONNECT_SECONDS = 30.0  # RC-18
_IDLE_SECONDS = 30.0  # shorter than any API server keeps an idle connection
_MAX_TRIES = 10  # RC-06
_MAX_LOST_TRIES = 3  # those above have back-offs of their own
_LOST_WAIT_SECONDS = 1.0  # RC-08
_MAX_WAIT_SECONDS = 30.0  # RC-13
_MAX_ERROR_BYTES = 1024 * 1024
_LARGE_BYTES = 256 * 1024
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError)


class HttpTransport:
    """A :class:`Transport` over one aiohttp session, made at the first call.

    Retries (RC-06..13): 429 and 5xx with a Retry-After, any method, at most 10 tries, waits
    capped at 30 s; a GET whose connection broke, 3 tries, 1 s apart; a 401 once, when there are
    other credentials than those rejected (AU-05). A refused connection or a timeout never.
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
        self._closed = False

    @property
    def server(self) -> str:
        """The base URL."""
        return self._config.server

    async def request(self, call: Call) -> Response:
        """Send ``call`` and return the whole answer."""
        return await self._with_retries(call, self._exchange)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Send ``call`` and yield the body's bytes as they come; not limited (RC-03)."""
        response = await self._with_retries(call, self._open)
        _keep_alive(response)
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except _FAILURES as error:
            raise self._failure(error, call) from error
        finally:
            response.close()

    async def close(self) -> None:
        """Close every connection; afterwards calls raise RuntimeError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._credentials.close()

    async def _with_retries(self, call: Call, send: Callable[[Call], Awaitable[T]]) -> T:
        try:
            return await send(call)
        except (ApiError, ConnectionLost) as error:
            if not call.retry or _wait_seconds(error, call) is None:
                raise
            # Asked for help only now: tenacity's bookkeeping is a fifth of a small request.
            failed = [error]

        async def attempt() -> T:
            if failed:
                raise failed.pop()
            return await send(call)

        retrying = tenacity.AsyncRetrying(
            sleep=self._clock.asleep,
            retry=tenacity.retry_if_exception(lambda error: _wait_seconds(error, call) is not None),
            stop=_is_last_try,
            wait=lambda state: _wait_seconds(_error_of(state), call) or 0.0,
            before_sleep=lambda state: self._note_retry(state, call),
            reraise=True,
        )
        return await retrying(attempt)

    def _note_retry(self, state: tenacity.RetryCallState, call: Call) -> None:
        error = _error_of(state)
        self._metrics.retried(call.method, error.code if isinstance(error, ApiError) else None)
        _log.debug("Request is retried", attempt=state.attempt_number, error=error)

    async def _exchange(self, call: Call) -> Response:
        if self._limiter is not None:
            # RC-04: the timeout starts after the wait.
            self._metrics.waited(call.method, await self._limiter.acquire())
        response = await self._open(call)
        try:
            body = await response.read()
        except _FAILURES as error:
            raise self._failure(error, call) from error
        finally:
            response.release()
        self._metrics.sized(call.method, len(call.body or b""), len(body))
        return Response(response.status, _lower(response.headers), body)

    async def _open(self, call: Call) -> aiohttp.ClientResponse:
        """Return a response below 300 whose body is not read yet; one 401 is mended."""
        credential = await self._credentials.current()
        try:
            return await self._open_as(call, credential)
        except Unauthorized:
            if not await self._credentials.renew(credential):
                raise
        return await self._open_as(call, await self._credentials.current())

    async def _open_as(self, call: Call, credential: Credential) -> aiohttp.ClientResponse:
        started, code = self._clock.monotonic(), None
        try:
            response = await self._send(call, credential)
            code = response.status
            if code < 300:
                return response
            body = await response.content.read(_MAX_ERROR_BYTES)
            response.release()
        except _FAILURES as error:
            raise transport_error(error, self._describe(call), self._opening(call)) from error
        finally:
            self._metrics.answered(call.method, code, self._clock.monotonic() - started)
        raise api_error(code, response.headers, body, self._describe(call))

    async def _send(self, call: Call, credential: Credential) -> aiohttp.ClientResponse:
        headers = self._headers.copy()
        headers["Accept"] = call.accept
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if credential.authorization:
            headers["Authorization"] = credential.authorization
        timeout_seconds = call.timeout_seconds or self._timeout_seconds
        async with asyncio.timeout(self._opening(call)):
            return await self._live_session().request(
                call.method,
                self._url(call),
                headers=headers,
                data=_sendable(call.body),
                ssl=self._context(credential),
                server_hostname=self._config.server_name or None,
                proxy=self._config.proxy_url or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=_CONNECT_SECONDS),
            )

    def _url(self, call: Call) -> URL:
        # The path is encoded already; yarl must not decide about it again.
        url = URL(self._config.server + call.path, encoded=True)
        return url.with_query(call.query) if call.query else url

    def _live_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError(f"the client of {self.server} is closed")
        if self._session is None:
            shrink_read_buffers()
            self._session = aiohttp.ClientSession(
                # No limit: each watch holds a connection, and requests must not wait for one.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
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

    def _opening(self, call: Call) -> float:
        """A stream may last for minutes, but must begin as soon as any other answer."""
        return min(call.timeout_seconds or self._timeout_seconds, self._timeout_seconds)

    def _describe(self, call: Call) -> str:
        """Return the request line without the query, which may hold what is not for a log."""
        return f"{call.method} {self._config.server}{call.path}"

    def _failure(self, error: Exception, call: Call) -> Exception:
        timeout_seconds = call.timeout_seconds or self._timeout_seconds
        return transport_error(error, self._describe(call), timeout_seconds)


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


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _wait_seconds(error: BaseException | None, call: Call) -> float | None:
    """Return how long to wait before the call is sent again; None when it must not be."""
    if isinstance(error, ResourceVersionTooLarge):
        # The server has waited for 3 s already; the way out is another version, not patience.
        return None
    if isinstance(error, ApiError) and (error.code == 429 or error.code >= 500):
        after = error.retry_after_seconds
        return None if after is None else min(after, _MAX_WAIT_SECONDS)
    if isinstance(error, ConnectionLost) and call.method == "GET":
        return _LOST_WAIT_SECONDS
    return None


def _is_last_try(state: tenacity.RetryCallState) -> bool:
    lost = isinstance(_error_of(state), ConnectionLost)
    return state.attempt_number >= (_MAX_LOST_TRIES if lost else _MAX_TRIES)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


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
