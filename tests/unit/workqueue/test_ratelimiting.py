"""The rate limiting queue: RL-14 and RL-15 of the client-go behaviours."""

from __future__ import annotations

import pytest

from kcpctl.testing import FakeClock
from kcpctl.workqueue import ItemFastSlow, RateLimitingQueue


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> RateLimitingQueue[str]:
    return RateLimitingQueue("test", limiter=ItemFastSlow(1, 10, 1), clock=clock)


def test_a_rate_limited_key_comes_after_the_limiters_delay(
    queue: RateLimitingQueue[str], clock: FakeClock
) -> None:
    """RL-14."""
    queue.add_rate_limited("a")
    assert queue.snapshot().waiting == {"a": 1}
    clock.step(1)
    queue.done(queue.get(0))
    queue.add_rate_limited("a")
    assert queue.snapshot().waiting == {"a": 10}
    assert queue.num_requeues("a") == 2


def test_forget_clears_failures_but_not_the_queue(
    queue: RateLimitingQueue[str], clock: FakeClock
) -> None:
    """RL-15."""
    queue.add_rate_limited("waiting")
    queue.add("queued")
    queue.forget("waiting")
    queue.forget("queued")
    assert queue.num_requeues("waiting") == 0
    assert len(queue) == 1
    clock.step(1)
    assert len(queue) == 2


def test_forget_does_not_replace_done(queue: RateLimitingQueue[str]) -> None:
    """RL-15."""
    queue.add("a")
    queue.get(0)
    queue.forget("a")
    assert queue.snapshot().processing.keys() == {"a"}


def test_each_queue_has_a_limiter_of_its_own() -> None:
    """Decision 14: nothing is shared between queues."""
    one: RateLimitingQueue[str] = RateLimitingQueue()
    other: RateLimitingQueue[str] = RateLimitingQueue()
    one.add_rate_limited("a")
    assert other.num_requeues("a") == 0
