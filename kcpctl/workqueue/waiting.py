"""The keys that are not due yet."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from kcpctl.workqueue.keys import KeysByCluster

__all__ = ["WaitingKeys"]

K = TypeVar("K", bound=Hashable)

# Below this many stale entries rebuilding the heap costs more than carrying them.
_STALE_ENTRIES_KEPT = 64


class WaitingKeys(Generic[K]):
    """Keys with the time at which each is due. Not thread-safe: the queue's lock guards it.

    The heap may hold stale entries of keys that were cancelled or moved; ``due`` says which one
    is live. They are swept when they outnumber the live ones, so memory follows the live keys.
    """

    def __init__(self) -> None:
        # When each is due, which heap entry is live, and with which priority it comes.
        self.due: dict[K, tuple[float, int, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._by_cluster: KeysByCluster[K] = KeysByCluster()

    def schedule(self, key: K, due: float, priority: int) -> bool:
        """Let ``key`` wait until ``due``; earlier time (DQ-03) and higher priority (PQ-03) win.

        Returns whether this key is now the first one due, so that whoever waits must wait less.
        """
        held = self.due.get(key)
        if held is None:
            self._by_cluster.add(key)
        else:
            priority = max(priority, held[2])
            if held[0] <= due:
                self.due[key] = (held[0], held[1], priority)
                return False
            self._sweep()
        self._sequence += 1
        self.due[key] = (due, self._sequence, priority)
        heapq.heappush(self._heap, (due, self._sequence, key))
        return self._heap[0][1] == self._sequence

    def cancel(self, key: K) -> int | None:
        """Forget ``key`` and return its priority; None if it does not wait."""
        held = self.due.pop(key, None)
        if held is None:
            return None
        self._by_cluster.discard(key)
        self._sweep()
        return held[2]

    def remove_cluster(self, name: str) -> None:
        """Forget the keys of a logical cluster."""
        for key in self._by_cluster.pop_cluster(name):
            del self.due[key]
        self._sweep()

    def next_due(self) -> float | None:
        """Return when the first key is due, or None when nothing waits."""
        heap = self._heap
        while heap:
            due, sequence, key = heap[0]
            held = self.due.get(key)
            if held is not None and held[1] == sequence:
                return due
            heapq.heappop(heap)
        return None

    def pop_due(self, now: float, most: int | None = None) -> list[tuple[K, int]]:
        """Remove and return the keys due by ``now``, with priorities, in order of time (DQ-05)."""
        found: list[tuple[K, int]] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(found) != most:
            _, sequence, key = heapq.heappop(heap)
            held = self.due.get(key)
            if held is not None and held[1] == sequence:
                del self.due[key]
                self._by_cluster.discard(key)
                found.append((key, held[2]))
        return found

    def times(self) -> dict[K, float]:
        """Return each waiting key with the time at which it is due."""
        return {key: due for key, (due, _, _) in self.due.items()}

    def clear(self) -> None:
        """Drop everything."""
        self.due.clear()
        self._heap.clear()
        self._by_cluster.clear()

    def _sweep(self) -> None:
        if not self.due:
            self._heap.clear()
        elif len(self._heap) > 2 * len(self.due) + _STALE_ENTRIES_KEPT:
            self._heap = [(due, order, key) for key, (due, order, _) in self.due.items()]
            heapq.heapify(self._heap)
