from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import cast

import pytest

from kcpctl.client import AsyncClient, Call, ClientConfig, Response
from kcpctl.clusters import ClusterPool, ConnectionState, ConnectionStatus
from kcpctl.errors import TransportError
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import FakeClock

HANG = "hang"
LIST = "/api/v1/configmaps"
Behaviour = Exception | str | asyncio.Event


def kubeconfig(server: str = "https://east:6443", token: str = "first") -> bytes:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    ).encode()


def config_map(name: str, version: int) -> dict[str, object]:
    meta = {"name": name, "namespace": "default", "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


class InlineLoop:
    """The test's own loop in the place of the I/O loop."""

    on_loop_thread = True

    def call(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)


class FakeTransport:
    """A server whose behaviour the test sets by path; what it is not told about is healthy."""

    def __init__(self, world: World, config: ClientConfig) -> None:
        self.server = config.server
        self.token = config.token
        self.calls: list[str] = []
        self.probed_at: list[float] = []
        self.closed = False
        self._streams: list[asyncio.Queue[bytes]] = []
        self._world = world

    async def request(self, call: Call) -> Response:
        self.calls.append(call.path)
        if self.closed:
            raise TransportError("the client was closed")
        world = self._world
        if call.path == "/readyz":
            self.probed_at.append(world.clock.monotonic())
        told = world.behaviour.get(
            (self.server, call.path), world.behaviour.get((self.token, call.path), "")
        )
        if told == HANG:
            await asyncio.Future()
        if isinstance(told, asyncio.Event):
            await told.wait()
        if isinstance(told, Exception):
            raise told
        if call.path == LIST:
            return Response(200, {}, world.listed())
        body = b'{"gitVersion": "v1.36.0"}' if call.path == "/version" else b"ok"
        return Response(200, {}, body)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """A watch: what the world says from now on, until this is closed."""
        world, lines = self._world, asyncio.Queue[bytes]()
        world.watches.append((self.token or "", str((call.query or {})["resourceVersion"])))
        self._streams.append(lines)
        world.streams.append(lines)
        try:
            yield b""
            while line := await lines.get():
                yield line
            raise TransportError("the client was closed")
        finally:
            world.streams.remove(lines)

    async def close(self) -> None:
        self.closed = True
        for lines in self._streams:
            lines.put_nowait(b"")


class World:
    """A pool among fake clusters, on a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.transports: list[FakeTransport] = []
        self.behaviour: dict[tuple[str, str], Behaviour] = {}
        self.objects: dict[str, int] = {"a": 1}
        self.version = 1
        self.watches: list[tuple[str, str]] = []  # the token and version that each began with
        self.streams: list[asyncio.Queue[bytes]] = []  # of the open ones
        self.notified: list[str] = []
        self.seen: list[ConnectionState] = []
        self.pool = ClusterPool(
            cast(IOLoop, InlineLoop()),
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
            max_objects=300,
            max_bytes=100_000,
            new_client=self.new_client,
        )
        self.pool.subscribe(self._note)

    def new_client(self, config: ClientConfig) -> AsyncClient:
        transport = FakeTransport(self, config)
        self.transports.append(transport)
        return AsyncClient(transport, cluster_name="root")

    def _note(self, key: str) -> None:
        self.notified.append(key)
        status = self.pool.status(key)
        if status is not None:
            self.seen.append(status.state)

    def listed(self) -> bytes:
        """The answer to a list of ConfigMaps."""
        items = [config_map(name, version) for name, version in self.objects.items()]
        meta = {"resourceVersion": str(self.version)}
        return json.dumps({"kind": "ConfigMapList", "metadata": meta, "items": items}).encode()

    def writes(self, name: str) -> None:
        """Write an object, which every open watch tells of."""
        self.version += 1
        self.objects[name] = self.version
        event = {"type": "ADDED", "object": config_map(name, self.version)}
        for stream in self.streams:
            stream.put_nowait(json.dumps(event).encode() + b"\n")

    def calls(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(transport.calls.count(path) for transport in self.transports)

    def closed(self) -> bool:
        """Whether every client was closed."""
        return all(transport.closed for transport in self.transports)

    def breaks(self, error: Behaviour, path: str = "/readyz", *, on: str = "") -> None:
        """Let a path of the server ``on``, or of whoever has the token ``on``, fail."""
        self.behaviour[on or "https://east:6443", path] = error

    def tasks(self) -> list[str]:
        """The names of the pool's tasks."""
        names = [task.get_name() for task in asyncio.all_tasks()]
        return [name for name in names if name.startswith("cluster")]

    def config(self, server: str = "https://east:6443") -> bytes:
        return kubeconfig(server)

    def heals(self) -> None:
        self.behaviour.clear()

    async def ensure(
        self, key: str = "east", *, server: str = "https://east:6443", token: str = "first"
    ) -> None:
        self.pool.ensure(key, kubeconfig(server, token), source=f"Secret of {key}")
        await self.settle()

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    async def step(self, seconds: float, *, by: float = 1.0) -> None:
        """Let time pass in small steps, so that what is due in between happens in between."""
        while seconds > 1e-9:
            self.clock.step(min(by, seconds))
            seconds -= by
            await self.settle()

    def status(self, key: str = "east") -> ConnectionStatus:
        status = self.pool.status(key)
        assert status is not None
        return status

    def series(self) -> int:
        """How many series there are."""
        return sum(len(family.samples) for family in self.metrics.registry.collect())

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.pool.aclose()
    assert made.tasks() == []
    assert all(transport.closed for transport in made.transports)
