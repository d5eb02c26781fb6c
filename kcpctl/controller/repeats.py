"""Failures that are told once, however often they are tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Repeats"]


class Repeats:
    """Which keys fail, and with what: so that a log has one line for each change of it.

    Any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Written with the lock held; whether it is empty may be asked without.
        self.by_key: dict[str, str] = {}

    def is_news(self, key: str, error: Exception) -> bool:
        """Take how a key failed, and say whether it did not fail so the last time."""
        text = str(error)
        with self._lock:
            before = self.by_key.get(key)
            self.by_key[key] = text
        return before != text

    def end(self, key: str) -> None:
        """Take that a key fails no more."""
        with self._lock:
            self.by_key.pop(key, None)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop what is kept for the keys that belong."""
        with self._lock:
            for key in [key for key in self.by_key if belongs(key)]:
                del self.by_key[key]
