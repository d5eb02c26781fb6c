"""What decoding into Go structs does to built-in objects: check types, drop what is empty."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from kcpctl.embedded.schema.builtin import TYPE_NAME, Schema
from kcpctl.embedded.schema.formats import is_date_time
from kcpctl.embedded.schema.quantities import canonical
from kcpctl.embedded.schema.structural import child_schema
from kcpctl.embedded.status import StatusError, bad_request

__all__ = ["check_types"]

_QUANTITY_ERROR: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
# The package puts the group before names that several groups have: CoreV1Event.
_GROUP_PREFIX: Final = re.compile(r"^([A-Z][a-z]+)?V\d(alpha\d|beta\d)?(?=[A-Z])")


class _WrongType(Exception):
    pass


def check_types(obj: dict[str, Any], schema: Schema, kind: str) -> tuple[Any, StatusError | None]:
    """Check a built-in object's types as decoding into Go structs does.

    Returns the object as Go would encode it again (nulls, empty lists and empty maps dropped,
    quantities in canonical form) and None; or the object itself and the 400 error.
    """
    try:
        return _struct(obj, schema, "", kind), None
    except _WrongType as error:
        version = str(obj.get("apiVersion", "v1")).rpartition("/")[2]
        text = f'{kind} in version "{version}" cannot be handled as a {kind}: {error}'
        return obj, bad_request(text)


def go_name(schema: Schema) -> str:
    """Return the Go struct's name: ``V1PodSpec`` is ``PodSpec``."""
    return _GROUP_PREFIX.sub("", str(schema.get(TYPE_NAME, "")))


def _go_type(schema: Schema) -> str:
    if TYPE_NAME in schema:
        return f"{'v2' if str(schema[TYPE_NAME]).startswith('V2') else 'v1'}.{go_name(schema)}"
    if "items" in schema:
        return f"[]{_go_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map[string]{_go_type(schema['additionalProperties'])}"
    if schema.get("format") == "int-or-string":
        return "int32"
    names = {"integer": schema.get("format", "int32"), "boolean": "bool", "number": "float64"}
    return str(names.get(schema.get("type", ""), "string"))


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _refuse(value: Any, schema: Schema, where: str) -> _WrongType:
    word = _word(value)
    if isinstance(value, float) and schema.get("type") == "integer":
        word = f"number {value}"
    field = f"Go struct field {where}" if where else "Go value"
    return _WrongType(f"json: cannot unmarshal {word} into {field} of type {_go_type(schema)}")


def _struct(value: Any, schema: Schema, path: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(value, schema, path)
    result: dict[str, Any] = {}
    required = schema.get("required", ())
    for key, item in value.items():
        child = child_schema(schema, key)
        if child is None:
            result[key] = item
            continue
        if item is None:
            continue
        dotted = f"{path.partition('.')[2]}.{key}".lstrip(".")
        converted = _value(item, child, f"{name}.{dotted}")
        if converted or key in required or not _omitted_when_empty(child):
            result[key] = converted
    return result


def _omitted_when_empty(schema: Schema) -> bool:
    return "items" in schema or "additionalProperties" in schema


def _value(value: Any, schema: Schema, where: str) -> Any:
    if TYPE_NAME in schema:
        return _struct(value, schema, where, go_name(schema))
    if "items" in schema:
        if not isinstance(value, list):
            raise _refuse(value, schema, where)
        return [_element(item, schema["items"], where) for item in value]
    if "additionalProperties" in schema:
        if not isinstance(value, dict):
            raise _refuse(value, schema, where)
        child = schema["additionalProperties"]
        return {key: _element(item, child, where) for key, item in value.items()}
    return _scalar(value, schema, where)


_ZEROES: Final = {"string": "", "integer": 0, "boolean": False, "array": None}


def _element(value: Any, schema: Schema, where: str) -> Any:
    if value is None:
        return {} if TYPE_NAME in schema else _ZEROES.get(schema.get("type", ""))
    return _value(value, schema, where)


def _scalar(value: Any, schema: Schema, where: str) -> Any:
    form = schema.get("format", "")
    if form == "quantity":
        return _quantity(value)
    if form == "int-or-string":
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise _refuse(value, schema, where)
        return value
    expected = schema.get("type")
    if expected is None:
        return value
    if expected == "string":
        if not isinstance(value, str):
            raise _refuse(value, schema, where)
        return _text(value, form)
    if expected == "boolean":
        if not isinstance(value, bool):
            raise _refuse(value, schema, where)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refuse(value, schema, where)
    elif expected == "integer":
        return _integer(value, schema, where)
    return value


def _integer(value: float, schema: Schema, where: str) -> int:
    bits = 63 if schema.get("format") == "int64" else 31
    if not float(value).is_integer():
        raise _refuse(value, schema, where)
    if not -(2**bits) <= value < 2**bits:
        raise _WrongType(
            f"json: cannot unmarshal number {int(value)} into Go struct field {where} "
            f"of type {schema.get('format', 'int32')}"
        )
    return int(value)


def _text(value: str, form: str) -> str:
    if form == "byte":
        _check_base64(value)
    elif form == "date-time" and not is_date_time(value):
        raise _time_error(value, "2006-01-02T15:04:05Z07:00", value, "2006")
    elif form == "micro-time" and not is_date_time(value):
        raise _time_error(value, "2006-01-02T15:04:05.000000Z07:00", value, "2006")
    elif form == "micro-time" and "." not in value:
        raise _time_error(value, "2006-01-02T15:04:05.000000Z07:00", value[19:], ".000000")
    return value


def _time_error(value: str, layout: str, rest: str, element: str) -> _WrongType:
    return _WrongType(f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{element}"')


def _check_base64(value: str) -> None:
    text = value.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        wrong = (index for index, char in enumerate(value) if char not in alphabet)
        at = next(wrong, len(value))
        # Go reports the start of the group when the input ends too early.
        offset = at if at < len(value) else len(value) - len(value) % 4 or len(value)
        raise _WrongType(f"illegal base64 data at input byte {offset}") from None


def _quantity(value: Any) -> str:
    text = str(value) if isinstance(value, (int, float, str)) else ""
    result = None if isinstance(value, bool) else canonical(text)
    if result is None:
        raise _WrongType(_QUANTITY_ERROR)
    return result
