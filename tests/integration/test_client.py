"""The client against a scripted server, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.errors import (
    ConnectionRefused,
    Expired,
    Forbidden,
    InternalError,
    ServiceUnavailable,
    TooManyRequests,
    TransportError,
    TransportTimeout,
    Unauthorized,
)
from kcpctl.runtime.metrics import Metrics
from kcpctl.testing.clock import FakeClock
from kcpctl.testing.scripted import Reply, ScriptedServer, status_body, watch_line

MAPS = "/api/v1/namespaces/default/configmaps"
ONE = f"{MAPS}/one"
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


class ImpatientClock(FakeClock):
    """A clock whose sleeps are over at once, and are written down."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.step(seconds)


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
async def client(server: ScriptedServer, clock: ImpatientClock) -> AsyncIterator[AsyncClient]:
    made = AsyncClient.plain(
        ClientConfig(server=server.url, token="s3cret"), clock=clock, request_timeout_seconds=5
    )
    yield made
    await made.close()


async def get_one(client: AsyncClient) -> object:
    return await client.resource(CONFIG_MAPS).get("one", namespace="default")


async def test_a_get_returns_the_object_and_sends_the_token(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", ONE, Reply(CONFIG_MAP))
    assert await get_one(client) == CONFIG_MAP
    assert server.received[0].header("Authorization") == "Bearer s3cret"
    assert server.received[0].header("User-Agent") == "kcpctl"
    assert server.received[0].header("Accept") == "application/json"
