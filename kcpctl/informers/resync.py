"""Resync: what is stored, told once more to the handlers that ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kcpctl.informers.deliveries import Deliveries
from kcpctl.informers.store import Store
from kcpctl.runtime import Clock

__all__ = ["resync"]

# How many objects are told of before others get their turn on the I/O thread.
_SLICE: Final = 500
# A resync that falls into the reading of a state comes this much after it, at most.
_NOT_NOW_SECONDS: Final = 1.0


async def resync(
    deliveries: Deliveries,
    store: Store,
    clock: Clock,
    check_seconds: float,
    is_watching: Callable[[], bool],
) -> None:
    """Deliver update(obj, obj) to the handlers that are due, for ever (FIFO-22, INF-38).

    For each object that is stored at that moment, with no request to the server (RF-42), and only
    while it is watched (RF-43). What changes in the course of a resync is told in between.
    """
    pause = check_seconds
    while True:
        await clock.asleep(pause)
        if not is_watching():
            pause = min(check_seconds, _NOT_NOW_SECONDS)
            continue
        pause = check_seconds
        there = deliveries.due()
        keys = [] if there is None else store.keys()
        for start in range(0, len(keys), _SLICE):
            for key in keys[start : start + _SLICE]:
                obj = store.get(key)
                if obj is not None:
                    deliveries.update(obj, obj, there)
            await clock.asleep(0)
