"""The limiters: RL of the client-go behaviours, with decision 15."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.testing import FakeClock
from kcpctl.workqueue import (
    ClusterBucket,
    ItemExponential,
    ItemFastSlow,
    MaxOf,
    RateLimiter,
    WithMaxWait,
    default_limiter,
)


class Longest(random.Random):
    """Always draws the upper end, which shows the ceilings."""

    def random(self) -> float:
        return 0.0


def exponential(base: float = 0.001, cap: float = 1.0) -> ItemExponential[str]:
    return ItemExponential(base, cap, rng=Longest())


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_nonsense_bounds_are_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="want 0 < base"):
        ItemExponential(base, cap)


def test_delays_double_per_key() -> None:
    """RL-01, RL-02."""
    limiter = exponential()
    assert [limiter.when("a") for _ in range(5)] == [0.001, 0.002, 0.004, 0.008, 0.016]
    assert limiter.num_requeues("a") == 5
    assert limiter.when("b") == 0.001


def test_delays_stop_at_the_cap_and_never_overflow() -> None:
    """RL-02, RL-03."""
    limiter = exponential()
    for _ in range(2000):
        limiter.when("a")
    assert limiter.when("a") == 1.0


def test_forget_starts_one_key_over() -> None:
    """RL-04."""
    limiter = exponential()
    for key in ["a", "a", "b"]:
        limiter.when(key)
    limiter.forget("a")
    limiter.forget("never seen")
    assert limiter.num_requeues("a") == 0
    assert limiter.when("a") == 0.001
    assert limiter.when("b") == 0.002


def test_forgotten_keys_leave_nothing_behind() -> None:
    """RL-16."""
    limiter = exponential()
    for index in range(100):
        limiter.when(str(index))
        limiter.forget(str(index))
    assert limiter._failures == {}


@given(seed=st.integers(), failures=st.integers(0, 100))
def test_jitter_is_full_and_within_the_ceiling(seed: int, failures: int) -> None:
    """Decision 15, RL-13 fixed."""
    limiter: ItemExponential[str] = ItemExponential(0.005, 60.0, rng=random.Random(seed))
    for _ in range(failures):
        limiter.when("a")
    assert 0 < limiter.when("a") <= min(0.005 * 2**failures, 60.0)


def test_keys_that_fail_together_do_not_retry_together() -> None:
    """RL-13 fixed."""
    limiter: RateLimiter[str] = default_limiter(rng=random.Random(1))
    assert len({limiter.when(str(index)) for index in range(50)}) == 50


def test_the_default_is_five_milliseconds_to_a_minute_with_no_shared_bucket() -> None:
    """Decisions 14 and 15; RL-05 replaced."""
    limiter: RateLimiter[str] = default_limiter(rng=Longest())
    assert limiter.when("a") == 0.005
    for _ in range(20):
        limiter.when("a")
    assert limiter.when("a") == 60.0
    # A storm of other keys does not delay a key's first retry (RL-12 fixed).
    for index in range(1000):
        limiter.when(f"other-{index}")
    assert limiter.when("b") == 0.005


def test_the_default_reaches_its_cap_with_the_fifteenth_failure_in_a_row() -> None:
    """RL-06 with the cap of decision 15: 5 ms x 2^13 is 41 s, the next one 60 s and not 82."""
    limiter: RateLimiter[str] = default_limiter(rng=Longest())
    delays = [limiter.when("a") for _ in range(16)]
    assert delays[12:] == [0.005 * 2**12, 0.005 * 2**13, 60.0, 60.0]


def test_an_item_limiter_alone_has_the_bounds_of_the_default() -> None:
    """RL-07, PQ-11: there is one default, 5 ms to 60 s, and no bucket in it."""
    limiter: ItemExponential[str] = ItemExponential(rng=Longest())
    default: RateLimiter[str] = default_limiter(rng=Longest())
    assert isinstance(default, ItemExponential)
    assert [limiter.when("a") for _ in range(20)] == [default.when("a") for _ in range(20)]


def test_fast_slow_turns_slow_after_the_fast_ones() -> None:
    """RL-08."""
    limiter: ItemFastSlow[str] = ItemFastSlow(0.005, 10.0, 3)
    assert [limiter.when("a") for _ in range(5)] == [0.005, 0.005, 0.005, 10.0, 10.0]
    limiter.forget("a")
    assert limiter.when("a") == 0.005


def test_max_of_asks_every_limiter_and_takes_the_longest() -> None:
    """RL-09."""
    slow: ItemFastSlow[str] = ItemFastSlow(0.005, 3.0, 3)
    growing = exponential(0.001, 1000.0)
    limiter = MaxOf(slow, growing)
    assert [limiter.when("a") for _ in range(5)] == [0.005, 0.005, 0.005, 3.0, 3.0]
    growing.when("a")
    assert limiter.num_requeues("a") == 6
    limiter.forget("a")
    assert (slow.num_requeues("a"), growing.num_requeues("a")) == (0, 0)


def test_max_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MaxOf()


def test_with_max_wait_caps_and_passes_the_rest_through() -> None:
    """RL-10."""
    limiter = WithMaxWait(exponential(0.001, 1000.0), 0.003)
    assert [limiter.when("a") for _ in range(3)] == [0.001, 0.002, 0.003]
    assert limiter.num_requeues("a") == 3
    limiter.forget("a")
    assert limiter.num_requeues("a") == 0


def test_a_bucket_that_can_give_nothing_is_refused() -> None:
    for qps, burst in [(0, 5), (5, 0)]:
        with pytest.raises(ValueError, match=f"qps \\({qps}\\)"):
            ClusterBucket(qps, burst)


def test_a_bucket_gives_its_burst_at_once_and_then_a_token_at_a_time() -> None:
    """RL-11, RL-19: on the injected clock."""
    clock = FakeClock()
    bucket: ClusterBucket[str] = ClusterBucket(10, 3, clock=clock)
    waits = [bucket.when(f"c|{number}") for number in range(5)]
    assert waits == pytest.approx([0, 0, 0, 0.1, 0.2])
    clock.step(0.3)
    assert bucket.when("c|x") == pytest.approx(0)
    assert bucket.when("c|x") == pytest.approx(0.1)
    clock.step(1000)
    assert [bucket.when("c|x") for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_a_bucket_counts_nothing_by_key_and_takes_no_token_back() -> None:
    """RL-11."""
    bucket: ClusterBucket[str] = ClusterBucket(10, 1, clock=FakeClock())
    bucket.when("c|a")
    bucket.forget("c|a")
    assert bucket.num_requeues("c|a") == 0
    assert bucket.when("c|a") == pytest.approx(0.1)


def test_no_cluster_waits_for_the_storm_of_another() -> None:
    """RL-12 mended."""
    bucket: ClusterBucket[str] = ClusterBucket(10, 1, clock=FakeClock())
    for number in range(1000):
        bucket.when(f"noisy|{number}")
    assert bucket.when("quiet|1") == 0


def test_a_storm_does_not_push_the_bucket_into_the_future() -> None:
    """RL-12 and RL-18 mended: who was told the longest wait took no token."""
    clock = FakeClock()
    bucket: ClusterBucket[str] = ClusterBucket(10, 1, max_wait_seconds=2, clock=clock)
    assert max(bucket.when("c|a") for _ in range(1000)) == 2
    clock.step(2)
    assert bucket.when("c|a") <= 0.1001


def test_a_cluster_with_a_full_bucket_leaves_nothing_behind() -> None:
    clock = FakeClock()
    bucket: ClusterBucket[str] = ClusterBucket(10, 1, clock=clock)
    for number in range(10_000):
        bucket.when(f"{number}|a")
        clock.step(1)
    assert len(bucket._full_at) <= 64


def test_forgetting_a_cluster_reaches_every_limiter_and_no_other_cluster() -> None:
    """RL-17 mended."""
    item = exponential()
    fast_slow: ItemFastSlow[str] = ItemFastSlow(0.1, 1, 1)
    bucket: ClusterBucket[str] = ClusterBucket(10, 1, clock=FakeClock())
    limiter = WithMaxWait(MaxOf(item, fast_slow, bucket), 60)
    for key in ["gone|a", "gone|ns/b", "other|a"]:
        limiter.when(key)
        limiter.when(key)
    limiter.forget_cluster("gone")
    for key, failures in [("gone|a", 0), ("gone|ns/b", 0), ("other|a", 2)]:
        assert (item.num_requeues(key), fast_slow.num_requeues(key)) == (failures, failures)
    assert bucket.when("gone|a") == 0
    assert bucket.when("other|a") > 0


def test_a_key_that_is_no_string_belongs_to_no_cluster() -> None:
    """WQ-20."""
    limiter: ItemFastSlow[tuple[str, int]] = ItemFastSlow(0.1, 1, 1)
    limiter.when(("gone|a", 1))
    limiter.forget_cluster("gone")
    assert limiter.num_requeues(("gone|a", 1)) == 1


def test_another_multiplier_reaches_the_same_cap_and_never_overflows() -> None:
    for multiplier in (1.001, 3.0, 1e200):
        limiter: ItemExponential[str] = ItemExponential(1, 60, multiplier=multiplier, rng=Longest())
        delays = [limiter.when("a") for _ in range(10_000)]
        assert delays[:2] == [1, min(multiplier, 60)]
        assert delays[-1] == 60


def test_a_multiplier_that_does_not_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="above 1"):
        ItemExponential(1, 60, multiplier=1.0)
