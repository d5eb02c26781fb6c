"""Trying again when somebody else was faster."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

from kcpctl.errors import Conflict
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.entropy import SYSTEM_RANDOM

__all__ = ["retry_on_conflict", "retry_on_conflict_async"]

T = TypeVar("T")

# RT-01.
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.01
_JITTER: Final = 0.1


def retry_on_conflict(
    attempt: Callable[[], T],
    *,
    tries: int = _TRIES,
    pause_seconds: float = _PAUSE_SECONDS,
    factor: float = 1.0,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random = SYSTEM_RANDOM,
) -> T:
    """Return what ``attempt`` returns, called again after each Conflict, and raise the last one.

    ``attempt`` reads the object from the server, changes it and writes it: with an object that
    was read before, or comes from a cache, each try conflicts again (RT-03). Between two tries
    there are ``pause_seconds``, each time ``factor`` times as long, and up to a tenth more. Any
    other error is raised at once (RT-02), one that only wraps a Conflict, too. Blocks.
    """
    for pause in _pauses(tries, pause_seconds, factor, rng):
        try:
            return attempt()
        except Conflict:
            clock.sleep(pause)
    return attempt()


async def retry_on_conflict_async(
    attempt: Callable[[], Awaitable[T]],
    *,
    tries: int = _TRIES,
    pause_seconds: float = _PAUSE_SECONDS,
    factor: float = 1.0,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random = SYSTEM_RANDOM,
) -> T:
    """Do the same on an event loop; a cancel ends it as one (RT-06)."""
    for pause in _pauses(tries, pause_seconds, factor, rng):
        try:
            return await attempt()
        except Conflict:
            await clock.asleep(pause)
    return await attempt()


def _pauses(tries: int, pause_seconds: float, factor: float, rng: random.Random) -> Iterator[float]:
    if tries < 1:
        raise ValueError(f"want at least one try, not {tries}")
    for _ in range(tries - 1):
        yield pause_seconds * (1.0 + _JITTER * rng.random())
        pause_seconds *= factor
