"""Strategic merge patch: lists of built-in kinds are merged by key."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.schema.builtin import Schema

__all__ = ["strategic_merge_patch"]


def strategic_merge_patch(doc: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """Return ``doc`` merged with ``patch`` by the schema's patch strategies and merge keys.

    Directives: ``$patch`` (replace, delete, merge), ``$retainKeys``,
    ``$deleteFromPrimitiveList/...``, ``$setElementOrder/...``. Raises StatusError as the real
    server answers (500 for an unknown ``$patch`` or an element without its merge key).
    """
    raise NotImplementedError
