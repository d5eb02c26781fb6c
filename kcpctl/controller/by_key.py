"""What a controller keeps in memory of the objects that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["ByKey"]

V = TypeVar("V")


class ByKey(Generic[V]):
    """One value for each key, until the key is forgotten or removed.

    Any thread. A key is one worker's at a time, so what a worker has read it may write back; only
    :meth:`remove` comes in between.

    It is a dict, each of whose methods used here is one step that nobody sees half of. A lock would
    cost more than all else: workers that meet at one in each pass hand it over asleep.
    """

    def __init__(self) -> None:
        self._values: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        """Return the value of a key, None without one."""
        return self._values.get(key)

    def keep(self, key: str, value: V) -> V:
        """Keep a value in the place of the one before; return it."""
        self._values[key] = value
        return value

    def forget(self, key: str) -> None:
        """Drop the value of a key, if there is one."""
        self._values.pop(key, None)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop the values of all keys that belong, for ``Controller.on_removal``."""
        for key in list(self._values):
            if belongs(key):
                self._values.pop(key, None)

    def __len__(self) -> int:
        return len(self._values)
