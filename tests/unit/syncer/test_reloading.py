from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from kcpctl.client import Call, ClientConfig, Response
from kcpctl.errors import ConfigError, Unauthorized
from kcpctl.syncer.reloading import ReloadingTransport
from kcpctl.testing.clock import FakeClock

CALL = Call("GET", "/x")


class Wire:
    """What all transports of a test share: the tokens that the server accepts."""

    def __init__(self) -> None:
        self.accepted = {"one"}
        self.closed: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()


class FakeTransport:
    def __init__(self, wire: Wire, config: ClientConfig) -> None:
        self._wire = wire
        self._token = config.token
        self.server = config.server

    async def request(self, call: Call) -> Response:
        await self._wire.hold.wait()
        if self._token not in self._wire.accepted:
            raise Unauthorized("who are you")
        return Response(200, {}, self._token.encode())

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        if self._token not in self._wire.accepted:
            raise Unauthorized("who are you")
        yield self._token.encode()
        await self._wire.hold.wait()
        yield b"end"

    async def close(self) -> None:
        self._wire.closed.append(self._token)


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text("one")
    return path


def write(path: Path, content: str | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_text(content)


def load(path: Path) -> ClientConfig:
    token = path.read_text()
    if token == "garbage":
        raise ConfigError(f"{path}: not a kubeconfig")
    return ClientConfig(server="https://upstream", token=token)


@pytest.fixture
async def transport(
    wire: Wire, clock: FakeClock, file: Path
) -> AsyncGenerator[ReloadingTransport, None]:
    made = ReloadingTransport(
        file,
        load(file),
        load=load,
        make=lambda config: FakeTransport(wire, config),
        clock=clock,
    )
    yield made
    await made.close()


async def sent(transport: ReloadingTransport) -> bytes:
    return (await transport.request(CALL)).body


async def test_a_rewritten_file_is_used_within_a_minute(
    transport: ReloadingTransport, wire: Wire, clock: FakeClock, file: Path
) -> None:
    wire.accepted.add("two")
    write(file, "two")
    clock.step(59)
    assert await sent(transport) == b"one"
    clock.step(1)
    assert await sent(transport) == b"two"
    assert wire.closed == ["one"]


async def test_a_401_reads_the_file_at_once_and_tries_again(
    transport: ReloadingTransport, wire: Wire, file: Path
) -> None:
    wire.accepted = {"two"}
    write(file, "two")
    assert await sent(transport) == b"two"


async def test_a_401_of_a_watch_does_the_same(
    transport: ReloadingTransport, wire: Wire, file: Path
) -> None:
    wire.accepted = {"two"}
    write(file, "two")
    assert [chunk async for chunk in transport.stream(CALL)] == [b"two", b"end"]


async def test_a_401_with_the_same_file_is_reported(
    transport: ReloadingTransport, wire: Wire
) -> None:
    wire.accepted = set()
    with pytest.raises(Unauthorized):
        await sent(transport)
    with pytest.raises(Unauthorized):
        [chunk async for chunk in transport.stream(CALL)]


@pytest.mark.parametrize("content", ["garbage", None])
async def test_a_damaged_or_missing_file_keeps_the_last_good_one(
    transport: ReloadingTransport, clock: FakeClock, file: Path, content: str | None
) -> None:
    write(file, content)
    clock.step(60)
    assert await sent(transport) == b"one"


async def test_running_watches_and_calls_end_on_their_own(
    transport: ReloadingTransport, wire: Wire, clock: FakeClock, file: Path
) -> None:
    stream = transport.stream(CALL)
    assert await anext(stream) == b"one"
    wire.accepted.add("two")
    write(file, "two")
    clock.step(60)
    assert await sent(transport) == b"two"
    assert wire.closed == []
    assert [chunk async for chunk in stream] == [b"end"]
    assert wire.closed == ["one"]


async def test_many_calls_read_the_file_once(
    transport: ReloadingTransport,
    wire: Wire,
    clock: FakeClock,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []

    def counted(path: Path) -> ClientConfig:
        reads.append(path)
        return load(path)

    monkeypatch.setattr(transport, "_load", counted)
    wire.accepted.add("two")
    write(file, "two")
    clock.step(60)
    answers = await asyncio.gather(*(sent(transport) for _ in range(5)))
    assert b"two" in answers
    assert len(reads) == 1
    assert wire.closed == ["one"]
