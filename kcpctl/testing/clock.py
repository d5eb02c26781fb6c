"""A clock that only moves when a test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["FakeClock"]

_Sleeper = tuple[float, asyncio.AbstractEventLoop, asyncio.Future[None]]
"""The deadline, and what to wake then."""


class FakeClock:
    """A :class:`kcpctl.runtime.Clock` for tests.

    ``step`` moves both clocks and wakes whoever is due, on any thread and any loop; ``jump`` moves
    the wall clock alone. ``sleepers`` is the number of waits with a deadline, which lets a test
    wait until the code under test has begun to sleep.
    """

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._wall = time
        self._monotonic = 1000.0
        self._tasks: list[_Sleeper] = []
        self._waits: list[tuple[float, threading.Condition]] = []

    @property
    def sleepers(self) -> int:
        """How many threads and tasks wait for a deadline."""
        with self._lock:
            return len(self._tasks) + len(self._waits)

    def time(self) -> float:
        """Return the fake wall clock."""
        with self._lock:
            return self._wall

    def monotonic(self) -> float:
        """Return the fake monotonic clock."""
        with self._lock:
            return self._monotonic

    def boottime(self) -> float:
        """Return the fake monotonic clock."""
        return self.monotonic()

    def step(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds
            now = self._monotonic
            tasks = [entry for entry in self._tasks if entry[0] <= now]
            self._tasks = [entry for entry in self._tasks if entry[0] > now]
            waits = [entry for entry in self._waits if entry[0] <= now]
        for _, loop, future in tasks:
            loop.call_soon_threadsafe(_wake, future)
        for _, condition in waits:
            with condition:
                condition.notify_all()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or NTP does."""
        with self._lock:
            self._wall += seconds

    def sleep(self, seconds: float) -> None:
        """Block this thread until the clock was stepped far enough."""
        condition = threading.Condition()
        deadline = self.monotonic() + seconds
        with condition:
            while self.monotonic() < deadline:
                self.wait(condition, deadline - self.monotonic())

    async def asleep(self, seconds: float) -> None:
        """Suspend this task until the clock was stepped far enough."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = self._begin(seconds)
        try:
            await sleeper[2]
        finally:
            self._end(sleeper)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        """Run ``callback`` when the clock was stepped far enough."""
        sleeper = self._begin(seconds)
        _, _, future = sleeper
        future.add_done_callback(lambda done: None if done.cancelled() else callback())

        def prevent() -> None:
            future.cancel()
            self._end(sleeper)

        return prevent

    def _begin(self, seconds: float) -> _Sleeper:
        loop = asyncio.get_running_loop()
        with self._lock:
            sleeper = (self._monotonic + seconds, loop, loop.create_future())
            self._tasks.append(sleeper)
        return sleeper

    def _end(self, sleeper: _Sleeper) -> None:
        with self._lock:
            if sleeper in self._tasks:
                self._tasks.remove(sleeper)

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait on a condition; the deadline is one of this clock."""
        if timeout_seconds is None:
            return condition.wait()
        with self._lock:
            deadline = self._monotonic + timeout_seconds
            entry = (deadline, condition)
            if timeout_seconds > 0:
                self._waits.append(entry)
        if timeout_seconds <= 0:
            return False
        try:
            condition.wait()
        finally:
            with self._lock:
                if entry in self._waits:
                    self._waits.remove(entry)
        return self.monotonic() < deadline


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
