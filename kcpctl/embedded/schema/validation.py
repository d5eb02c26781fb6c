"""Validation of custom resources by their structural schema, in the real server's words.

The sentences are those of the API server's validators, which clients and people match on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from kcpctl.embedded.schema import cel
from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.schema.formats import FORMATS
from kcpctl.embedded.schema.structural import child_schema
from kcpctl.embedded.status import Cause, show

__all__ = ["validate"]


_BLOCKING: Final = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_NOT_CHECKED: Final = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    cel.ROOT,
)


def validate(obj: Any, schema: Schema, *, old: Any = None) -> list[Cause]:
    """Return what is wrong with ``obj``: types, ranges, enums, lists, and CEL rules.

    ``old`` is what an update replaces, for transition rules (``oldSelf``). As on the real server
    rules do not run on an object whose structure is wrong, which is then said too.
    """
    # A list's missing key field is found by both.
    causes = list(dict.fromkeys([*_node(obj, schema, ""), *_lists(obj, schema, "")]))
    if not cel.has_rules(schema):
        return causes
    if any(cause.reason in _BLOCKING for cause in causes):
        return [*causes, _NOT_CHECKED]
    return [*causes, *cel.validate(obj, schema, old)]


def type_of(value: Any) -> str:
    """Return the name of a value's JSON type."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "null"


def join(path: str, key: str) -> str:
    """Return the path of a field below ``path``."""
    return f"{path}.{key}" if path else key


def _node(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if value is None and schema.get("nullable") is True:
        return
    if wrong := _type_cause(value, schema, path):
        yield wrong
        return
    yield from _enum(value, schema, path)
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, (int, float)):
        yield from _number(value, schema, path)
    elif isinstance(value, list):
        yield from _array(value, schema, path)
    elif isinstance(value, dict):
        yield from _object(value, schema, path)
    yield from _combinations(value, schema, path)


def _type_cause(value: Any, schema: Schema, path: str) -> Cause | None:
    actual = type_of(value)
    if schema.get("x-kubernetes-int-or-string"):
        expected, right = "integer,string", actual in {"integer", "string"}
    else:
        expected = schema.get("type", "")
        right = (
            not expected
            or actual == expected
            or (expected == "number" and actual == "integer")
            or (expected == "integer" and actual == "number" and float(value).is_integer())
        )
    if right:
        return None
    message = f'Invalid value: "{actual}": {path} in body must be of type {expected}: "{actual}"'
    return Cause("FieldValueTypeInvalid", message, path)


def _enum(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    choices = schema.get("enum")
    if choices is not None and not any(_same(value, choice) for choice in choices):
        shown = [choice if isinstance(choice, str) else str(choice) for choice in choices]
        yield Cause.not_supported(path, value, shown)


def _same(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    """Yield the first thing that is wrong with a string."""
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    pattern = schema.get("pattern")
    check = FORMATS.get(schema.get("format", ""))
    if longest is not None and len(value) > longest:
        yield Cause.too_long(path, longest)
    elif shortest is not None and len(value) < shortest:
        yield _invalid(path, value, f"should be at least {shortest} chars long")
    elif pattern and not _pattern(pattern)(value):
        yield _invalid(path, value, f"should match '{pattern}'")
    elif check and not check(value):
        yield _wrong_format(path, value, schema)


def _wrong_format(path: str, value: Any, schema: Schema) -> Cause:
    cause = _invalid(path, value, f"must be of type {schema['format']}: {show(value)}")
    return Cause("FieldValueTypeInvalid", cause.message, path)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> Callable[[str], object]:
    """Compile a pattern; one that Python cannot read lets everything pass."""
    try:
        return re.compile(pattern.replace(r"\z", r"\Z")).search
    except re.error:
        return lambda _: True


def _invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause.invalid(path, value, f"{path} in body {detail}")


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    maximum, minimum = schema.get("maximum"), schema.get("minimum")
    if maximum is not None:
        if schema.get("exclusiveMaximum"):
            if value >= maximum:
                yield _invalid(path, value, f"should be less than {_shown(maximum)}")
        elif value > maximum:
            yield _invalid(path, value, f"should be less than or equal to {_shown(maximum)}")
    if minimum is not None:
        if schema.get("exclusiveMinimum"):
            if value <= minimum:
                yield _invalid(path, value, f"should be greater than {_shown(minimum)}")
        elif value < minimum:
            yield _invalid(path, value, f"should be greater than or equal to {_shown(minimum)}")
    factor = schema.get("multipleOf")
    if factor and not math.isclose(math.remainder(value, factor), 0, abs_tol=1e-9):
        yield _invalid(path, value, f"should be a multiple of {_shown(factor)}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield _wrong_format(path, value, schema)


def _shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _array(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    limit = schema.get("maxItems")
    if limit is not None and len(value) > limit:
        yield _too_many(path, len(value), limit)
    limit = schema.get("minItems")
    if limit is not None and len(value) < limit:
        noun = "item" if limit == 1 else "items"
        yield _invalid(path, len(value), f"should have at least {limit} {noun}")
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from _node(item, items, f"{path}[{index}]")


def _too_many(path: str, count: int, limit: int) -> Cause:
    noun = "item" if limit == 1 else "items"
    message = f"Too many: {count}: must have at most {limit} {noun}"
    return Cause("FieldValueTooMany", message, path)


def _object(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    limit = schema.get("maxProperties")
    if limit is not None and len(value) > limit:
        yield _too_many(path, len(value), limit)
    limit = schema.get("minProperties")
    if limit is not None and len(value) < limit:
        yield _invalid(path, len(value), f"should have at least {limit} properties")
    for key in schema.get("required", ()):
        if key not in value:
            yield Cause.required(join(path, key))
    for key, item in value.items():
        child = child_schema(schema, key)
        if child is not None:
            yield from _node(item, child, join(path, key))


def _combinations(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    for branch in schema.get("allOf", ()):
        yield from _node(value, branch, path)
    branches = schema.get("anyOf")
    if branches and not any(_passes(value, branch) for branch in branches):
        yield _invalid(path, value, "must validate at least one schema (anyOf)")
    branches = schema.get("oneOf")
    if branches:
        passed = sum(_passes(value, branch) for branch in branches)
        if passed != 1:
            found = "Found none valid" if not passed else f"Found {passed} valid alternatives"
            yield _invalid(path, value, f"must validate one and only one schema (oneOf). {found}")
    if (refused := schema.get("not")) is not None and _passes(value, refused):
        yield _invalid(path, value, "must not validate the schema (not)")


def _passes(value: Any, schema: Schema) -> bool:
    return next(_node(value, schema, ""), None) is None


def _lists(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    """Sets and maps: no element, no key twice."""
    if isinstance(value, dict):
        for key, item in value.items():
            child = child_schema(schema, key)
            if child is not None:
                yield from _lists(item, child, join(path, key))
    elif isinstance(value, list):
        items = schema.get("items")
        yield from _duplicates(value, schema, path)
        if isinstance(items, dict):
            for index, item in enumerate(value):
                yield from _lists(item, items, f"{path}[{index}]")


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    list_type = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if list_type not in {"set", "map"}:
        return
    seen: list[Any] = []
    for index, item in enumerate(value):
        identity = item
        if list_type == "map":
            if not isinstance(item, dict):
                text = "must be an object for an array of list-type map"
                yield Cause.invalid(f"{path}[{index}]", item, text)
                continue
            defaults = schema["items"].get("properties", {})
            missing = [k for k in keys if k not in item and "default" not in defaults.get(k, {})]
            if missing:
                yield from (Cause.required(f"{path}[{index}].{key}") for key in missing)
                continue
            defaulted = {k: defaults.get(k, {}).get("default") for k in keys}
            identity = {k: item.get(k, defaulted[k]) for k in sorted(keys)}
        if any(_same(identity, other) for other in seen):
            yield Cause.duplicate(f"{path}[{index}]", identity)
        seen.append(identity)
