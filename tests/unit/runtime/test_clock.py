from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.runtime import SYSTEM_CLOCK, format_micro_time, format_time, parse_time, start_thread
from kcpctl.testing.clock import FakeClock


def test_times_are_written_as_the_api_writes_them() -> None:
    assert format_time(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert format_micro_time(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"


@given(st.integers(0, 4_000_000_000))
def test_a_time_survives_writing_and_reading(seconds: int) -> None:
    assert parse_time(format_time(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14T22:13:20"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


def test_the_system_clock_moves_forward() -> None:
    before = SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(0.001)
    assert SYSTEM_CLOCK.monotonic() > before
    assert SYSTEM_CLOCK.time() > 1_700_000_000


def test_the_system_clock_gives_up_waiting_on_a_condition() -> None:
    condition = threading.Condition()
    with condition:
        assert not SYSTEM_CLOCK.wait(condition, 0.001)


async def test_the_system_clock_suspends_a_task() -> None:
    await SYSTEM_CLOCK.asleep(0.001)


async def test_a_fake_sleep_ends_when_the_clock_is_stepped_far_enough() -> None:
    clock = FakeClock()
    task = asyncio.get_running_loop().create_task(clock.asleep(10))
    while not clock.sleepers:
        await asyncio.sleep(0)
    clock.step(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.step(0.1)
    await task
    assert clock.sleepers == 0


async def test_a_cancelled_fake_sleep_leaves_nothing_behind() -> None:
    clock = FakeClock()
    task = asyncio.get_running_loop().create_task(clock.asleep(10))
    while not clock.sleepers:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert clock.sleepers == 0


def test_a_fake_blocking_sleep_ends_when_the_clock_is_stepped() -> None:
    clock = FakeClock()
    thread = start_thread(lambda: clock.sleep(5), name="sleeper")
    while not clock.sleepers:
        pass
    clock.step(5)
    thread.join(30)
    assert not thread.is_alive()


def test_a_jump_moves_the_wall_clock_alone() -> None:
    clock = FakeClock()
    wall, monotonic = clock.time(), clock.monotonic()
    clock.jump(-3600)
    assert clock.time() == wall - 3600
    assert clock.monotonic() == monotonic


def test_a_fake_wait_without_time_left_does_not_wait() -> None:
    condition = threading.Condition()
    with condition:
        assert not FakeClock().wait(condition, 0)
