"""Checks an applied object against its schema before it is merged, in the real server's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kcpctl.embedded.patch.fieldset import element_text
from kcpctl.embedded.patch.strategic import go_text
from kcpctl.embedded.patch.typed import element_of, is_leaf, items_of, key_default
from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.schema.structural import child_schema

__all__ = ["type_problems"]


def type_problems(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield what keeps ``value`` from being applied, each with its path in front."""
    if value is None:
        return
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema:
        return
    if "properties" in schema or "additionalProperties" in schema or schema.get("type") == "object":
        yield from _map_problems(value, schema, path)
    elif schema.get("type") == "array":
        yield from _list_problems(value, schema, path)
    else:
        yield from _scalar_problems(value, schema, path)


def _map_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected map, got &{{{go_text(value)}}}"
        return
    for key, item in value.items():
        child = child_schema(schema, key)
        if child is not None:
            yield from type_problems(item, child, f"{path}.{key}")
        elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{key}: field not declared in schema"


def _list_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: expected list, got &{{{go_text(value)}}}"
        return
    seen: set[str] = set()
    keyed = not is_leaf(value, schema)
    for index, item in enumerate(value):
        where = f"[{index}]"
        if keyed:
            missing = _missing_key(item, schema)
            if missing:
                yield (
                    f"{path}: element {index}: associative list with keys has an element that "
                    f'omits key field "{missing}" (and doesn\'t have default value)'
                )
                continue
            element = element_of(item, schema)
            where = element_text(element)
            if element in seen:
                yield f"{path}: duplicate entries for key {where}"
            seen.add(element)
        yield from type_problems(item, items_of(schema), f"{path}{where}")


def _missing_key(item: Any, schema: Schema) -> str:
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(item, dict):
        return ""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    return next((k for k in keys if k not in item and key_default(schema, k) is None), "")


def _scalar_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    kind = schema.get("type", "")
    if kind in {"integer", "number"}:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path}: expected numeric (int or float), got {_go_type(value)}"
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield f"{path}: expected boolean, got &value.valueUnstructured{{Value:{_go(value)}}}"
    elif kind == "string" and schema.get("format") != "quantity":
        if not isinstance(value, str):
            yield f"{path}: expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"
    elif isinstance(value, (dict, list)):
        yield f"{path}: expected any scalar, got &{{{go_text(value)}}}"


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def _go(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else go_text(value)
