"""Deadlines of worker threads, and the calls on the I/O loop that keep them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from kcpctl.errors import DeadlineExceeded
from kcpctl.runtime import Deadline, IOLoop, start_thread
from kcpctl.testing import FakeClock, eventually


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    with IOLoop("test-io") as io_loop:
        yield io_loop


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def deadline(clock: FakeClock) -> Iterator[Deadline]:
    """One of ten seconds, that this thread has to keep."""
    made = Deadline(10, clock=clock)
    made.start()
    yield made
    made.end()


async def answer() -> str:
    await asyncio.sleep(0)
    return "answer"


async def fail() -> None:
    raise OSError("broken")


@pytest.mark.usefixtures("deadline")
def test_a_call_that_takes_too_long_is_cancelled(io_loop: IOLoop, clock: FakeClock) -> None:
    ended: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    def let_time_pass() -> None:
        eventually(lambda: clock.sleepers, poll_seconds=0.001)
        clock.step(10)

    thread = start_thread(let_time_pass, name="test-time")
    with pytest.raises(DeadlineExceeded, match="within 10 s"):
        io_loop.run(hang())
    thread.join()
    assert ended == ["cancelled"]


@pytest.mark.usefixtures("deadline")
def test_a_call_that_begins_too_late_is_not_begun(io_loop: IOLoop, clock: FakeClock) -> None:
    clock.step(10)
    begun: list[str] = []

    async def begin() -> None:
        begun.append("begun")

    with pytest.raises(DeadlineExceeded):
        io_loop.run(begin())
    assert begun == []


@pytest.mark.usefixtures("deadline")
def test_what_is_done_in_time_is_as_without(io_loop: IOLoop, clock: FakeClock) -> None:
    clock.step(9)
    assert io_loop.run(answer()) == "answer"
    with pytest.raises(OSError, match="broken"):
        io_loop.run(fail())
    eventually(lambda: clock.sleepers == 0, poll_seconds=0.001)


def test_after_its_end_there_is_time_again(
    io_loop: IOLoop, clock: FakeClock, deadline: Deadline
) -> None:
    clock.step(11)
    deadline.end()
    assert io_loop.run(answer()) == "answer"


@pytest.mark.usefixtures("deadline")
def test_other_threads_have_none(io_loop: IOLoop, clock: FakeClock) -> None:
    clock.step(11)
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(io_loop.run(answer())))
    thread.start()
    thread.join()
    assert answers == ["answer"]


def test_within_a_block_the_deadline_that_comes_sooner_is_kept(clock: FakeClock) -> None:
    with Deadline.within(10, clock=clock):
        outer = Deadline.current()
        with Deadline.within(20, clock=clock):
            assert Deadline.current() is outer
        with Deadline.within(5, clock=clock):
            assert Deadline.current() is not outer
        assert Deadline.current() is outer
    assert Deadline.current() is None
