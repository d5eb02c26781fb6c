from __future__ import annotations

import asyncio

import pytest

from kcpctl.runtime import SYSTEM_CLOCK, Limit
from kcpctl.testing import FakeClock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def limited(clock: FakeClock, done: asyncio.Event) -> str:
    try:
        async with Limit(5, clock):
            await done.wait()
    except TimeoutError:
        return "late"
    return "done"


async def test_what_takes_too_long_is_cancelled_and_raises_timeout_error() -> None:
    clock = FakeClock()
    task = asyncio.ensure_future(limited(clock, asyncio.Event()))
    await settle()
    clock.step(4.9)
    await settle()
    assert not task.done()
    clock.step(0.1)
    assert await task == "late"
    assert task.cancelling() == 0


async def test_what_ends_in_time_leaves_no_timer() -> None:
    clock, done = FakeClock(), asyncio.Event()
    task = asyncio.ensure_future(limited(clock, done))
    await settle()
    assert clock.sleepers == 1
    done.set()
    assert await task == "done"
    assert clock.sleepers == 0


async def test_a_cancel_from_outside_is_no_timeout() -> None:
    clock = FakeClock()
    task = asyncio.ensure_future(limited(clock, asyncio.Event()))
    await settle()
    clock.step(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with Limit(5, FakeClock()):
            raise ValueError("mine")


async def test_the_systems_clock_keeps_limits_too() -> None:
    with pytest.raises(TimeoutError):
        async with Limit(0.001, SYSTEM_CLOCK):
            await asyncio.Event().wait()
