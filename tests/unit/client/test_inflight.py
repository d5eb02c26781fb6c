from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from kcpctl.client.failures import ConnectionRenewed
from kcpctl.client.inflight import InFlight
from kcpctl.testing.clock import FakeClock


class Answer:
    """As much of a response as is looked at."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.error: Exception | None = None
        info = {"sslcontext": context}
        self.connection = SimpleNamespace(transport=SimpleNamespace(get_extra_info=info.get))
        self.content = SimpleNamespace(set_exception=self._set)

    def _set(self, error: Exception) -> None:
        self.error = error


@pytest.fixture
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def streaming(in_flight: InFlight, *answers: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for answer in answers:
            stack.enter_context(in_flight.streaming(answer))
        yield


def test_streams_of_other_certificates_end_and_no_others(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """AU-07."""
    old, new = contexts
    clock = FakeClock()
    in_flight = InFlight(clock)
    stale, fresh, plain, request = Answer(old), Answer(new), Answer(None), Answer(old)
    reading: Any = request
    with streaming(in_flight, stale, fresh, plain), in_flight.reading(reading):
        clock.step(10)
        in_flight.renew(new)
    assert isinstance(stale.error, ConnectionRenewed)
    assert [answer.error for answer in (fresh, plain, request)] == [None] * 3


def test_a_stream_that_has_just_begun_ends_the_next_time(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """AU-07, RF-26: it would look like one of a server that is confused."""
    old, new = contexts
    clock = FakeClock()
    in_flight = InFlight(clock)
    stale = Answer(old)
    with streaming(in_flight, stale):
        clock.step(1)
        in_flight.renew(new)
        assert stale.error is None
        clock.step(1)
        in_flight.renew(new)
    assert isinstance(stale.error, ConnectionRenewed)


def test_a_stream_without_a_connection_has_ended_by_itself(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    clock = FakeClock()
    in_flight = InFlight(clock)
    ended = Answer(contexts[0])
    ended.connection = None  # type: ignore[assignment]
    with streaming(in_flight, ended):
        clock.step(10)
        in_flight.renew(contexts[1])
    assert ended.error is None


async def test_after_the_end_nobody_waits() -> None:
    """RC-12: not even who comes later."""
    in_flight = InFlight(FakeClock())
    in_flight.end()
    with pytest.raises(TimeoutError):
        async with in_flight.waiting(60):
            await asyncio.Event().wait()


async def test_a_connection_that_is_lost_with_the_end_of_a_chunk_is_a_lost_connection() -> None:
    """Not the RuntimeError of a reader that aiohttp lets wait once more."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    content = aiohttp.StreamReader(protocol, 2**16, loop=loop)
    response: Any = Answer(None)
    response.content = content

    async def read() -> list[bytes]:
        with InFlight(FakeClock()).reading(response):
            return [chunk async for chunk in content.iter_any()]

    reading = asyncio.ensure_future(read())
    content.begin_http_chunk_receiving()
    content.feed_data(b"line")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    content.end_http_chunk_receiving()
    content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
    protocol.connection_lost(None)
    with pytest.raises(aiohttp.ClientConnectionError):
        await reading


async def test_an_error_of_our_own_while_reading_is_not_taken_for_a_lost_connection() -> None:
    response: Any = Answer(None)
    response.content = SimpleNamespace(exception=lambda: None)
    with pytest.raises(RuntimeError, match="ours"), InFlight(FakeClock()).reading(response):
        raise RuntimeError("ours")


async def test_who_begins_to_read_after_the_end_is_told_too() -> None:
    """The client was closed just when the answer began."""
    in_flight = InFlight(FakeClock())
    in_flight.end()
    response: Any = Answer(None)
    with in_flight.reading(response):
        assert isinstance(response.error, aiohttp.ClientConnectionError)
