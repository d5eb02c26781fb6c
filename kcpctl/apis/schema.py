"""Structural OpenAPI v3 schemas out of API structs.

Constraints travel in :func:`doc` and not in msgspec's own, so that decoding stays lenient: an
object that an older schema let in is still readable, and the controller can say what is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect as types

__all__ = ["doc", "schema_of"]


def doc(description: str, schema: Mapping[str, Any] | None = None) -> msgspec.Meta:
    """Describe a field of an API struct: for ``Annotated[str, doc("...", {"maxLength": 63})]``."""
    return msgspec.Meta(description=description, extra_json_schema=dict(schema or {}))


def schema_of(type_: Any) -> dict[str, Any]:
    """Return the structural schema of an API struct (or of anything it is made of).

    A struct's own rules are its class attribute ``schema_extra``; its description is the
    docstring unless the field has one. Raises TypeError for types that no CRD can express.
    """
    return _schema(types.type_info(type_))


def _schema(info: types.Type) -> dict[str, Any]:
    if isinstance(info, types.Metadata):
        inner = _schema(info.type)
        return {**inner, **(info.extra_json_schema or {})}
    if isinstance(info, types.UnionType):
        return _union(info)
    if isinstance(info, types.StructType):
        return _struct(info)
    if isinstance(info, types.ListType):
        return {"type": "array", "items": _schema(info.item_type)}
    if isinstance(info, types.DictType):
        return {"type": "object", "additionalProperties": _schema(info.value_type)}
    for kind, schema in _SCALARS:
        if isinstance(info, kind):
            return dict(schema)
    raise TypeError(f"{info} has no structural schema")


_SCALARS: tuple[tuple[type[types.Type], dict[str, Any]], ...] = (
    (types.StrType, {"type": "string"}),
    (types.BoolType, {"type": "boolean"}),
    (types.IntType, {"type": "integer", "format": "int64"}),
    (types.FloatType, {"type": "number"}),
)


def _union(info: types.UnionType) -> dict[str, Any]:
    """``X | None`` is X (absent means None); ``str | int`` is Kubernetes' int-or-string."""
    members = [one for one in info.types if not isinstance(one, types.NoneType)]
    if len(members) == 1:
        return _schema(members[0])
    if {type(one) for one in members} == {types.StrType, types.IntType}:
        return {"x-kubernetes-int-or-string": True}
    raise TypeError(f"{info} has no structural schema")


def _struct(info: types.StructType) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "description": inspect.cleandoc(info.cls.__doc__ or ""),
    }
    required = sorted(field.encode_name for field in info.fields if field.required)
    if required:
        schema["required"] = required
    schema["properties"] = {field.encode_name: _schema(field.type) for field in info.fields}
    return {**schema, **getattr(info.cls, "schema_extra", {})}
