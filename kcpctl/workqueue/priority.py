"""The ordering by priority, in which nothing starves."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Hashable, Set
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from kcpctl.workqueue.keys import cluster_of_key
from kcpctl.workqueue.ordering import Ordering

__all__ = ["LOW_PRIORITY", "Priority"]

K = TypeVar("K", bound=Hashable)

# The initial list and resyncs, as controller-runtime has it (PQ-09). Everything else is 0.
LOW_PRIORITY: Final = -100
# A level that others were preferred to this often in a row is next, so each has about a ninth.
_PASSED_OVER_AT_MOST: Final = 8


class _Level(Generic[K]):
    """The keys of one priority, by arrival.

    ``keys`` came at this priority, so they are in order by themselves; ``raised`` came at a lower
    one and keep their arrival, so they are in a heap.
    """

    __slots__ = ("keys", "passed_over", "raised")

    def __init__(self) -> None:
        self.keys: OrderedDict[K, int] = OrderedDict()
        self.raised: list[tuple[int, K]] = []
        self.passed_over = 0

    def pop(self) -> K:
        if self.raised and (not self.keys or self.raised[0][0] < self.keys[next(iter(self.keys))]):
            return heappop(self.raised)[1]
        return self.keys.popitem(last=False)[0]

    def take(self, key: K) -> int:
        """Remove a key from the middle and return its arrival."""
        if (arrival := self.keys.pop(key, None)) is not None:
            return arrival
        # Only a key that was raised twice comes here, so there are three levels or more.
        index = next(index for index, entry in enumerate(self.raised) if entry[1] == key)
        arrival = self.raised.pop(index)[0]
        self.raised.sort()
        return arrival

    def discard(self, keys: Set[K]) -> None:
        for key in keys:
            self.keys.pop(key, None)
        self.raised = sorted(entry for entry in self.raised if entry[1] not in keys)

    def __bool__(self) -> bool:
        return bool(self.keys or self.raised)


class Priority(Ordering[K]):
    """Higher priority first, first come first served within one (PQ-02).

    1. A key that is added again keeps the highest priority it was given (PQ-03), and a raise keeps
       its arrival: it does not stand in line anew (mends PQ-04).
    2. A level that eight keys of higher ones were preferred to in a row is next, so that a steady
       stream of urgent keys starves nobody (mends PQ-10). Hand-outs are counted, not seconds: a
       backlog that grows old does not become urgent as a whole.

    Every operation is O(1) in the number of keys, but for raises, which are O(log n); levels are
    meant to be few. A level without keys leaves nothing behind.
    """

    def __init__(self) -> None:
        self._levels: dict[int, _Level[K]] = {}
        # The levels' priorities, lowest first.
        self._order: list[int] = []
        self._held: dict[K, int] = {}
        self._arrivals = 0

    def push(self, key: K, priority: int) -> None:
        """Take a key in at the end of its level."""
        self._arrivals += 1
        self._held[key] = priority
        self._level(priority).keys[key] = self._arrivals

    def touch(self, key: K, priority: int) -> None:
        """Raise a key; a lower priority never demotes it."""
        before = self._held[key]
        if priority <= before:
            return
        level = self._levels[before]
        arrival = level.take(key)
        if not level:
            self._drop(before)
        heappush(self._level(priority).raised, (arrival, key))
        self._held[key] = priority

    def pop(self) -> K:
        """Remove and return the next key; raises IndexError when there is none."""
        order = self._order
        priority = order[-1]
        if len(order) > 1:
            priority = self._fair_choice()
        level = self._levels[priority]
        key = level.pop()
        if not level:
            self._drop(priority)
        del self._held[key]
        return key

    def can_pop(self) -> bool:
        """Whether a key is held."""
        return bool(self._held)

    def done(self, key: K) -> None:
        """Nothing to note: any number of workers may run."""

    def remove_cluster(self, name: str) -> list[K]:
        """Drop a cluster's keys; takes time by the number of all of them."""
        dropped = [key for key in self._held if cluster_of_key(key) == name]
        if dropped:
            for priority in list(self._order):
                level = self._levels[priority]
                level.discard(set(dropped))
                if not level:
                    self._drop(priority)
        for key in dropped:
            del self._held[key]
        return dropped

    def _fair_choice(self) -> int:
        """Return the highest level, or the lowest of those that were passed over too often."""
        chosen = self._order[-1]
        for priority in reversed(self._order[:-1]):
            if self._levels[priority].passed_over >= _PASSED_OVER_AT_MOST:
                chosen = priority
        for priority in self._order:
            self._levels[priority].passed_over += priority < chosen
        self._levels[chosen].passed_over = 0
        return chosen

    def _level(self, priority: int) -> _Level[K]:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
            insort(self._order, priority)
        return level

    def _drop(self, priority: int) -> None:
        del self._levels[priority]
        self._order.remove(priority)
