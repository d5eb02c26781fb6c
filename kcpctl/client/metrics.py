"""What the client counts: the names that client-go and its dashboards use."""

from __future__ import annotations

from typing import Literal

from kcpctl.runtime.metrics import Metrics

__all__ = ["ClientMetrics"]

_LATENCY = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_SIZE = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)


class ClientMetrics:
    """The counters of requests to one host. Without a registry nothing is counted."""

    def __init__(self, metrics: Metrics | None, host: str) -> None:
        self._host = host
        self._on = metrics is not None
        if metrics is None:
            return
        self._requests = metrics.counter(
            "rest_client_requests_total", "Requests by answer.", ("code", "method", "host")
        )
        self._retries = metrics.counter(
            "rest_client_request_retries_total", "Retries.", ("code", "verb", "host")
        )
        self._duration = metrics.histogram(
            "rest_client_request_duration_seconds",
            "Time of one try, until its answer began.",
            ("verb", "host"),
            buckets=_LATENCY,
        )
        self._limited = metrics.histogram(
            "rest_client_rate_limiter_duration_seconds",
            "Time that a request waited for the client's own limit.",
            ("verb", "host"),
            buckets=_LATENCY,
        )
        self._sent = metrics.histogram(
            "rest_client_request_size_bytes", "Body sent.", ("verb", "host"), buckets=_SIZE
        )
        self._received = metrics.histogram(
            "rest_client_response_size_bytes", "Body received.", ("verb", "host"), buckets=_SIZE
        )

        self._ca_reloads = metrics.counter(
            "rest_client_transport_ca_reload_total",
            "Checks of the file with the certificate authority.",
            ("result", "reason"),
        )
        self._certificate_reloads = metrics.counter(
            "rest_client_transport_certificate_reload_total",
            "Checks of the files with the client certificate and its key.",
            ("result", "reason"),
        )

    def reloaded(self, what: Literal["ca", "certificate"], reason: str) -> None:
        """Count one check of TLS files (AU-12); ``reason`` is how it came out."""
        if self._on:
            counter = self._ca_reloads if what == "ca" else self._certificate_reloads
            result = "success" if reason in {"unchanged", "updated"} else "failure"
            counter.labels(result, reason).inc()

    def answered(self, method: str, code: int | None, seconds: float) -> None:
        """Count one try; without a code there was no answer."""
        if self._on:
            self._requests.labels(_label(code), method, self._host).inc()
            self._duration.labels(method, self._host).observe(seconds)

    def sized(self, method: str, sent_bytes: int, received_bytes: int) -> None:
        """Count the bodies of one answered request."""
        if self._on:
            self._sent.labels(method, self._host).observe(sent_bytes)
            self._received.labels(method, self._host).observe(received_bytes)

    def retried(self, method: str, code: int | None) -> None:
        """Count a try that is going to be repeated."""
        if self._on:
            self._retries.labels(_label(code), method, self._host).inc()

    def waited(self, method: str, seconds: float) -> None:
        """Count the time before a request was let through."""
        if self._on:
            self._limited.labels(method, self._host).observe(seconds)


def _label(code: int | None) -> str:
    return "<error>" if code is None else str(code)
