"""Probes over a connection of their own: what they save, and that the library has the last word."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.client.pulse import request_head
from kcpctl.errors import CertificateInvalid, KcpctlError, TransportError, TransportTimeout
from kcpctl.testing import FakeClock
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Reply, ScriptedServer

OK = Reply(b"ok")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
async def server(authority: CertificateAuthority) -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(tls=authority.server_context()) as running:
        running.on("GET", "/readyz", OK)
        yield running


@pytest.fixture
async def client(
    server: ScriptedServer, authority: CertificateAuthority
) -> AsyncIterator[AsyncClient]:
    config = ClientConfig(server=server.url, ca=authority.pem, token="t0ken")
    made = AsyncClient.plain(config, request_timeout_seconds=30)
    yield made
    await made.close()


async def ask(client: AsyncClient, *, pulse: bool = True) -> bytes:
    return (await client.request("GET", "/readyz", retry=False, pulse=pulse)).body


async def outcome(client: AsyncClient, *, pulse: bool = True) -> object:
    try:
        return await ask(client, pulse=pulse)
    except KcpctlError as error:
        return type(error), str(error)


def library(client: AsyncClient) -> aiohttp.ClientSession:
    transport: Any = client._transport
    session: aiohttp.ClientSession = transport._session
    return session


async def test_the_first_shows_the_way_and_the_others_share_one_connection_of_their_own(
    server: ScriptedServer, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ask(client) == b"ok"
    monkeypatch.setattr(library(client), "_request", None)  # which costs twice as much
    assert [await ask(client) for _ in range(5)] == [b"ok"] * 5
    assert server.live_connections == 2
    first, *others = (one.headers for one in server.received)
    assert all(one["authorization"] == ["Bearer t0ken"] for one in others)
    assert all(one["host"] == first["host"] for one in others)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(status=401),
        Reply(status=403),
        Reply(status=500, body=b"[-]etcd failed"),
        Reply(status=302, headers={"Location": "/elsewhere"}),
        Reply(status=204),
        Reply(chunks=[b"o", b"k"]),
        Reply(b"ok", headers={"Warning": '299 - "old"'}),
        Reply(b"ok", headers={"Content-Length": "7"}),
        Reply(b"ok", headers={"Connection": "close"}),
        Reply(b"x" * 100_000),
        Reply(b"ok", ending="cut", truncate=5),
        Reply(status=0, ending="reset"),
    ],
    ids=str,
)
async def test_of_all_other_answers_it_makes_what_the_library_makes(
    server: ScriptedServer, client: AsyncClient, answer: Reply
) -> None:
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    server.on("GET", "/readyz", answer)
    by_pulse, by_library = await outcome(client), await outcome(client, pulse=False)
    assert by_pulse == by_library
    server.on("GET", "/readyz", OK)
    assert [await ask(client) for _ in range(3)] == [b"ok"] * 3


async def test_a_server_that_it_does_not_understand_is_asked_twice_ever_more_seldom(
    server: ScriptedServer, client: AsyncClient
) -> None:
    await ask(client)
    server.on("GET", "/readyz", Reply(chunks=[b"ok"]))
    before = len(server.received)
    for _ in range(30):
        assert await ask(client) == b"ok"
    assert len(server.received) - before == 35  # once more, and after 1, 2, 4 and 8 others


async def test_a_server_with_a_certificate_of_somebody_else_is_not_trusted(
    server: ScriptedServer, client: AsyncClient
) -> None:
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    await server.stop()
    server._tls = CertificateAuthority().server_context()
    await server.start()
    count = len(server.received)
    for _ in range(3):
        with pytest.raises(CertificateInvalid):
            await ask(client)
    assert len(server.received) == count


async def test_a_server_that_comes_back_is_asked_over_a_new_connection(
    server: ScriptedServer, client: AsyncClient
) -> None:
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    await server.stop()
    with pytest.raises(TransportError):
        await ask(client)
    await server.start()
    assert [await ask(client) for _ in range(3)] == [b"ok"] * 3
    assert server.live_connections == 2


async def test_answers_to_nothing_end_the_connection(
    server: ScriptedServer, client: AsyncClient
) -> None:
    await ask(client)
    await ask(client)
    pulse: Any = client._transport._pulse  # type: ignore[attr-defined]
    assert pulse._connection is not None
    for writer in list(server._writers):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await server.until(lambda: server.live_connections == 1)
    assert pulse._connection is None
    assert await ask(client) == b"ok"


async def test_one_that_hangs_times_out_and_leaves_no_connection(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    config = ClientConfig(server=server.url, ca=authority.pem)
    client = AsyncClient.plain(config, request_timeout_seconds=0.2)
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    server.on("GET", "/readyz", Reply(status=0, ending="hang"))
    with pytest.raises(TransportTimeout):
        await ask(client)
    await server.until(lambda: server.live_connections == 1)
    await client.close()


async def test_closing_the_client_ends_one_under_way_and_its_connection(
    server: ScriptedServer, client: AsyncClient
) -> None:
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    server.on("GET", "/readyz", Reply(status=0, ending="hang"))
    count = len(server.received)
    asking = asyncio.ensure_future(ask(client))
    await server.until(lambda: len(server.received) == count + 1)
    await client.close()
    with pytest.raises(TransportError, match="the client was closed meanwhile"):
        await asking
    await server.until(lambda: server.live_connections == 0)
    with pytest.raises(TransportError, match="is closed"):
        await ask(client)


async def test_a_renewed_token_is_sent_and_a_refused_one_renewed(
    server: ScriptedServer, authority: CertificateAuthority, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    clock = FakeClock()
    config = ClientConfig(server=server.url, ca=authority.pem, token_file=file)
    client = AsyncClient.plain(config, clock=clock)
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    file.write_text("new")
    clock.step(61)
    assert await ask(client) == b"ok"
    assert server.received[-1].header("authorization") == "Bearer new"
    file.write_text("newest")
    server.on("GET", "/readyz", Reply(status=401), Reply(status=401), OK)
    assert await ask(client) == b"ok"
    assert server.received[-1].header("authorization") == "Bearer newest"
    await client.close()


async def test_other_certificates_make_another_connection(
    server: ScriptedServer, client: AsyncClient, authority: CertificateAuthority
) -> None:
    assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
    transport: Any = client._transport
    before = transport._pulse._connection
    renewed = ssl.create_default_context(cadata=authority.pem.decode())
    transport._tls = (transport._tls[0], renewed)
    assert await ask(client) == b"ok"
    assert transport._pulse._connection is not before
    assert transport._pulse._connection.context is renewed


async def test_nothing_goes_past_a_proxy(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    config = ClientConfig(server=server.url, ca=authority.pem, proxy_url="http://127.0.0.1:9")
    client = AsyncClient.plain(config)
    for _ in range(2):
        with pytest.raises(TransportError, match="refused by the proxy"):
            await ask(client)
    assert server.received == []
    await client.close()


@pytest.mark.parametrize("value", ["a\r\nHost: b", "a\nb", "ä", "a\tb", "a\0"])
def test_no_header_becomes_two(value: str) -> None:
    assert request_head("/readyz", URL("https://a"), {"Authorization": value}) is None


def test_a_request_is_below_the_servers_url() -> None:
    head = request_head("/readyz", URL("https://[::1]:6443/k8s/"), {"A": "b"})
    assert head == b"GET /k8s/readyz HTTP/1.1\r\nHost: [::1]:6443\r\nA: b\r\n\r\n"
    assert request_head("/ready z", URL("https://a"), {}) is None
