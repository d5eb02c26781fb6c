"""Structural operations: prune, defaults, unknown fields. Arguments are never changed."""

from __future__ import annotations

import copy
from typing import Any, Final

from kcpctl.embedded.schema.builtin import Schema, type_schema

__all__ = ["apply_defaults", "child_schema", "prune", "unknown_fields"]

_EMPTY: Final[Schema] = {}
_EMBEDDED: Final = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}


def child_schema(schema: Schema, key: str) -> Schema | None:
    """Return the schema of one field of an object; None when the field is not specified."""
    child: Schema | None = schema.get("properties", _EMPTY).get(key)
    if child is not None:
        return child
    if schema.get("x-kubernetes-embedded-resource"):
        if key in _EMBEDDED:
            return _EMBEDDED[key]
        if key == "metadata":
            return type_schema("V1ObjectMeta")
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        return extra
    # additionalProperties: true is what a schema says that lets any value be.
    return {"x-kubernetes-preserve-unknown-fields": True} if extra is True else None


def _preserves(schema: Schema) -> bool:
    return schema.get("x-kubernetes-preserve-unknown-fields") is True


def prune(obj: Any, schema: Schema) -> Any:
    """Return ``obj`` without the fields that the schema does not specify."""
    if isinstance(obj, dict):
        kept: dict[str, Any] = {}
        preserves = _preserves(schema)
        for key, value in obj.items():
            child = child_schema(schema, key)
            if child is not None:
                kept[key] = prune(value, child)
            elif preserves:
                kept[key] = value
        return kept
    if isinstance(obj, list):
        items = schema.get("items")
        return [prune(item, items) for item in obj] if isinstance(items, dict) else obj
    return obj


def unknown_fields(obj: Any, schema: Schema) -> list[str]:
    """Return the paths of the fields that :func:`prune` would drop: ``spec.containers[0].foo``."""
    found: list[str] = []
    _unknown(obj, schema, "", found)
    return found


def _unknown(obj: Any, schema: Schema, path: str, found: list[str]) -> None:
    if isinstance(obj, dict):
        preserves = _preserves(schema)
        for key, value in obj.items():
            where = f"{path}.{key}" if path else key
            child = child_schema(schema, key)
            if child is not None:
                _unknown(value, child, where, found)
            elif not preserves:
                found.append(where)
    elif isinstance(obj, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(obj):
            _unknown(item, items, f"{path}[{index}]", found)


def apply_defaults(obj: Any, schema: Schema) -> Any:
    """Return ``obj`` with the schema's defaults.

    A null where the schema does not allow one counts as absent: it gets the default, and goes
    when there is none.
    """
    if isinstance(obj, dict):
        result: dict[str, Any] = {}
        for key, value in obj.items():
            child = child_schema(schema, key)
            if child is None:
                result[key] = value
            elif value is None and child and not _nullable(child):
                continue
            else:
                result[key] = apply_defaults(value, child)
        for key, child in schema.get("properties", _EMPTY).items():
            if key not in result and "default" in child:
                result[key] = apply_defaults(copy.deepcopy(child["default"]), child)
        return result
    if isinstance(obj, list) and isinstance(items := schema.get("items"), dict):
        return [apply_defaults(item, items) for item in obj]
    return obj


def _nullable(schema: Schema) -> bool:
    return schema.get("nullable") is True or (_preserves(schema) and "type" not in schema)
