"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

from typing import Any

__all__ = ["json_patch", "merge_patch"]


def json_patch(doc: dict[str, Any], ops: Any) -> dict[str, Any]:
    """Return ``doc`` after the operations; raises StatusError (400 malformed, 422 not applicable,
    413 above 10000 operations)."""
    raise NotImplementedError


def merge_patch(doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return ``doc`` merged with ``patch``; null deletes. Raises StatusError 400 when ``patch``
    is no object."""
    raise NotImplementedError
