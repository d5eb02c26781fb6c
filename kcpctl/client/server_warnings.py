"""What servers warn of: the Warning headers of their answers (RC-19)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from kcpctl.runtime.logging import get_logger

__all__ = ["WarningHandler", "WarningLog", "warning_texts"]

_log = get_logger(__name__)

WarningHandler = Callable[[str], None]
"""Is called on the I/O loop with the text of each warning; must not block."""

# RFC 7234: code, agent, quoted text, perhaps a date. API servers use 299 and no other code.
_WARNING: Final = re.compile(r'\b299 \S+ "((?:[^"\\]|\\.)*)"')
_MAX_CHARS: Final = 1024
_MAX_REMEMBERED: Final = 1024


class WarningLog:
    """Logs each text once: a controller hears the same deprecation with every request.

    It remembers a thousand texts and starts over then. One owner, on the I/O loop.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        """Log ``text`` unless it was logged before."""
        if text in self._said:
            return
        if len(self._said) >= _MAX_REMEMBERED:
            self._said.clear()
        self._said.add(text)
        _log.warning("The server warns", host=self._host, text=text)


def warning_texts(headers: Iterable[str]) -> list[str]:
    """Return the texts of the values of Warning headers, cut to 1,024 characters."""
    return [
        re.sub(r"\\(.)", r"\1", match[1])[:_MAX_CHARS]
        for header in headers
        for match in _WARNING.finditer(header)
    ]
