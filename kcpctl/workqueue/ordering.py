"""Which of the ready keys is handed out next (WQ-19)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Protocol, TypeVar

from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["Fifo", "Ordering"]

K = TypeVar("K", bound=Hashable)


class Ordering(Protocol[K]):
    """The ordered part of a queue. It holds each key at most once.

    The queue calls all of it under its own lock, so an implementation needs none, must not block
    and must not call the queue. Priorities are a matter of the ordering: it may ignore them.
    """

    def push(self, key: K, priority: int) -> None:
        """Take a key in that is not held."""

    def touch(self, key: K, priority: int) -> None:
        """Note that a held key was added again; a policy may rank it anew."""

    def pop(self) -> K:
        """Remove and return the next key; raises IndexError when none may be handed out."""

    def can_pop(self) -> bool:
        """Whether ``pop`` has a key to give: some may be held back until a worker is done."""

    def done(self, key: K) -> None:
        """Note that the worker of a key that was popped is done with it."""

    def remove_cluster(self, name: str) -> list[K]:
        """Drop the keys of a logical cluster that are held, and return them."""


class Fifo(Ordering[K]):
    """First added, first out; adding again does not move a key (WQ-18). Knows no priorities."""

    def __init__(self) -> None:
        self._keys: deque[K] = deque()

    def push(self, key: K, priority: int) -> None:
        """Take a key in at the end."""
        self._keys.append(key)

    def touch(self, key: K, priority: int) -> None:
        """Leave the key where it is."""

    def pop(self) -> K:
        """Remove and return the oldest key; nothing keeps it alive afterwards (WQ-16)."""
        return self._keys.popleft()

    def can_pop(self) -> bool:
        """Whether a key is held."""
        return bool(self._keys)

    def done(self, key: K) -> None:
        """Nothing to note: any number of workers may run."""

    def remove_cluster(self, name: str) -> list[K]:
        """Drop a cluster's keys; takes time by the number of all of them."""
        dropped = [key for key in self._keys if cluster_of_key(key) == name]
        if dropped:
            self._keys = deque(key for key in self._keys if cluster_of_key(key) != name)
        return dropped
