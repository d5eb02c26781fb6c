"""Failures that are told once, however often they are tried again."""

from __future__ import annotations

from kcpctl.controller.by_key import ByKey

__all__ = ["Repeats"]


class Repeats(ByKey[str]):
    """Which keys fail, and with what, until they are forgotten for failing no more.

    So a log has one line for each change of it.
    """

    def is_news(self, key: str, error: Exception) -> bool:
        """Take how a key failed, and say whether it did not fail so the last time."""
        before, text = self.get(key), str(error)
        return before != self.keep(key, text)
