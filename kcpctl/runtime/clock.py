"""Time, behind a seam: whatever waits or asks for the time does it through a :class:`Clock`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock", "format_micro_time", "format_time", "parse_time"]


class Clock(Protocol):
    """What the rest of kcpctl knows of time. Safe from any thread.

    ``time`` is wall-clock seconds since the epoch and may jump; ``monotonic`` never does and is
    the only one that durations are measured with.
    """

    def time(self) -> float:
        """Return wall-clock seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""

    def boottime(self) -> float:
        """Return seconds of a clock that never jumps and goes on while the machine sleeps."""

    def sleep(self, seconds: float) -> None:
        """Block this thread; zero or less returns at once."""

    async def asleep(self, seconds: float) -> None:
        """Suspend this task; cancellable."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        """Run ``callback`` on this event loop in ``seconds``; returns how to prevent that."""

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait on a condition that the caller holds; False when the time was over."""


# Inside the class ``time`` is the method.
_monotonic: Final = time.monotonic
_boottime: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Return wall-clock seconds since the epoch."""
        return time.time()

    # The C function itself: a work queue asks several times for each key.
    monotonic = staticmethod(_monotonic)

    def boottime(self) -> float:
        """Return the monotonic clock; on Linux the one that counts suspended time as well."""
        return _boottime()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        if seconds > 0:
            time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Suspend this task."""
        await asyncio.sleep(max(seconds, 0))

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        """Run ``callback`` on this event loop later."""
        return asyncio.get_running_loop().call_later(seconds, callback).cancel

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait on a condition that the caller holds."""
        return condition.wait(timeout_seconds)


SYSTEM_CLOCK: Final[Clock] = SystemClock()


def format_time(seconds: float) -> str:
    """Return RFC 3339 in whole seconds, UTC, as ``metav1.Time`` is written."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(seconds: float) -> str:
    """Return RFC 3339 with six decimals, UTC, as ``metav1.MicroTime`` is written."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Return seconds since the epoch of an RFC 3339 time; raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
