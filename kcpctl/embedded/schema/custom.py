"""Schemas of custom resources: from a CRD's version to the schema of the whole object."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from kcpctl.embedded.schema.builtin import Schema, type_schema
from kcpctl.embedded.schema.crd_validation import validate_crd

__all__ = ["root_schema", "validate_crd"]

_STRING: Final[Schema] = {"type": "string"}


class _Key:
    """A dict as a cache key, by identity; the cache keeps it alive."""

    __slots__ = ("value",)

    def __init__(self, value: dict[str, Any] | None) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.value is self.value


def root_schema(open_api_v3_schema: dict[str, Any] | None) -> Schema:
    """Return the schema of whole objects: with apiVersion, kind and the built-in ObjectMeta.

    None (a CRD without a schema) gives one that preserves everything. Cached by identity of the
    argument, so call it with the stored CRD's own dict.
    """
    return _root(_Key(open_api_v3_schema))


@lru_cache(maxsize=1024)
def _root(key: _Key) -> Schema:
    given = key.value or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = dict(given.get("properties") or {})
    properties["apiVersion"] = _STRING
    properties["kind"] = _STRING
    properties["metadata"] = _metadata(properties.get("metadata"))
    return {**given, "properties": properties}


def _metadata(given: Schema | None) -> Schema:
    """Return ObjectMeta, with what the CRD says about name and generateName."""
    base = type_schema("V1ObjectMeta")
    rules = (given or {}).get("properties") or {}
    extra = (given or {}).get("x-kubernetes-validations")
    if not rules and not extra:
        return base
    merged = {**base, "properties": {**base["properties"], **rules}}
    if extra:
        merged["x-kubernetes-validations"] = extra
    if rules:
        # The type name stands for "no rules below" to the CEL walker.
        merged.pop("x-kcpctl-type")
    return merged
