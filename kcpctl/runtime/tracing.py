"""Traces: OpenTelemetry's spans, off until :func:`enable`.

Off is the usual case, and costs one look at a variable: the hottest callers ask :func:`is_tracing`
before they put anything together. OpenTelemetry is an extra, imported when tracing is enabled.

A span's parent is the one that is current where it begins. That goes along from a thread into what
it runs on the I/O loop (:meth:`IOLoop.run`), and from a task into those it starts.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from kcpctl.errors import UsageError
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.threads import start_thread

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import TracerProvider

__all__ = ["Span", "enable", "exported", "inject", "is_tracing", "leave_trace", "span"]

Value = str | bool | int | float

# The collector may be away: the default of an export is 10 s, and nobody waits that long at a stop.
_FLUSH_SECONDS: Final = 5.0
_LOG_INTERVAL_SECONDS: Final = 60.0
_HTTP: Final = "http/protobuf"


class Span:
    """A span that has begun. Without one, when tracing is off, nothing happens."""

    __slots__ = ("_span",)

    def __init__(self, otel_span: OtelSpan | None = None) -> None:
        self._span = otel_span

    def set(self, name: str, value: Value) -> None:
        """Set one attribute. Never a body, a credential or another secret."""
        if self._span is not None:
            self._span.set_attribute(name, value)

    def fail(self, error: BaseException) -> None:
        """Mark it as failed with the error's type and message, which hold no secrets either."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")


class _Tracing:
    """What OpenTelemetry is needed for, of one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import context, propagate, trace

        self.leave = partial(context.attach, context.Context())
        self.inject = propagate.inject
        self._tracer = provider.get_tracer("kcpctl")
        self._kinds = {True: trace.SpanKind.CLIENT, False: trace.SpanKind.INTERNAL}

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], *, client: bool) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            kind=self._kinds[client],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as otel_span:
            made = Span(otel_span)
            try:
                yield made
            except Exception as error:
                made.fail(error)
                raise


_tracing: _Tracing | None = None
_NO_SPAN: Final = Span()


def is_tracing() -> bool:
    """Whether spans go anywhere."""
    return _tracing is not None


def span(
    name: str, attributes: Mapping[str, Value], *, client: bool = False
) -> AbstractContextManager[Span]:
    """Return a context manager: what runs inside is the span, and what raises fails it.

    No generator may yield inside, as it would go on in another context. ``client`` marks a request
    to another process.
    """
    if _tracing is None:
        return nullcontext(_NO_SPAN)
    return _tracing.span(name, attributes, client=client)


def leave_trace() -> None:
    """Let nothing that this task does from now on be part of the trace in which it was started.

    For tasks that outlive whoever started them.
    """
    if _tracing is not None:
        _tracing.leave()


def inject(headers: MutableMapping[str, str]) -> None:
    """Add the headers that carry the current span to another process (W3C traceparent)."""
    if _tracing is not None:
        _tracing.inject(headers)


def enable(provider: TracerProvider | None) -> None:
    """Let the spans of this process go to ``provider`` from now on; None ends that.

    Flushing and closing the provider is the caller's. Raises ImportError without OpenTelemetry.
    """
    global _tracing
    _tracing = None if provider is None else _Tracing(provider)


@contextmanager
def exported(service: str) -> Iterator[None]:
    """Export the spans of what runs inside as the OTEL_* variables of the environment say.

    ``service`` is the name of the service where these give none. At the end what is left is sent,
    for 5 seconds at most. Raises UsageError without the extra, and for what it cannot export to.
    """
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter()
    except ImportError as error:
        raise UsageError(
            f"--tracing needs OpenTelemetry ({error}), which comes with the extra: "
            "pip install 'kcpctl[otel]'"
        ) from error
    if exporter is None:
        yield
        return
    # What the environment says of the service wins over our own name.
    resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    log_as_we_do()
    enable(provider)
    try:
        yield
    finally:
        enable(None)
        flush = start_thread(provider.shutdown, name="kcpctl-traces", daemon=True)
        flush.join(_FLUSH_SECONDS)


def _exporter() -> SpanExporter | None:
    """Return what OTEL_TRACES_EXPORTER asks for; None for no export."""
    wanted = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if wanted == "none":
        return None
    if wanted == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if wanted != "otlp":
        raise UsageError(f"OTEL_TRACES_EXPORTER={wanted} is not known: otlp, console or none")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := os.environ.get(name):
            if protocol != _HTTP:
                raise UsageError(f"{name}={protocol} is not supported: use {_HTTP}")
            break
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class _Handler(logging.Handler):
    """Writes what OpenTelemetry logs as our own lines, one a minute: a collector may stay away."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._quiet_until = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _LOG_INTERVAL_SECONDS
            logging.getLogger("kcpctl").handle(record)


def log_as_we_do(clock: Clock = SYSTEM_CLOCK) -> None:
    """Let OpenTelemetry's log lines be some of ours."""
    logger = logging.getLogger("opentelemetry")
    logger.handlers[:], logger.propagate = [_Handler(clock)], False
