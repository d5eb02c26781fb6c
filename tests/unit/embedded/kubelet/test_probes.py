from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kcpctl.embedded.kubelet.probes import Probe, ProbeFailed, check, watch_probe
from kcpctl.testing.clock import FakeClock


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve one fixed answer; None: never any."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], requests
    finally:
        listening.close()
        await listening.wait_closed()


def http(port: int | str, **fields: float) -> Probe:
    probe = Probe.of({"httpGet": {"path": "/healthz", "port": port}, **fields})
    assert probe is not None
    return probe


@pytest.mark.parametrize("spec", [None, {}, {"exec": {"command": ["true"]}}])
def test_kinds_that_cannot_be_done_here_are_no_probe(spec: dict[str, object] | None) -> None:
    assert Probe.of(spec) is None


def test_a_probe_has_the_defaults_of_the_api() -> None:
    probe = http(1)
    assert (probe.initial_delay_seconds, probe.period_seconds, probe.timeout_seconds) == (0, 10, 1)
    assert (probe.success_threshold, probe.failure_threshold) == (1, 3)


async def test_a_refused_connection_fails() -> None:
    async with server(b"") as (port, _):
        pass
    with pytest.raises(ProbeFailed):
        await check(http(port), "127.0.0.1", {})


async def test_no_answer_fails_after_the_timeout() -> None:
    async with server(None) as (port, _):
        with pytest.raises(ProbeFailed, match=r"no answer within 0\.05s"):
            await check(http(port, timeoutSeconds=0.05), "127.0.0.1", {})


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.1\r\n"])
async def test_what_is_not_http_fails(answer: bytes) -> None:
    async with server(answer) as (port, _):
        with pytest.raises(ProbeFailed, match="not HTTP"):
            await check(http(port), "127.0.0.1", {})


async def test_a_status_outside_200_to_399_fails() -> None:
    async with server(b"HTTP/1.1 503 Unavailable\r\n\r\n") as (port, _):
        with pytest.raises(ProbeFailed, match="statuscode: 503"):
            await check(http(port), "127.0.0.1", {})


async def test_an_unknown_port_name_fails() -> None:
    with pytest.raises(ProbeFailed, match="no port named 'health'"):
        await check(http("health"), "127.0.0.1", {})


async def test_a_good_answer_is_success_and_the_request_is_plain_http() -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, requests):
        await check(http("health"), "127.0.0.1", {"health": port})
    assert requests[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_tcp_probe_only_connects() -> None:
    async with server(None) as (port, requests):
        probe = Probe.of({"tcpSocket": {"port": port}})
        assert probe is not None
        await check(probe, "127.0.0.1", {})
    assert requests == []


class Watched:
    """A probe under a fake clock, with scripted outcomes."""

    def __init__(self, outcomes: list[bool], probe: Probe, *, eager: bool = False) -> None:
        self.clock = FakeClock()
        self.reports: list[tuple[bool, str]] = []
        self.checks = 0
        self._outcomes = outcomes
        self._task = asyncio.ensure_future(
            watch_probe(probe, self._check, self._report, self.clock, eager=eager)
        )

    async def _check(self) -> None:
        outcome = self._outcomes[min(self.checks, len(self._outcomes) - 1)]
        self.checks += 1
        if not outcome:
            raise ProbeFailed("no")

    def _report(self, healthy: bool, message: str) -> None:
        self.reports.append((healthy, message))

    async def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(outcomes: list[bool], probe: Probe, *, eager: bool = False) -> Watched:
        made.append(Watched(outcomes, probe, eager=eager))
        return made[-1]

    yield make
    for watched in made:
        await watched.close()


async def test_failures_count_only_when_they_reach_the_threshold(
    watch: Callable[..., Watched],
) -> None:
    watched = watch([False, False, True, False, False, False], http(1, periodSeconds=5))
    await watched.step(0)
    for _ in range(4):
        await watched.step(5)
    assert watched.reports == [(True, "")]
    await watched.step(5)
    assert watched.reports == [(True, ""), (False, "no")]


async def test_the_initial_delay_is_kept(watch: Callable[..., Watched]) -> None:
    watched = watch([True], http(1, initialDelaySeconds=30))
    await watched.step(0)
    await watched.step(29)
    assert watched.checks == 0
    await watched.step(2)
    assert watched.checks == 1


async def test_an_eager_probe_looks_often_at_first_but_counts_failures_by_the_period(
    watch: Callable[..., Watched],
) -> None:
    probe = http(1, periodSeconds=10, failureThreshold=2)
    watched = watch([False] * 8 + [True], probe, eager=True)
    await watched.step(0)
    for _ in range(8):
        await watched.step(0.25)
    assert watched.checks == 9
    assert watched.reports == [(True, "")]
    await watched.step(5)
    assert watched.checks == 9  # from now on the period holds
    await watched.step(5)
    assert watched.checks == 10
