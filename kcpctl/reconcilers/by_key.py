"""What a reconciler keeps in memory of the objects that it has seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["ByKey"]

V = TypeVar("V")


class ByKey(Generic[V]):
    """One value for each key, until the key is forgotten or removed.

    Any thread. A key is one worker's at a time, so what a worker has read it may write back; only
    :meth:`remove` comes in between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, V] = {}  # guarded by _lock

    def get(self, key: str) -> V | None:
        """Return the value of a key, None without one."""
        with self._lock:
            return self._values.get(key)

    def keep(self, key: str, value: V) -> V:
        """Keep a value in the place of the one before; return it."""
        with self._lock:
            self._values[key] = value
        return value

    def forget(self, key: str) -> None:
        """Drop the value of a key, if there is one."""
        with self._lock:
            self._values.pop(key, None)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop the values of all keys that belong, for ``Controller.on_removal``."""
        with self._lock:
            for key in [key for key in self._values if belongs(key)]:
                del self._values[key]

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)
