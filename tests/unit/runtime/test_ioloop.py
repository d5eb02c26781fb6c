from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping

import pytest

from kcpctl.runtime import IOLoop, log_fields
from kcpctl.runtime.logging import current_fields


@pytest.fixture
def loop() -> Iterator[IOLoop]:
    with IOLoop("test-io") as made:
        yield made


async def where() -> str:
    return threading.current_thread().name


def test_a_coroutine_runs_on_the_loops_thread(loop: IOLoop) -> None:
    assert loop.run(where()) == "test-io"
    assert not loop.on_loop_thread


def test_an_error_reaches_the_caller(loop: IOLoop) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        loop.run(fail())


def test_blocking_on_the_loops_own_thread_raises_instead_of_deadlocking(loop: IOLoop) -> None:
    async def block() -> None:
        loop.run(where())

    with pytest.raises(RuntimeError, match="I/O thread"):
        loop.run(block())


def test_cancelling_the_future_cancels_the_coroutine(loop: IOLoop) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    future = loop.submit(wait())
    assert started.wait(30)
    future.cancel()
    assert cancelled.wait(30)


def test_close_cancels_what_is_left_and_joins_the_thread() -> None:
    loop = IOLoop("closing-io")
    ended = threading.Event()
    started = threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop.submit(wait())
    assert started.wait(30)
    loop.close()
    loop.close()
    assert ended.is_set()
    assert "closing-io" not in {thread.name for thread in threading.enumerate()}


def test_close_ends_the_connections_that_nobody_closed() -> None:
    """A TLS connection that waits for the other side's goodbye looks like this from below."""
    told = threading.Event()

    class Watcher(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            told.set()

    async def connect() -> None:
        await asyncio.get_running_loop().create_connection(Watcher, *server.getsockname())

    with socket.create_server(("127.0.0.1", 0)) as server:
        with IOLoop() as loop:
            loop.run(connect())
            peer, _ = server.accept()
        with peer:
            peer.settimeout(5)
            assert peer.recv(1) == b""
    assert told.is_set()


def test_a_closed_loop_refuses_work() -> None:
    loop = IOLoop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run(where())
    loop.call(lambda: None)


def test_call_runs_a_callback_on_the_loop(loop: IOLoop) -> None:
    names: list[str] = []
    done = threading.Event()

    def note() -> None:
        names.append(threading.current_thread().name)
        done.set()

    loop.call(note)
    assert done.wait(30)
    assert names == ["test-io"]


def test_a_callback_does_not_inherit_the_callers_log_fields(loop: IOLoop) -> None:
    seen: list[Mapping[str, object]] = []
    done = threading.Event()

    def note() -> None:
        seen.append(current_fields())
        done.set()

    with log_fields(reconcileID="1"):
        loop.call(note)
    assert done.wait(30)
    assert seen == [{}]
