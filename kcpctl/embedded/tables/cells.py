"""What every row function uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcpctl.embedded.tables.durations import age

__all__ = ["Json", "Row", "created", "part"]

Json = dict[str, Any]
Row = Callable[[Json, float], list[Any]]
"""Makes the cells of an object at a time (wall clock seconds)."""


def part(obj: Json, name: str) -> Json:
    """Return a part of an object, empty when it has none."""
    value: Json = obj.get(name) or {}
    return value


def created(obj: Json, now: float) -> str:
    """Return the object's age."""
    return age(obj["metadata"].get("creationTimestamp"), now)
