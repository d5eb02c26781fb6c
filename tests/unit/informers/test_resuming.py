"""Which failures of a watch need no new state."""

from __future__ import annotations

import pytest

from kcpctl.errors import (
    ConnectionRefused,
    Forbidden,
    Gone,
    InternalError,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)
from kcpctl.informers.resuming import Resumption
from kcpctl.testing import FakeClock

BROKEN = TransportError("cut")


def resumes(
    resumption: Resumption,
    error: Exception,
    *,
    opened: bool = True,
    moved: bool = False,
    lasted_seconds: float = 0.0,
) -> bool:
    return resumption.may_resume(error, opened=opened, moved=moved, lasted_seconds=lasted_seconds)


@pytest.mark.parametrize("error", [Gone("x"), Forbidden("x"), InternalError("x"), ValueError("x")])
def test_most_errors_need_a_new_state(error: Exception) -> None:
    """RF-30, RF-31, RF-32."""
    assert not resumes(Resumption(FakeClock(), 0), error)


@pytest.mark.parametrize("error", [ConnectionRefused("x"), TooManyRequests("x")])
def test_a_server_that_is_away_or_busy_is_waited_for_without_end(error: Exception) -> None:
    """RF-28, RF-29."""
    resumption = Resumption(FakeClock(), 0)
    assert all(resumes(resumption, error) for _ in range(100))


def test_the_fifth_break_in_a_row_needs_a_new_state() -> None:
    resumption = Resumption(FakeClock(), 0)
    assert [resumes(resumption, BROKEN) for _ in range(10)] == [True] * 4 + [False] + [True] * 4 + [
        False
    ]


def test_connections_that_are_lost_before_an_answer_are_mostly_of_a_server_that_is_away() -> None:
    """Pitfall 7: when it comes back nobody has to read the state; unless all watches end so."""
    resumption = Resumption(FakeClock(), 0)
    assert all(resumes(resumption, BROKEN, opened=False) for _ in range(19))
    assert not resumes(resumption, BROKEN, opened=False)


def test_watches_that_are_never_answered_need_a_new_state_now_and_then() -> None:
    """Behind a proxy that waits for the end of each answer, lists are all there is."""
    resumption, silent = Resumption(FakeClock(), 0), TransportTimeout("30 s")
    assert [resumes(resumption, silent, opened=False, lasted_seconds=30) for _ in range(10)] == [
        *[True] * 4,
        False,
    ] * 2


def test_a_watch_that_moved_or_lasted_was_not_broken_by_its_beginning() -> None:
    resumption = Resumption(FakeClock(), 0)
    assert all(resumes(resumption, BROKEN, moved=True) for _ in range(10))
    assert all(resumes(resumption, BROKEN, lasted_seconds=30) for _ in range(10))


def test_internal_errors_have_a_window_that_begins_anew_after_a_quiet_minute() -> None:
    """RF-33."""
    clock = FakeClock()
    resumption, error = Resumption(clock, 100), InternalError("x", reason="InternalError")
    for _ in range(2):
        for _ in range(4):
            assert resumes(resumption, error)
            clock.step(25)
        assert not resumes(resumption, error)
        clock.step(59)
        assert not resumes(resumption, error)
        clock.step(60)
