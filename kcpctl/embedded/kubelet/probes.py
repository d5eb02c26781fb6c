"""Probes: HTTP and TCP checks of a real container, with the kubelet's periods and thresholds."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kcpctl.runtime import Clock

__all__ = ["Probe", "ProbeFailed", "check", "watch_probe"]

Json = dict[str, Any]
_EAGER_SECONDS: Final = 0.25
_HTTP_PORTS: Final = {"HTTP": 80, "HTTPS": 443}


class ProbeFailed(Exception):
    """The check failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container, with the API's defaults filled in."""

    handler: Json
    initial_delay_seconds: float = 0.0
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, spec: Json | None) -> Probe | None:
        """Return the probe of a container field; None for none and for kinds other than these."""
        if not spec or not ("httpGet" in spec or "tcpSocket" in spec):
            return None
        return cls(
            spec,
            float(spec.get("initialDelaySeconds") or 0),
            float(spec.get("periodSeconds") or 10),
            float(spec.get("timeoutSeconds") or 1),
            int(spec.get("successThreshold") or 1),
            int(spec.get("failureThreshold") or 3),
        )


async def check(probe: Probe, address: str, ports: dict[str, int]) -> None:
    """Do one check; raises ProbeFailed. ``ports`` are the container's named ports."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if "httpGet" in probe.handler:
                await _http(probe.handler["httpGet"], address, ports)
            else:
                target = probe.handler["tcpSocket"]
                host = target.get("host") or address
                _, writer = await asyncio.open_connection(host, _port(target["port"], ports))
                await _close(writer)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {probe.timeout_seconds:g}s") from None
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise ProbeFailed(str(error)) from error


def _port(port: int | str, ports: dict[str, int]) -> int:
    if isinstance(port, str) and not port.isdigit():
        if port not in ports:
            raise ValueError(f"the container has no port named {port!r}")
        return ports[port]
    return int(port)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _http(target: Json, address: str, ports: dict[str, int]) -> None:
    scheme = (target.get("scheme") or "HTTP").upper()
    host = target.get("host") or address
    port = _port(target["port"], ports)
    context = None
    if scheme == "HTTPS":  # the kubelet does not verify a Pod's certificate
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    for header in target.get("httpHeaders") or ():
        headers[header["name"]] = header["value"]
    lines = [f"GET {quote(target.get('path') or '/', safe='/?&=%:,;+~-._')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(("\r\n".join([*lines, "Connection: close", "", ""])).encode())
        await writer.drain()
        status_line = (await reader.readline()).decode(errors="replace").split()
        if len(status_line) < 2 or not status_line[1].isdigit():
            raise ValueError("the answer is not HTTP")
        if not 200 <= int(status_line[1]) < 400:
            raise ProbeFailed(f"HTTP probe failed with statuscode: {status_line[1]}")
    finally:
        await _close(writer)


async def watch_probe(
    probe: Probe,
    run_check: Callable[[], Coroutine[Any, Any, None]],
    report: Callable[[bool, str], None],
    clock: Clock,
    *,
    eager: bool = False,
    once: bool = False,
) -> None:
    """Check again and again until cancelled, or with ``once`` until it has succeeded.

    ``report(healthy, message)`` is called whenever a threshold is reached (again). ``eager`` looks
    more often until the first success, which a real kubelet does not: nobody who starts something
    on their own machine wants to wait for the rest of a period. Those extra looks count no
    failures.
    """
    await clock.asleep(probe.initial_delay_seconds)
    successes = failures = 0
    counted_at = clock.monotonic() - probe.period_seconds
    ever = False
    while True:
        try:
            await run_check()
        except ProbeFailed as failure:
            successes = 0
            if clock.monotonic() - counted_at >= probe.period_seconds:
                counted_at = clock.monotonic()
                failures += 1
                if failures >= probe.failure_threshold:
                    report(False, str(failure))
        else:
            ever, counted_at = True, clock.monotonic()
            successes, failures = successes + 1, 0
            if successes >= probe.success_threshold:
                report(True, "")
                if once:
                    return
        period = probe.period_seconds
        await clock.asleep(min(period, _EAGER_SECONDS) if eager and not ever else period)
