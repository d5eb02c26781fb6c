from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.client.limiter import TokenBucket
from kcpctl.errors import UsageError
from kcpctl.runtime.ioloop import IOLoop
from kcpctl.runtime.tasks import gather_all
from kcpctl.testing.clock import FakeClock


class ImpatientClock(FakeClock):
    async def asleep(self, seconds: float) -> None:
        self.step(seconds)


@pytest.mark.parametrize(("qps", "burst"), [(0, 1), (-1, 1), (5, 0), (5, -1)])
def test_a_bucket_that_lets_nothing_pass_is_refused_rc_02(qps: float, burst: int) -> None:
    """RC-02."""
    with pytest.raises(UsageError, match="qps > 0 and burst >= 1"):
        TokenBucket(qps, burst)


async def test_a_burst_passes_at_once_and_the_next_waits() -> None:
    """RC-01, RT-10."""
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
    """RC-20, RT-10: it hears of its cancel or deadline, and of nothing of ours."""
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


def test_the_rate_is_kept_for_long() -> None:
    """RT-10: what a thousand waits round away must not add up."""

    async def run() -> float:
        clock = ImpatientClock()
        bucket = TokenBucket(3, 1, clock=clock)
        started = clock.monotonic()
        for _ in range(3001):
            await bucket.acquire()
        return clock.monotonic() - started

    assert asyncio.run(run()) == pytest.approx(1000, rel=1e-6)


def test_threads_share_a_bucket() -> None:
    """RT-10: the calls of all threads meet on the loop."""
    clock = FakeClock()
    bucket = TokenBucket(1, 3, clock=clock)
    with IOLoop("test-io") as loop:
        futures = [loop.submit(bucket.acquire()) for _ in range(8)]
        while clock.sleepers < 5:
            loop.run(asyncio.sleep(0))
        assert sum(future.done() for future in futures) == 3
        clock.step(5)
        waits = sorted(future.result() for future in futures)
    assert waits == [0, 0, 0, 1, 2, 3, 4, 5]


async def test_waits_are_logged_and_long_ones_louder_but_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RC-05."""
    caplog.set_level(logging.DEBUG, "kcpctl.client.limiter")
    clock = FakeClock()
    bucket = TokenBucket(25, 1, clock=clock)

    async def waiting(count: int) -> list[str]:
        caplog.clear()
        tasks = [asyncio.ensure_future(bucket.acquire()) for _ in range(count)]
        await asyncio.sleep(0)
        clock.step(count)
        await asyncio.gather(*tasks)
        return [record.levelname for record in caplog.records]

    # 0, 40, 80, ... ms: the first two are not worth a line.
    assert await waiting(4) == ["DEBUG", "DEBUG"]
    levels = await waiting(40)
    assert levels.count("WARNING") == 1
    assert levels.index("WARNING") == 24
    clock.step(-40 + 5)
    assert "WARNING" not in await waiting(40)
    clock.step(10)
    assert (await waiting(40)).count("WARNING") == 1


async def test_without_qps_everything_passes_until_there_is_some() -> None:
    bucket = TokenBucket(None, clock=ImpatientClock())
    assert [await bucket.acquire() for _ in range(100)] == [0.0] * 100
    bucket.change(5, 1)
    assert [await bucket.acquire() for _ in range(2)] == pytest.approx([0, 0.2])
    bucket.change(None)
    assert await bucket.acquire() == 0.0


async def test_a_change_that_would_let_nothing_pass_changes_nothing_rc_02() -> None:
    bucket = TokenBucket(5, 1, clock=ImpatientClock())
    with pytest.raises(UsageError):
        bucket.change(0, 1)
    assert [await bucket.acquire() for _ in range(2)] == pytest.approx([0, 0.2])
