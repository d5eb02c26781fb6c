"""Whoever waits for something other than the server is woken by close, too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, ClientConfig, ExecPlugin
from kcpctl.client.credentials import Credential
from kcpctl.client.http import HttpTransport
from kcpctl.errors import TransportError
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock
from kcpctl.testing.scripted import Reply, ScriptedServer, status_body

BUSY = Reply(status_body(429, "TooManyRequests"), status=429, headers={"Retry-After": "20"})


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        running.on("GET", "/readyz", BUSY)
        yield running


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.001)


async def closed_while(client: AsyncClient, waits: Callable[[], object]) -> None:
    """Close the client once its call waits, and expect the call to end at once."""
    call = asyncio.ensure_future(client.request("GET", "/readyz"))
    await until(waits)
    await client.close()
    with pytest.raises(TransportError, match="is closed"):
        await call


async def test_a_call_that_waits_to_be_sent_again(server: ScriptedServer) -> None:
    """RC-12."""
    clock = FakeClock()
    client = AsyncClient.plain(ClientConfig(server=server.url), clock=clock)
    await closed_while(client, lambda: clock.sleepers)
    assert len(server.received) == 1


async def test_a_call_that_waits_for_the_limit(server: ScriptedServer) -> None:
    """RC-12."""
    server.on("GET", "/readyz", Reply(b"ok"))
    clock = FakeClock()
    client = AsyncClient.plain(ClientConfig(server=server.url), clock=clock, qps=0.01, burst=1)
    await client.request("GET", "/readyz")
    await closed_while(client, lambda: clock.sleepers)
    assert len(server.received) == 1


async def test_a_call_that_waits_for_a_plugin_which_is_killed(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """AU-04: the plugin has no say in when we end, nor have its children."""
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 5 & wait"
    version = "client.authentication.k8s.io/v1"
    spec = {"apiVersion": version, "command": "sh", "args": ["-c", script]}
    config = ClientConfig(server=server.url, exec_plugin=ExecPlugin(spec, {}))
    client = AsyncClient.plain(config)
    await closed_while(client, pid.exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


class NotSignedYet:
    """Credentials that somebody has to approve first."""

    def __init__(self) -> None:
        self.asked = False

    async def current(self) -> Credential:
        self.asked = True
        await asyncio.Event().wait()
        raise AssertionError("nobody approves it")

    async def renew(self, rejected: Credential) -> bool:
        raise AssertionError(f"nobody was refused: {rejected}")


async def test_a_call_that_waits_for_a_certificate(server: ScriptedServer) -> None:
    credentials = NotSignedYet()
    transport = HttpTransport(ClientConfig(server=server.url), credentials=credentials)
    client = AsyncClient(transport, cluster_name="root")
    await closed_while(client, lambda: credentials.asked)
    assert server.received == []


async def test_a_call_after_the_close(server: ScriptedServer) -> None:
    client = AsyncClient.plain(ClientConfig(server=server.url))
    await client.close()
    with pytest.raises(TransportError, match="is closed"):
        await client.request("GET", "/readyz")
    assert server.received == []


async def test_a_watch_that_is_followed(server: ScriptedServer) -> None:
    """RW-04: it is not opened again."""
    server.on("GET", "/api/v1/configmaps", Reply(chunks=[b"\n"], ending="hang"))
    client = AsyncClient.plain(ClientConfig(server=server.url))
    following = asyncio.ensure_future(anext(client.resource(CONFIG_MAPS).watch_from("1")))
    await until(lambda: server.received)
    await client.close()
    with pytest.raises(TransportError, match="closed"):
        await following
    assert len(server.received) == 1


async def test_a_thread_that_follows_a_watch(server: ScriptedServer) -> None:
    """RW-04: another thread ends it by closing the client."""
    server.on("GET", "/api/v1/configmaps", Reply(chunks=[b"\n"], ending="hang"))
    with IOLoop("test-io") as loop:
        client = Client(AsyncClient.plain(ClientConfig(server=server.url)), loop)

        def follow() -> None:
            with pytest.raises(TransportError, match="closed"):
                next(client.resource(CONFIG_MAPS).watch_from("1"))

        following = asyncio.ensure_future(asyncio.to_thread(follow))
        await until(lambda: server.received)
        await asyncio.to_thread(client.close)
        await following
