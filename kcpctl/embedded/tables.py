"""Tables as kubectl prints them: the columns of each kind, and the cells of an object."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.kinds import ResourceInfo

__all__ = ["cells", "columns"]


def columns(info: ResourceInfo) -> list[dict[str, Any]]:
    """Return the ``columnDefinitions`` of a kind's Table."""
    raise NotImplementedError


def cells(info: ResourceInfo, obj: dict[str, Any], now: float) -> list[Any]:
    """Return the cells of a row; ``now`` is wall clock seconds."""
    raise NotImplementedError
