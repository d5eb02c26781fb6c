"""Columns and cells of any resource."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.tables.durations import human, parse_time
from kcpctl.embedded.tables.jsonpath import find
from kcpctl.embedded.tables.rows import ROWS

__all__ = ["cells", "columns"]

Json = dict[str, Any]
_TYPES: Final = {"i": "integer", "b": "boolean", "d": "date"}
_DEFAULT: Final = "Name Created_At:d"
_AGE_COLUMN: Final[Json] = {
    "name": "Age",
    "type": "date",
    "jsonPath": ".metadata.creationTimestamp",
    "description": "When the object was created.",
}


def columns(info: ResourceInfo) -> list[dict[str, Any]]:
    """Return the ``columnDefinitions`` of a kind's Table."""
    if info.crd is None:
        text, _ = ROWS.get((info.group, info.kind), (_DEFAULT, None))
        return [dict(column) for column in _built_in_columns(text)]
    return [_column("Name"), *(_custom_column(column) for column in _custom(info))]


@lru_cache
def _built_in_columns(text: str) -> tuple[Json, ...]:
    result = []
    for word in text.split():
        name, _, kind = word.rstrip("*").partition(":")
        column = _column(name.replace("_", " "), type=_TYPES.get(kind, "string"))
        column["priority"] = int(word.endswith("*"))
        result.append(column)
    return tuple(result)


def _column(name: str, **fields: Any) -> Json:
    column = {"name": name, "type": "string", "format": "name" if name == "Name" else ""}
    return {**column, "description": f"{name} of the object.", "priority": 0, **fields}


def _custom(info: ResourceInfo) -> tuple[Json, ...]:
    given = info.crd.columns if info.crd else ()
    return given or (_AGE_COLUMN,)


def _custom_column(column: Json) -> Json:
    return {
        "name": column.get("name", ""),
        "type": column.get("type", "string"),
        "format": column.get("format", ""),
        "description": column.get("description")
        or f"Custom resource definition column (in JSONPath format): {column.get('jsonPath', '')}",
        "priority": column.get("priority", 0),
    }


def cells(info: ResourceInfo, obj: dict[str, Any], now: float) -> list[Any]:
    """Return the cells of a row; ``now`` is wall clock seconds."""
    name = obj["metadata"].get("name", "")
    if info.crd is not None:
        return [name, *(_custom_cell(column, obj, now) for column in _custom(info))]
    found = ROWS.get((info.group, info.kind))
    if found is None:
        return [name, obj["metadata"].get("creationTimestamp")]
    text, row = found
    rest = row(obj, now)
    return rest if not text.startswith("Name") else [name, *rest]


def _custom_cell(column: Json, obj: Json, now: float) -> Any:
    found = find(column.get("jsonPath", ""), obj)
    if not found:
        return None
    value, kind = found[0], column.get("type", "string")
    if kind == "string":
        return _text(value)
    if kind == "date":
        return _date(value, now)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if kind == "integer" else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _date(value: Any, now: float) -> str | None:
    if not isinstance(value, str):
        return None
    seconds = parse_time(value)
    return "<invalid>" if seconds is None else human(now - seconds)
