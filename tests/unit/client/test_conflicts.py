from __future__ import annotations

import asyncio
import random

import pytest

from kcpctl.client import retry_on_conflict, retry_on_conflict_async
from kcpctl.errors import AlreadyExists, Conflict, Invalid, KcpctlError
from kcpctl.testing.clock import FakeClock


class ImpatientClock(FakeClock):
    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Attempt:
    """Raises each error in turn, the last for ever; None is success."""

    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        error = self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]
        if error is not None:
            raise error
        return "done"

    async def later(self) -> str:
        return self()


@pytest.fixture(params=["blocking", "async"])
def retry(request: pytest.FixtureRequest) -> object:
    return request.param == "async"


def run(attempt: Attempt, clock: ImpatientClock, on_a_loop: object, **more: float) -> str:
    rng = random.Random(1)
    if on_a_loop:
        return asyncio.run(
            retry_on_conflict_async(
                attempt.later, clock=clock, rng=rng, factor=more.get("factor", 1)
            )
        )
    return retry_on_conflict(attempt, clock=clock, rng=rng, factor=more.get("factor", 1))


def test_after_five_tries_the_last_conflict_is_raised(retry: object) -> None:
    """RT-01, RT-04: not a timeout, and not the first."""
    clock, attempt = ImpatientClock(), Attempt(*[Conflict(str(n)) for n in range(9)])
    with pytest.raises(Conflict, match=r"^4$"):
        run(attempt, clock, retry)
    assert attempt.tries == 5
    assert len(clock.slept) == 4
    assert all(0.01 <= pause <= 0.011 for pause in clock.slept)
    assert len(set(clock.slept)) == 4


def test_the_pauses_may_grow(retry: object) -> None:
    """RT-01: the alternative for busy objects."""
    clock = ImpatientClock()
    with pytest.raises(Conflict):
        run(Attempt(Conflict("x")), clock, retry, factor=5)
    assert [round(pause, 1) for pause in clock.slept] == [0, 0.1, 0.3, 1.3]


@pytest.mark.parametrize("error", [AlreadyExists("x"), Invalid("x"), KcpctlError("x")])
def test_any_other_error_is_raised_at_once(retry: object, error: Exception) -> None:
    """RT-02."""
    clock, attempt = ImpatientClock(), Attempt(Conflict("x"), error)
    with pytest.raises(type(error)):
        run(attempt, clock, retry)
    assert attempt.tries == 2
    assert len(clock.slept) == 1


def test_an_error_that_wraps_a_conflict_is_not_one(retry: object) -> None:
    """RT-05: it may be about another object than the one that is read again."""
    wrapped = KcpctlError("x")
    wrapped.__cause__ = Conflict("x")
    attempt = Attempt(wrapped, None)
    with pytest.raises(KcpctlError):
        run(attempt, ImpatientClock(), retry)
    assert attempt.tries == 1


def test_what_succeeds_is_returned(retry: object) -> None:
    """RT-03: each try calls the function, which reads the object anew."""
    attempt = Attempt(Conflict("x"), Conflict("x"), None)
    assert run(attempt, ImpatientClock(), retry) == "done"
    assert attempt.tries == 3


async def test_a_cancel_is_a_cancel_and_no_conflict() -> None:
    """RT-06."""
    clock, attempt = FakeClock(), Attempt(Conflict("x"))
    task = asyncio.ensure_future(retry_on_conflict_async(attempt.later, clock=clock))
    while not clock.sleepers:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert attempt.tries == 1


def test_no_tries_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one try"):
        retry_on_conflict(Attempt(None), tries=0)
