"""Structural operations: prune, defaults, unknown fields. All return new dicts."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.schema.builtin import Schema

__all__ = ["apply_defaults", "prune", "unknown_fields"]


def prune(obj: Any, schema: Schema) -> Any:
    """Return ``obj`` without the fields that the schema does not specify."""
    raise NotImplementedError


def apply_defaults(obj: Any, schema: Schema) -> Any:
    """Return ``obj`` with the schema's defaults (and nulls of non-nullable fields that have one
    replaced)."""
    raise NotImplementedError


def unknown_fields(obj: Any, schema: Schema) -> list[str]:
    """Return the paths of the fields that :func:`prune` would drop: ``spec.containers[0].foo``."""
    raise NotImplementedError
