from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.client.limiter import TokenBucket
from kcpctl.errors import UsageError
from kcpctl.runtime.tasks import gather_all
from kcpctl.testing.clock import FakeClock


class ImpatientClock(FakeClock):
    async def asleep(self, seconds: float) -> None:
        self.step(seconds)


@pytest.mark.parametrize(("qps", "burst"), [(0, 1), (-1, 1), (5, 0), (5, -1)])
def test_a_bucket_that_lets_nothing_pass_is_refused_rc_02(qps: float, burst: int) -> None:
    with pytest.raises(UsageError, match="qps > 0 and burst >= 1"):
        TokenBucket(qps, burst)


async def test_a_burst_passes_at_once_and_the_next_waits() -> None:
    bucket = TokenBucket(5, 2, clock=ImpatientClock())
    waits = [await bucket.acquire() for _ in range(4)]
    assert waits == pytest.approx([0, 0, 0.2, 0.2])


async def test_a_pause_fills_the_bucket_to_the_burst_and_no_further() -> None:
    clock = ImpatientClock()
    bucket = TokenBucket(10, 3, clock=clock)
    for _ in range(3):
        await bucket.acquire()
    clock.step(1000)
    assert [await bucket.acquire() > 0 for _ in range(4)] == [False, False, False, True]


async def test_waiting_callers_pass_one_after_the_other() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1, 1, clock=clock)
    await bucket.acquire()
    waiting = asyncio.gather(bucket.acquire(), bucket.acquire())
    while clock.sleepers < 2:
        await asyncio.sleep(0)
    clock.step(2)
    assert list(await waiting) == [1.0, 2.0]


async def test_a_cancelled_caller_gives_its_turn_back() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1, 1, clock=clock)
    await bucket.acquire()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await gather_all(bucket.acquire())
    clock.step(1)
    assert await bucket.acquire() == 0


@given(st.floats(0.1, 1000), st.integers(1, 50), st.integers(1, 100))
def test_no_more_than_burst_and_rate_pass(qps: float, burst: int, count: int) -> None:
    async def run() -> float:
        clock = ImpatientClock()
        bucket = TokenBucket(qps, burst, clock=clock)
        started = clock.monotonic()
        for _ in range(count):
            await bucket.acquire()
        return clock.monotonic() - started

    assert asyncio.run(run()) >= (count - burst) / qps - 1e-6
