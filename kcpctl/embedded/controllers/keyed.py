"""One key at a time: the work loop of the internal controllers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, TaskSet, get_logger

__all__ = ["MANAGER", "KeyedController", "KeyedLoop"]

MANAGER: Final = "kube-controller-manager"
"""The field manager of what these controllers write, as on a real server."""

K = TypeVar("K")
_log = get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 0.02
"""How long keys may be processed before other tasks of the loop get their turn."""


class KeyedLoop(Generic[K]):
    """Calls ``reconcile(key)`` for every added key, on the event loop, one at a time.

    A key that is added several times before its turn runs once; added while it runs, once more.
    ``reconcile`` is synchronous, may add keys, and returns the seconds after which it wants to
    run again, or None. A conflict or another failure is retried with growing delays and never
    ends the loop. Everything happens on the event loop's thread.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], float | None],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._clock = clock
        self._queue: dict[K, None] = {}  # a set that keeps the order
        self._waiting: dict[K, asyncio.Task[None]] = {}
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()
        self._tasks = TaskSet(name)

    def __len__(self) -> int:
        return len(self._queue) + len(self._waiting)

    def add(self, key: K) -> None:
        """Run ``key`` soon."""
        self._queue.setdefault(key)
        self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Run ``key`` after ``seconds``, unless it is waiting already."""
        if key not in self._waiting:
            self._waiting[key] = self._tasks.spawn(self._wait(key, seconds), name="delay")

    def start(self) -> None:
        """Begin to process keys; those added before are not lost."""
        self._tasks.spawn(self._run(), name="loop")

    async def close(self) -> None:
        """Stop, and forget every key."""
        await self._tasks.close()

    async def _wait(self, key: K, seconds: float) -> None:
        try:
            await self._clock.asleep(seconds)
        finally:
            self._waiting.pop(key, None)
        self.add(key)

    async def _run(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            deadline = self._clock.monotonic() + _BUSY_SECONDS
            while self._queue:
                key = next(iter(self._queue))
                del self._queue[key]
                self._process(key)
                if self._clock.monotonic() >= deadline:
                    await self._clock.asleep(0)
                    deadline = self._clock.monotonic() + _BUSY_SECONDS

    def _process(self, key: K) -> None:
        try:
            again = self._reconcile(key)
        except Exception as error:  # noqa: BLE001 - one bad object must not stop the others
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            expected = isinstance(error, StatusError) and error.code in (404, 409)
            if not expected:
                _log.warning(
                    "Internal controller failed", controller=self.name, key=key, exc_info=error
                )
            delay = min(_FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), _LAST_RETRY_SECONDS)
            self.add_after(key, delay)
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_after(key, again)


class KeyedController(ABC, Generic[K]):
    """An internal controller: what happens in the registry gives keys, and each is reconciled.

    See :class:`KeyedLoop` for how. Objects that were there before come by way of the registry's
    replay. Event loop's thread only.
    """

    def __init__(self, name: str, registry: Registry, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._registry = registry
        self._clock = clock
        self._loop: KeyedLoop[K] = KeyedLoop(name, self.reconcile, clock=clock)
        registry.subscribe(self._changed)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Stop."""
        await self._loop.close()

    @abstractmethod
    def _changed(self, event: Event) -> None:
        """Add the keys that an event is about."""

    @abstractmethod
    def reconcile(self, key: K) -> float | None:
        """Bring one key to what it should be; return when to look again, in seconds."""
