from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.runtime.backoff import Backoff
from kcpctl.testing.clock import FakeClock


class NoJitter(random.Random):
    """Draws 0: the delay is the whole ceiling."""

    def random(self) -> float:
        return 0.0


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    """RT-07."""
    backoff = Backoff(1, 5, clock=FakeClock(), rng=NoJitter())
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.attempts == 5


def test_reset_starts_over() -> None:
    backoff = Backoff(1, 8, clock=FakeClock(), rng=NoJitter())
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1
    assert backoff.attempts == 1


def test_rf_04_it_starts_over_when_it_was_not_asked_for_a_while() -> None:
    """RF-04, RT-08."""
    clock = FakeClock()
    backoff = Backoff(1, 60, reset_after_seconds=120, clock=clock, rng=NoJitter())
    assert [backoff.next(), backoff.next()] == [1, 2]
    clock.step(119)
    assert backoff.next() == 4
    clock.step(120)
    assert backoff.next() == 1


@given(st.integers(), st.floats(0.001, 10), st.integers(1, 30))
def test_a_delay_is_positive_and_never_above_its_ceiling(
    seed: int, initial: float, calls: int
) -> None:
    backoff = Backoff(initial, 100, clock=FakeClock(), rng=random.Random(seed))
    for call in range(calls):
        assert 0 < backoff.next() <= min(initial * 2**call, 100)


def test_two_owners_do_not_wait_in_step() -> None:
    one = Backoff(1, 1, rng=random.Random(1))
    two = Backoff(1, 1, rng=random.Random(2))
    assert one.next() != two.next()


@pytest.mark.parametrize(("initial", "most"), [(0, 1), (-1, 1), (2, 1)])
def test_bounds_that_make_no_sense_are_refused(initial: float, most: float) -> None:
    with pytest.raises(ValueError, match="initial"):
        Backoff(initial, most)
