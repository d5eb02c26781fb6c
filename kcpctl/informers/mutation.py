"""The mutation detector: who changes what all readers of an informer share is found out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from kcpctl.errors import KcpctlError
from kcpctl.informers.objects import CachedObject, mutations_of
from kcpctl.informers.reflector import Sink
from kcpctl.runtime import Clock, gather_all

__all__ = ["MUTATION_VARIABLE", "CacheMutated", "MutationDetector", "detector_if_wanted"]

MUTATION_VARIABLE: Final = "KCPCTL_MUTATION_DETECTOR"
"""Set to 1 or true, whoever changes a cached object ends its informer."""

# INF-32: how often it looks, and how long at each object.
_LOOK_SECONDS: Final = 1.0
_KEEP_SECONDS: Final = 120.0


class CacheMutated(KcpctlError):
    """A handler, or a reader of the cache, has changed a cached object."""


class MutationDetector(Sink):
    """Hands everything on to another sink, and watches what it hands on (INF-32).

    For debugging and tests: each object is compared with the bytes that it came from, every second
    for two minutes. On the I/O loop.
    """

    def __init__(self, sink: Sink, *, informer: str, clock: Clock) -> None:
        self._sink = sink
        self._informer = informer
        self._clock = clock
        self._kept: deque[tuple[float, CachedObject]] = deque()

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        """Hand on a full state."""
        now = self._clock.monotonic()
        self._kept.extend((now, obj) for obj in objects)
        self._sink.replace(objects, resource_version)

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        """Hand on an event."""
        self._kept.append((self._clock.monotonic(), obj))
        self._sink.apply(event_type, obj, resource_version)

    def bookmark(self, resource_version: str) -> None:
        """Hand on a bookmark."""
        self._sink.bookmark(resource_version)

    async def guard(self, running: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; end it, and raise CacheMutated, when an object was changed."""
        try:
            await gather_all(running, self._look())
        except ExceptionGroup as failed:
            # Of the one that ended first, and ended the other.
            raise failed.exceptions[0] from None

    async def _look(self) -> NoReturn:
        while True:
            await self._clock.asleep(_LOOK_SECONDS)
            self.check()

    def check(self) -> None:
        """Compare what was handed on in the last two minutes; raises CacheMutated."""
        for _, obj in self._kept:
            if changed := mutations_of(obj):
                raise CacheMutated(
                    f"somebody has changed {', '.join(changed)} of the cached object {obj.key} "
                    f"(cluster {obj.cluster}) in the informer of {self._informer}: all readers "
                    "share it; change what decode() or the lister returns instead"
                )
        oldest = self._clock.monotonic() - _KEEP_SECONDS
        while self._kept and self._kept[0][0] <= oldest:
            self._kept.popleft()


def detector_if_wanted(sink: Sink, informer: str, clock: Clock) -> MutationDetector | None:
    """Return a detector before ``sink`` if the environment asks for one."""
    if os.environ.get(MUTATION_VARIABLE, "").lower() not in {"1", "true"}:
        return None
    return MutationDetector(sink, informer=informer, clock=clock)
