"""The transport over aiohttp."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kcpctl.client.bodies import sendable
from kcpctl.client.config import ClientConfig
from kcpctl.client.connections import Connector, hang_up, prepare_stream
from kcpctl.client.credentials import Credential, Credentials, credentials_of
from kcpctl.client.failures import (
    AnswerTooLong,
    ClientCertificateRefused,
    ClientClosed,
    ConnectionLost,
    api_error,
    transport_error,
)
from kcpctl.client.gate import WriteGate
from kcpctl.client.inflight import InFlight
from kcpctl.client.limiter import TokenBucket
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.pulse import Pulse, request_head
from kcpctl.client.retries import with_retries
from kcpctl.client.rotation import CHECK_SECONDS, TlsFiles, TlsMaterial
from kcpctl.client.server_warnings import WarningHandler, WarningLog, warning_texts
from kcpctl.client.spans import STATUS, request_span
from kcpctl.client.tls import shrink_read_buffers, tls_context
from kcpctl.client.transport import Call, Response
from kcpctl.errors import CertificateInvalid, KcpctlError, NotLeading, TransportError, Unauthorized
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.logging import get_logger
from kcpctl.runtime.metrics import Metrics
from kcpctl.runtime.tasks import TaskSet
from kcpctl.runtime.tracing import inject, is_tracing

__all__ = ["HttpTransport"]

_log = get_logger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS = 30.0  # RC-18
_MAX_ERROR_BYTES = 1024 * 1024
# How much may wait for its reader before the socket is left alone (twice this, by aiohttp's rule).
# Watches of thousands of events a second are a tenth faster than with aiohttp's 64 KiB.
_READ_AHEAD_BYTES = 256 * 1024
# Of one answer: of the server that we work for, which may send all of its objects at once.
_MAX_ANSWER_BYTES = 1024 * 1024 * 1024
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError)
# What other credentials or certificates may mend; nothing was done for such a call.
_REFUSED = (Unauthorized, CertificateInvalid, ClientCertificateRefused)


class HttpTransport:
    """A :class:`Transport` over one aiohttp session, made at the first call.

    Failed calls are sent again as :func:`with_retries` says; one that was refused for its identity,
    or whose server we do not trust, once, when there are other credentials or certificates by now
    (AU-05); a refused connection or a timeout never (RC-10).

    Certificates in files are read again every minute (AU-11, AU-12), by a task that ``close`` ends.
    From then on connections are made with the new ones; calls under way end in peace, idle
    connections are not used again, and streams end with ConnectionRenewed, which a watch takes for
    an orderly end (AU-07).

    ``credentials`` are used in place of the configuration's.

    Redirects are errors: credentials go to the configured server only. Proxies are used when the
    configuration names one; the environment is not looked at here.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        qps: float | None = None,
        burst: int | None = None,
        limiter: TokenBucket | None = None,
        metrics: Metrics | None = None,
        clock: Clock = SYSTEM_CLOCK,
        request_timeout_seconds: float = 30.0,
        write_gate: WriteGate | None = None,
        on_warning: WarningHandler | None = None,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
        credentials: Credentials | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._timeout_seconds = request_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._on_warning = on_warning or WarningLog(config.host)
        self._limiter = limiter
        if qps is not None:
            self._limiter = TokenBucket(qps, burst, host=config.host, clock=clock)
        self._metrics = ClientMetrics(metrics, config.host)
        # Those that are given may bring certificates as well, like a plugin.
        self._brings_certificates = credentials is not None or config.exec_plugin is not None
        self._credentials = credentials or credentials_of(config, clock)
        self._base = URL(config.server)
        self._headers = _constant_headers(config)
        self._files = TlsFiles(config, self._metrics)
        self._tls: tuple[TlsMaterial, ssl.SSLContext] | None = None
        self._tasks = TaskSet(f"client of {config.host}")
        self._session: aiohttp.ClientSession | None = None
        self._connector: Connector | None = None
        self._pulse = Pulse()
        self._in_flight = InFlight(clock)
        self._gate = write_gate
        self._closed = False

    @property
    def server(self) -> str:
        """The base URL."""
        return self._config.server

    async def request(self, call: Call) -> Response:
        """Send ``call`` and return the whole answer."""
        if not is_tracing():
            if call.pulse and (answer := await self._ask_by_pulse(call)) is not None:
                return answer
            return await with_retries(call, self._exchange, self._pause, self._metrics)
        with request_span(call, self._base) as span:
            response = await with_retries(call, self._exchange, self._pause, self._metrics)
            span.set(STATUS, response.status)
            return response

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Send ``call`` and yield the body's bytes as they come; not limited (RC-03)."""
        with request_span(call, self._base) if is_tracing() else nullcontext():
            response = await with_retries(call, self._open, self._pause, self._metrics)
        try:
            prepare_stream(response)
            with self._in_flight.streaming(response):
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
                    # A quiet stream does not hold what came last.
                    del chunk
        except _FAILURES as error:
            raise self._failure(error, call, self._total_seconds(call)) from error
        finally:
            hang_up(response)

    async def close(self) -> None:
        """Close every connection; calls under way and afterwards raise TransportError."""
        self._closed = True
        self._in_flight.end()
        await self._tasks.close()
        self._pulse.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask_by_pulse(self, call: Call) -> Response | None:
        """Send ``call`` the cheap way to where the last connection led; None: that is not enough.

        Proxies and limits are for the other way, and so is every failure but a late answer.
        """
        address = None if self._connector is None else self._connector.address
        limited = self._limiter is not None and self._limiter.limits
        if address is None or limited or self._config.proxy_url or self._closed:
            return None
        credential = await self._credential()
        context = self._context(credential)
        head = request_head(call.path, self._base, self._headers_of(call, credential))
        if head is None or not isinstance(context, ssl.SSLContext):
            return None
        name = self._config.server_name or (self._base.raw_host or "").rstrip(".")
        started, seconds = self._clock.monotonic(), self._opening_seconds(call)
        try:
            async with self._in_flight.waiting(seconds):
                body = await self._pulse.ask(address, context, name, head)
        except TimeoutError as error:
            self._metrics.answered(call.method, None, self._clock.monotonic() - started)
            raise self._failure(error, call, seconds) from error
        if body is None:
            return None
        self._metrics.answered(call.method, 200, self._clock.monotonic() - started)
        self._metrics.sized(call.method, 0, len(body))
        return Response(200, {}, body)

    async def _exchange(self, call: Call) -> Response:
        if self._limiter is not None and self._limiter.limits:
            # RC-04: the timeout starts after the wait.
            waited_seconds = await self._unless_closed(self._limiter.acquire())
            self._metrics.waited(call.method, waited_seconds)
        response = await self._open(call, endless=False)
        try:
            with self._in_flight.reading(response):
                body = await self._body(response, call)
        except _FAILURES as error:
            raise self._failure(error, call, self._total_seconds(call)) from error
        finally:
            response.release()
        self._metrics.sized(call.method, len(call.body or b""), len(body))
        return Response(response.status, _lower(response.headers), body)

    async def _body(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        """Read an answer; one that does not end must not fill the memory."""
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > self._max_answer_bytes:
                    response.close()
                    raise AnswerTooLong(
                        f"the answer is longer than {self._max_answer_bytes} bytes "
                        f"({self._describe(call)})"
                    )
        except BaseException:
            parts.clear()  # whoever keeps the error keeps this frame
            raise
        return b"".join(parts)

    async def _unless_closed(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Wait for something other than the server; TransportError once the client is closed."""
        try:
            async with self._in_flight.waiting():
                return await waiting
        except TimeoutError:
            raise self._closed_error() from None

    async def _pause(self, seconds: float) -> None:
        await self._unless_closed(self._clock.asleep(seconds))

    async def _open(self, call: Call, *, endless: bool = True) -> aiohttp.ClientResponse:
        """Return a response below 300 whose body is not read yet; one refusal is mended.

        A body that is not ``endless`` must not pause for longer than a request may take, however
        long all of it may.
        """
        credential = await self._credential()
        material = self._files.material
        try:
            return await self._open_as(call, credential, endless)
        except _REFUSED as error:
            self._files.check()
            mended = self._files.material != material
            if not isinstance(error, CertificateInvalid):
                renewing = self._credentials.renew(credential)
                mended = await self._unless_closed(renewing) or mended
            if not mended:
                raise
        except ConnectionLost:
            # Servers that refuse a certificate may hang up before they could say so.
            self._files.check()
            raise
        credential = await self._credential()
        return await self._open_as(call, credential, endless)

    async def _credential(self) -> Credential:
        current = self._credentials.current()
        # Tokens are there; a plugin runs for a while, and a signer may wait for people.
        return await (self._unless_closed(current) if self._brings_certificates else current)

    async def _keep_renewed(self) -> None:
        """Look for new certificates every minute, and have open streams use them."""
        while True:
            await self._clock.asleep(CHECK_SECONDS)
            self._files.check()
            if not self._in_flight.has_streams:
                continue
            try:
                # Of a plugin too: nothing but a new watch would ask it again.
                context = self._context(await self._credentials.current())
            except KcpctlError as error:
                _log.warning("No new credentials", host=self._config.host, error=error)
                continue
            if isinstance(context, ssl.SSLContext):
                self._in_flight.renew(context)

    async def _open_as(
        self, call: Call, credential: Credential, endless: bool
    ) -> aiohttp.ClientResponse:
        started, code = self._clock.monotonic(), None
        if self._gate is not None:
            self._gate.check(call.method, self._describe(call))
        try:
            async with self._in_flight.waiting(self._opening_seconds(call)):
                response = await self._send(call, credential, endless)
                code = response.status
                self._hear(response)
                if code < 300:
                    return response
                with self._in_flight.reading(response):
                    body = await _error_body(response)
        except (*_FAILURES, ValueError) as error:
            raise self._failure(error, call, self._opening_seconds(call)) from error
        finally:
            self._metrics.answered(call.method, code, self._clock.monotonic() - started)
        raise api_error(code, response.headers, body, self._describe(call))

    async def _send(
        self, call: Call, credential: Credential, endless: bool
    ) -> aiohttp.ClientResponse:
        headers = self._headers_of(call, credential)
        if is_tracing():
            inject(headers)
        return await self._live_session().request(
            call.method,
            self._url(call),
            headers=headers,
            data=sendable(call.body, self._last_check(call)),
            ssl=self._context(credential),
            server_hostname=self._config.server_name or None,
            proxy=self._config.proxy_url or None,
            allow_redirects=False,
            timeout=self._timeout(call, endless),
        )

    def _last_check(self, call: Call) -> Callable[[], None] | None:
        if (gate := self._gate) is None:
            return None
        return lambda: gate.check(call.method, self._describe(call))

    def _headers_of(self, call: Call, credential: Credential) -> CIMultiDict[str]:
        headers = self._headers.copy()
        headers["Accept"] = call.accept
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if credential.authorization:
            headers["Authorization"] = credential.authorization
        return headers

    def _timeout(self, call: Call, endless: bool) -> aiohttp.ClientTimeout:
        total = self._total_seconds(call)
        # A limit of pauses that cannot be reached before the total is a timer for nothing.
        pauses_matter = not endless and total > self._timeout_seconds
        return aiohttp.ClientTimeout(
            total=total,
            sock_connect=_CONNECT_SECONDS,
            sock_read=self._timeout_seconds if pauses_matter else None,
        )

    def _hear(self, response: aiohttp.ClientResponse) -> None:
        """RC-19."""
        if "Warning" in response.headers:
            for text in warning_texts(response.headers.getall("Warning")):
                self._on_warning(text)

    def _url(self, call: Call) -> URL:
        # The path is encoded already; yarl must not decide about it again.
        url = URL(self._config.server + call.path, encoded=True)
        return url.with_query(call.query) if call.query else url

    def _live_session(self) -> aiohttp.ClientSession:
        if self._closed:
            # Not a RuntimeError: a worker may hold on to a client that its pool has just closed.
            raise self._closed_error()
        if self._session is None:
            shrink_read_buffers()
            self._connector = Connector(self._gate)
            self._session = aiohttp.ClientSession(
                # No limit: each watch holds a connection, and requests must not wait for one.
                connector=self._connector,
                read_bufsize=_READ_AHEAD_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            if self._base.scheme == "https" and (
                self._files.are_named or self._brings_certificates
            ):
                self._tasks.spawn(self._keep_renewed(), name="certificates")
        return self._session

    def _context(self, credential: Credential) -> ssl.SSLContext | bool:
        if self._base.scheme != "https":
            return True
        material = self._files.material
        if credential.client_cert is not None:
            cert, key = credential.client_cert, credential.client_key
            material = material._replace(client_cert=cert, client_key=key)
        if self._tls is None or self._tls[0] != material:
            config = self._config
            context = tls_context(
                **material._asdict(), insecure=config.insecure, source=config.source
            )
            self._tls = (material, context)
            self._in_flight.renew(context)
        return self._tls[1]

    def _closed_error(self) -> TransportError:
        return ClientClosed(f"the client of {self.server} is closed")

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
            return ClientClosed(f"the client was closed meanwhile ({self._describe(call)})")
        if isinstance(error.__cause__, NotLeading):
            return error.__cause__
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
