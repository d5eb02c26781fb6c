"""Durations as the API writes them: ``30s``, ``1h30m``, ``500ms``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["parse_duration"]

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS: Final[Mapping[str, float]] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration; raises ValueError that quotes what is none."""
    if not text or _PART.sub("", text):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 5m or 1h30m")
    return sum(float(count) * _UNIT_SECONDS[unit] for count, unit in _PART.findall(text))
