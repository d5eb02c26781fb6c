"""The client against a scripted server over TLS, with a throw-away CA, and through proxies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from kcpctl.client import AsyncClient, ClientConfig, ExecPlugin, http
from kcpctl.client.connections import prepare_stream
from kcpctl.client.tls import share_read_buffer
from kcpctl.errors import CertificateInvalid, ConnectionRefused, TransportError, TransportTimeout
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Reply, ScriptedServer


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
async def server(authority: CertificateAuthority) -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(tls=authority.server_context()) as running:
        running.on("GET", "/readyz", Reply(b"ok"))
        yield running


async def readyz(config: ClientConfig) -> bytes:
    client = AsyncClient.plain(config, request_timeout_seconds=30)
    try:
        return (await client.request("GET", "/readyz", retry=False)).body
    finally:
        await client.close()


async def test_the_given_ca_is_trusted(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    assert await readyz(ClientConfig(server=server.url, ca=authority.pem)) == b"ok"


async def test_another_ca_is_not_trusted(server: ScriptedServer) -> None:
    with pytest.raises(CertificateInvalid, match="certificate is not accepted") as caught:
        await readyz(ClientConfig(server=server.url, ca=CertificateAuthority().pem, token="s3cret"))
    assert f"GET {server.url}/readyz" in str(caught.value)
    assert server.received == []


async def test_the_systems_store_does_not_know_the_ca(server: ScriptedServer) -> None:
    with pytest.raises(CertificateInvalid):
        await readyz(ClientConfig(server=server.url))


async def test_insecure_takes_any_certificate(server: ScriptedServer) -> None:
    assert await readyz(ClientConfig(server=server.url, insecure=True)) == b"ok"


async def test_an_expired_certificate_is_said(authority: CertificateAuthority) -> None:
    async with ScriptedServer(tls=authority.server_context(expired=True)) as server:
        with pytest.raises(CertificateInvalid, match="certificate has expired"):
            await readyz(ClientConfig(server=server.url, ca=authority.pem))


async def test_a_certificate_for_another_host_is_said(authority: CertificateAuthority) -> None:
    context = authority.server_context(dns_names=("api.example",), ip_addresses=())
    async with ScriptedServer(tls=context) as server:
        with pytest.raises(CertificateInvalid, match=r"127\.0\.0\.1"):
            await readyz(ClientConfig(server=server.url, ca=authority.pem))


async def test_the_servers_name_may_be_given(authority: CertificateAuthority) -> None:
    context = authority.server_context(dns_names=("api.example",), ip_addresses=())
    async with ScriptedServer(tls=context) as server:
        server.on("GET", "/readyz", Reply(b"ok"))
        config = ClientConfig(server=server.url, ca=authority.pem, server_name="api.example")
        assert await readyz(config) == b"ok"


async def test_a_client_certificate_is_shown(authority: CertificateAuthority) -> None:
    cert, key = authority.issue("me")
    context = authority.server_context(want_client_certificate=True)
    async with ScriptedServer(tls=context) as server:
        server.on("GET", "/readyz", Reply(b"ok"))
        config = ClientConfig(server=server.url, ca=authority.pem, client_cert=cert, client_key=key)
        assert await readyz(config) == b"ok"


async def test_a_client_certificate_that_is_missing_is_an_error(
    authority: CertificateAuthority,
) -> None:
    context = authority.server_context(want_client_certificate=True)
    async with ScriptedServer(tls=context) as server:
        with pytest.raises(TransportError):
            await readyz(ClientConfig(server=server.url, ca=authority.pem))


async def test_a_client_certificate_of_a_plugin_is_shown_and_renewed_au_07(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    """AU-07."""
    version = "client.authentication.k8s.io/v1"
    cert, key = authority.issue("me")
    status = {"clientCertificateData": cert.decode(), "clientKeyData": key.decode()}
    output = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    (tmp_path / "output").write_text(json.dumps(output))
    spec = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "output")]}
    context = authority.server_context(want_client_certificate=True)
    async with ScriptedServer(tls=context) as server:
        server.on("GET", "/readyz", Reply(status=401), Reply(b"ok"))
        plugin = ExecPlugin(spec, {})
        config = ClientConfig(server=server.url, ca=authority.pem, exec_plugin=plugin)
        client = AsyncClient.plain(config)
        with pytest.raises(Exception, match="answered 401"):
            await client.request("GET", "/readyz")
        assert (await client.request("GET", "/readyz")).body == b"ok"
        await client.close()


async def test_plain_http_on_the_other_side_is_said(authority: CertificateAuthority) -> None:
    async with ScriptedServer() as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(TransportError, match=r"during the TLS handshake; does it speak TLS\?"):
            await readyz(ClientConfig(server=url, ca=authority.pem))


async def test_an_http_answer_to_the_handshake_is_said(authority: CertificateAuthority) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    with pytest.raises(TransportError, match="the TLS handshake failed: wrong version number"):
        await readyz(ClientConfig(server=url, ca=authority.pem))
    listener.close()


async def test_a_handshake_that_hangs_times_out(authority: CertificateAuthority) -> None:
    async with ScriptedServer() as server:
        # It reads the client's greeting as a request line that never ends.
        url = server.url.replace("http:", "https:")
        client = AsyncClient.plain(
            ClientConfig(server=url, ca=authority.pem), request_timeout_seconds=0.1
        )
        server.hold_connections()
        with pytest.raises(TransportTimeout):
            await client.request("GET", "/readyz")
        await server.until(lambda: server.live_connections == 0)
        await client.close()


async def test_tls_on_the_other_side_is_said(server: ScriptedServer) -> None:
    with pytest.raises(TransportError):
        await readyz(ClientConfig(server=server.url.replace("https:", "http:")))


async def test_a_refused_tls_connection_is_a_refusal(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    await server.stop()
    with pytest.raises(ConnectionRefused):
        await readyz(ClientConfig(server=server.url, ca=authority.pem))


async def test_an_idle_connection_has_the_small_read_buffer(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    # Peers 2.2: 256 KiB for each of a thousand watches would be a quarter of a gigabyte.
    await readyz(ClientConfig(server=server.url, ca=authority.pem))
    assert asyncio.sslproto.SSLProtocol.max_size == 16 * 1024


async def test_quiet_watches_share_a_read_buffer_and_mix_nothing_up(
    server: ScriptedServer, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Peers 2.2; each has lines of its own, longer than the buffer.
    buffers: set[int] = set()
    seen: list[int] = []

    def noting(response: aiohttp.ClientResponse) -> None:
        prepare_stream(response)
        assert response.connection is not None
        protocol = response.connection.transport._ssl_protocol  # type: ignore[union-attr]
        assert "peercert" not in protocol._extra  # decoded, 1.4 KiB, and for nobody
        buffers.add(id(protocol._ssl_buffer))
        seen.append(len(protocol._ssl_buffer))

    monkeypatch.setattr(http, "prepare_stream", noting)
    client = AsyncClient.plain(ClientConfig(server=server.url, ca=authority.pem))

    async def read(number: int) -> bool:
        lines = [bytes([65 + number]) * 100_000 + b"\n" for _ in range(20)]
        server.on("GET", f"/{number}", Reply(chunks=lines))
        chunks = [chunk async for chunk in client.stream(f"/{number}", timeout_seconds=10)]
        return b"".join(chunks) == b"".join(lines)

    assert await asyncio.gather(*map(read, range(8))) == [True] * 8
    assert len(buffers) == 1
    assert seen == [16 * 1024] * 8
    await client.close()


def test_loops_do_not_share_a_read_buffer(authority: CertificateAuthority) -> None:
    # They run on threads of their own.
    async def buffer() -> object:
        share_read_buffer(transport)
        return transport._ssl_protocol._ssl_buffer

    protocol = SimpleNamespace(max_size=1, _ssl_buffer=None, _ssl_buffer_view=None)
    transport: Any = SimpleNamespace(_ssl_protocol=protocol)
    assert asyncio.run(buffer()) is not asyncio.run(buffer())


async def test_another_kind_of_connection_is_left_alone() -> None:
    transport: Any = SimpleNamespace(_ssl_protocol=SimpleNamespace(max_size=5))
    share_read_buffer(transport)
    assert transport._ssl_protocol == SimpleNamespace(max_size=5)
    share_read_buffer(SimpleNamespace())  # type: ignore[arg-type]


# Proxies.


class Proxy:
    """A proxy that tunnels CONNECT, or refuses it, and notes what was asked for."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.asked: list[str] = []
        self._refuse = refuse
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.splitlines()[0])
        if self._refuse:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        upstream = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for source, sink in ((reader, upstream[1]), (upstream[0], writer)):
            self._pumps.add(asyncio.get_running_loop().create_task(self._pump(source, sink)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()


async def test_a_proxy_is_used_when_the_configuration_names_one(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    proxy = Proxy()
    url = await proxy.start()
    config = ClientConfig(server=server.url, ca=authority.pem, proxy_url=url)
    assert await readyz(config) == b"ok"
    assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
    await proxy.stop()


async def test_the_environment_alone_does_not_name_one(
    server: ScriptedServer, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await readyz(ClientConfig(server=server.url, ca=authority.pem)) == b"ok"


async def test_a_proxy_that_refuses_is_said(
    server: ScriptedServer, authority: CertificateAuthority
) -> None:
    proxy = Proxy(refuse=True)
    config = ClientConfig(server=server.url, ca=authority.pem, proxy_url=await proxy.start())
    with pytest.raises(TransportError, match="the proxy answered 403"):
        await readyz(config)
    await proxy.stop()


async def test_a_proxy_that_is_not_there_is_said(authority: CertificateAuthority) -> None:
    config = ClientConfig(server="https://host", ca=authority.pem, proxy_url="http://127.0.0.1:9")
    with pytest.raises(ConnectionRefused, match="refused by the proxy"):
        await readyz(config)
