"""Which of the ready keys is handed out next (WQ-19)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Protocol, TypeVar

__all__ = ["Fifo", "Ordering"]

K = TypeVar("K", bound=Hashable)


class Ordering(Protocol[K]):
    """The ordered part of a queue. It holds each key at most once.

    The queue calls all of it under its own lock, so an implementation needs none, must not block
    and must not call the queue.
    """

    def push(self, key: K) -> None:
        """Take a key in that is not held."""

    def touch(self, key: K) -> None:
        """Note that a held key was added again; a policy may rank it anew."""

    def pop(self) -> K:
        """Remove and return the next key; called only when there is one."""

    def __len__(self) -> int: ...


class Fifo(Ordering[K]):
    """First added, first out; adding again does not move a key (WQ-18)."""

    def __init__(self) -> None:
        self._keys: deque[K] = deque()

    def push(self, key: K) -> None:
        """Take a key in at the end."""
        self._keys.append(key)

    def touch(self, key: K) -> None:
        """Leave the key where it is."""

    def pop(self) -> K:
        """Remove and return the oldest key; nothing keeps it alive afterwards (WQ-16)."""
        return self._keys.popleft()

    def __len__(self) -> int:
        return len(self._keys)
