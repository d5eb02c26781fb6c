"""Schemas of the built-in kinds, from a data file made out of the ``kubernetes`` package.

The file (see :mod:`kcpctl.embedded.schema.generate` for its format) is read once; the nodes of a
kind are built when it is first asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from kcpctl.embedded.schema import extensions

__all__ = [
    "PRESENT",
    "STRATEGIES",
    "TYPE_NAME",
    "Schema",
    "kinds",
    "package",
    "schema_for",
    "types",
]

Schema = dict[str, Any]
"""An OpenAPI v3 node. Those of built-in kinds are shared and may be cyclic: never change them."""

TYPE_NAME: Final = "x-kcpctl-type"
"""On an object node: the name of the built-in type (``V1PodSpec``)."""
PRESENT: Final = "x-kcpctl-present"
"""On an object node: the fields that are structs by value in Go, so present in every object."""
STRATEGIES: Final = "x-kcpctl-strategies"
"""On an object node: patch strategies of fields that are structs."""

_SCALARS: Final[dict[str, Schema]] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "n": {"type": "number", "format": "double"},
    "b": {"type": "boolean"},
    "d": {"type": "string", "format": "byte"},
    "t": {"type": "string", "format": "date-time"},
    "x": {"x-kubernetes-int-or-string": True, "format": "int-or-string"},
    "o": {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"},
}
_QUANTITY: Final[Schema] = {"type": "string", "format": "quantity"}
_INT64: Final[Schema] = {"type": "integer", "format": "int64"}
_MICRO_TIME: Final[Schema] = {"type": "string", "format": "micro-time"}
_MICRO_TIMES: Final = frozenset({"eventTime", "renewTime", "acquireTime", "lastObservedTime"})


class _Data(msgspec.Struct):
    package: str
    kinds: dict[str, str]
    types: dict[str, dict[str, str]]


@cache
def _data() -> _Data:
    content = Path(__file__).with_name("builtin.json").read_bytes()
    return msgspec.json.decode(content, type=_Data)


def package() -> str:
    """Return the version of the ``kubernetes`` package that the data was made from."""
    return _data().package


def kinds() -> dict[str, str]:
    """Return ``group/version/Kind`` -> type of everything that has a schema."""
    return _data().kinds


def types(name: str) -> dict[str, str]:
    """Return the field codes of a type as they are in the data file."""
    return _data().types[name]


def schema_for(group: str, version: str, kind: str) -> Schema | None:
    """Return the schema of a built-in kind, None when it is not one (first call: some ms)."""
    name = kinds().get(f"{group}/{version}/{kind}")
    return None if name is None else type_schema(name)


def type_schema(name: str) -> Schema:
    """Return the node of a built-in type by its name (``V1ObjectMeta``)."""
    return _nodes.get(name) or _build(name)


_nodes: dict[str, Schema] = {}


def _build(name: str) -> Schema:
    node: Schema = {"type": "object", TYPE_NAME: name, "properties": {}}
    if name in extensions.ATOMIC_TYPES:
        node["x-kubernetes-map-type"] = "atomic"
    # Before the fields: a type can contain itself.
    _nodes[name] = node
    fields = types(name)
    names = [key.rstrip("!") for key in fields]
    lists = _pairs(extensions.LISTS.get(name, ""))
    for field, code in zip(names, fields.values(), strict=True):
        base = _field(name, field, code)
        node["properties"][field] = _with_list(node, field, base, lists.get(field, ""))
    if required := [key[:-1] for key in fields if key.endswith("!")]:
        node["required"] = required
    if present := [field for field in names if _is_present(name, field, fields)]:
        node[PRESENT] = tuple(present)
    return node


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split())


def _is_present(name: str, field: str, fields: dict[str, str]) -> bool:
    if field in extensions.ALWAYS_PRESENT.get(name, "").split():
        return True
    if not fields.keys() & {"metadata", "metadata!"}:
        return False
    code = fields.get(field) or fields.get(f"{field}!", "")
    return field in {"metadata", "spec", "status"} and len(code) > 1 and code[0] not in "[{"


def _field(name: str, field: str, code: str) -> Schema:
    if code[0] == "[":
        return {"type": "array", "items": _field(name, field, code[1:])}
    if code[0] == "{":
        return {"type": "object", "additionalProperties": _field(name, field, code[1:])}
    if code == "s" and field in extensions.QUANTITIES.get(name, "").split():
        return _QUANTITY
    if code == "i" and field in extensions.INT64.get(name, "").split():
        return _INT64
    if code == "t" and field in _MICRO_TIMES:
        return _MICRO_TIME
    if code == "s" and (values := _pairs(extensions.ENUMS.get(name, "")).get(field)):
        return {"type": "string", "enum": values.split("|")}
    return _SCALARS[code] if len(code) == 1 else type_schema(code)


def _with_list(parent: Schema, field: str, node: Schema, extension: str) -> Schema:
    """Add what the table says about lists, map types and patch strategies."""
    if not extension:
        return node
    kind, _, strategy = extension.partition("/")
    kind, _, keys = kind.partition(":")
    if strategy and TYPE_NAME in node:
        parent.setdefault(STRATEGIES, {})[field] = strategy
        return node
    node = dict(node)
    if kind == "map":
        node["x-kubernetes-list-type"] = "map"
        node["x-kubernetes-list-map-keys"] = keys.split(",")
    elif kind == "set":
        node["x-kubernetes-list-type"] = "set"
    elif kind == "atomic":
        node["x-kubernetes-map-type"] = "atomic"
    if strategy:
        node["x-kubernetes-patch-strategy"] = strategy
        if keys:
            node["x-kubernetes-patch-merge-key"] = keys.split(",")[0]
    return node
