"""The keys that are not due yet."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["WaitingKeys"]

K = TypeVar("K", bound=Hashable)

# Below this many stale entries rebuilding the heap costs more than carrying them.
_STALE_ENTRIES_KEPT = 64


class WaitingKeys(Generic[K]):
    """Keys with the time at which each is due. Not thread-safe: the queue's lock guards it.

    The heap may hold stale entries of keys that were cancelled or moved; ``_due`` says which one
    is live. They are swept when they outnumber the live ones, so memory follows the live keys.
    """

    def __init__(self) -> None:
        self._due: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._due)

    def schedule(self, key: K, due: float) -> bool:
        """Let ``key`` wait until ``due``; the earlier time wins (DQ-03).

        Returns whether this key is now the first one due, so that whoever waits must wait less.
        """
        held = self._due.get(key)
        if held is not None and held[0] <= due:
            return False
        self._sequence += 1
        self._due[key] = (due, self._sequence)
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._sweep()
        return self._heap[0][1] == self._sequence

    def cancel(self, key: K) -> None:
        """Forget ``key`` if it waits."""
        if self._due.pop(key, None) is not None:
            self._sweep()

    def next_due(self) -> float | None:
        """Return when the first key is due, or None when nothing waits."""
        heap = self._heap
        while heap:
            due, sequence, key = heap[0]
            if self._due.get(key) == (due, sequence):
                return due
            heapq.heappop(heap)
        return None

    def pop_due(self, now: float) -> Iterator[K]:
        """Remove and yield every key due by ``now``, in order of time (DQ-05)."""
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            yield key

    def times(self) -> dict[K, float]:
        """Return each waiting key with the time at which it is due."""
        return {key: due for key, (due, _) in self._due.items()}

    def clear(self) -> None:
        """Drop everything."""
        self._due.clear()
        self._heap.clear()

    def _sweep(self) -> None:
        if not self._due:
            self._heap.clear()
        elif len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_KEPT:
            self._heap = [(due, order, key) for key, (due, order) in self._due.items()]
            heapq.heapify(self._heap)
