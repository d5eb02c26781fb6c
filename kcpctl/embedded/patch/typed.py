"""Objects under their schema: which fields they have, how two differ, how one is merged into
another, and what is left when fields are removed.

Structs and maps are granular, lists are owned as a whole unless the schema says ``set`` or
``map``, and what it calls ``atomic`` is one leaf. A field that the schema leaves open
(x-kubernetes-preserve-unknown-fields) is treated by the shape of its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kcpctl.embedded.patch.fieldset import FieldSet, Path, key_element, value_element
from kcpctl.embedded.patch.fieldset import field as field_element
from kcpctl.embedded.schema.builtin import PRESENT, TYPE_NAME, Schema
from kcpctl.embedded.schema.structural import child_schema

__all__ = ["Comparison", "compare", "field_set", "merge", "named_fields", "remove"]

_OPEN: Final[Schema] = {"x-kubernetes-preserve-unknown-fields": True}
_MISSING: Final = object()


def below(schema: Schema, key: str) -> Schema:
    """Return the schema of a field; open when it is not specified."""
    return child_schema(schema, key) or _OPEN


def items_of(schema: Schema) -> Schema:
    """Return the schema of a list's elements."""
    items = schema.get("items")
    return items if isinstance(items, dict) else _OPEN


def is_leaf(value: Any, schema: Schema) -> bool:
    """Whether ``value`` has one owner as a whole."""
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(value, list):
        return schema.get("x-kubernetes-list-type") not in {"map", "set"}
    return True


def element_of(item: Any, schema: Schema) -> str:
    """Return the path element of an element of a set or map list."""
    if schema.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return value_element(item)
    keys = schema.get("x-kubernetes-list-map-keys", ())
    return key_element({key: item.get(key, key_default(schema, key)) for key in keys})


def key_default(schema: Schema, key: str) -> Any:
    """Return what a key field is when an element omits it; None when it has to be there."""
    child = below(items_of(schema), key)
    if "default" in child or TYPE_NAME not in items_of(schema):
        return child.get("default")
    # Go's zero value, except that a port's protocol defaults to TCP in the schema.
    return "TCP" if key == "protocol" else {"string": "", "integer": 0}.get(child.get("type", ""))


def is_declared(schema: Schema, key: str) -> bool:
    """Whether a field is one of a struct, not a key of a free map."""
    return key in schema.get("properties", ())


def field_set(value: Any, schema: Schema) -> FieldSet:
    """Return the fields that an applied object has an opinion on."""
    result = FieldSet()
    if isinstance(value, dict) and not is_leaf(value, schema):
        for key, item in value.items():
            element = field_element(key)
            _collect(item, below(schema, key), result, element)
            if item is None or item == {} or not is_declared(schema, key):
                result.members.add(element)
    elif isinstance(value, list) and not is_leaf(value, schema):
        for item in value:
            element = element_of(item, schema)
            _collect(item, items_of(schema), result, element)
            result.members.add(element)
    return result


def _collect(value: Any, schema: Schema, parent: FieldSet, element: str) -> None:
    if is_leaf(value, schema):
        parent.members.add(element)
    elif inner := field_set(value, schema):
        parent.children[element] = inner


@dataclass(slots=True)
class Comparison:
    """The paths in which two objects differ."""

    added: FieldSet = field(default_factory=FieldSet)
    removed: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema) -> Comparison:
    """Return how ``new`` differs from ``old``."""
    result = Comparison()
    _compare_maps(dict(old), dict(new), schema, (), result)
    return result


def _compare(old: Any, new: Any, schema: Schema, path: Path, result: Comparison) -> None:
    if _is_leaf_pair(old, new, schema):
        if old is _MISSING:
            result.added.add(path)
        elif new is _MISSING:
            result.removed.add(path)
        elif old != new or type(old) is not type(new):
            result.modified.add(path)
        return
    if isinstance(old, list) or isinstance(new, list):
        _compare_lists(_list(old), _list(new), schema, path, result)
    else:
        _compare_maps(old, new, schema, path, result)
    if old is _MISSING:
        result.added.add(path)
    elif new is _MISSING:
        result.removed.add(path)


def _is_leaf_pair(old: Any, new: Any, schema: Schema) -> bool:
    if not old and not new:
        # Empty or null on both sides: the difference between the two is one of the whole.
        return True
    known = [value for value in (old, new) if value is not _MISSING and value is not None]
    shapes = {type(value) for value in known}
    return len(shapes) != 1 or is_leaf(known[0], schema)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _compare_maps(old: Any, new: Any, schema: Schema, path: Path, result: Comparison) -> None:
    for key in {**(old if isinstance(old, dict) else {}), **(new if isinstance(new, dict) else {})}:
        before, after = _get(old, key, schema), _get(new, key, schema)
        if before is _MISSING and isinstance(old, dict) and _is_zero(after, key, schema):
            continue
        _compare(before, after, below(schema, key), (*path, field_element(key)), result)


def _is_zero(value: Any, key: str, schema: Schema) -> bool:
    """Whether Go writes this value for a field of a struct that nobody set."""
    if TYPE_NAME not in schema or not is_declared(schema, key):
        return False
    return (
        value is None or value == "" or (key in schema.get("required", ()) and value in (0, False))
    )


def _get(owner: Any, key: str, schema: Schema) -> Any:
    """Return a field; what a struct holds when the field is left out.

    Structs by value are there always, and lists that are always written are null: so nobody
    owns their presence, only what is in them.
    """
    if not isinstance(owner, dict):
        return _MISSING
    if key in owner:
        return owner[key]
    if key in schema.get(PRESENT, ()):
        return {}
    if key in schema.get("required", ()) and TYPE_NAME in schema and "items" in below(schema, key):
        return None
    return _MISSING


def _compare_lists(
    old: list[Any], new: list[Any], schema: Schema, path: Path, result: Comparison
) -> None:
    before, after = _index(old, schema), _index(new, schema)
    for element in {**before, **after}:
        left, right = before.get(element, []), after.get(element, [])
        if len(left) > 1 or len(right) > 1:
            # Duplicates have no identity: they count as one leaf.
            if left != right:
                kind = result.modified if left and right else result.added if right else None
                (kind or result.removed).add((*path, element))
            continue
        _compare(
            left[0] if left else _MISSING,
            right[0] if right else _MISSING,
            items_of(schema),
            (*path, element),
            result,
        )


def _index(items: list[Any], schema: Schema) -> dict[str, list[Any]]:
    index: dict[str, list[Any]] = {}
    for item in items:
        index.setdefault(element_of(item, schema), []).append(item)
    return index


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """Return ``live`` with everything that ``applied`` has an opinion on."""
    if isinstance(live, dict) and isinstance(applied, dict) and not is_leaf(applied, schema):
        result = dict(live)
        for key, value in applied.items():
            result[key] = merge(live[key], value, below(schema, key)) if key in live else value
        return result
    if isinstance(live, list) and isinstance(applied, list) and not is_leaf(applied, schema):
        return list(_merge_lists(live, applied, schema))
    return applied


def _merge_lists(live: list[Any], applied: list[Any], schema: Schema) -> Iterator[Any]:
    """Yield the elements of both: the applied ones in their order, the others where they were."""
    mine = {element_of(item, schema): item for item in applied}
    theirs: dict[str, Any] = {}
    for item in live:
        theirs.setdefault(element_of(item, schema), item)
    order = list(mine)
    shared = [element for element in order if element in theirs]
    emitted: set[str] = set()
    right = 0

    def take(element: str) -> Any:
        emitted.add(element)
        if element in shared:
            shared.remove(element)
        item = mine[element]
        return merge(theirs[element], item, items_of(schema)) if element in theirs else item

    for item in live:
        element = element_of(item, schema)
        if element not in mine:
            yield item
            continue
        if element in emitted or (shared and shared[0] != element):
            continue
        # The next element that both have: what the applied list has before it goes first.
        while right < len(order):
            current = order[right]
            right += 1
            yield take(current)
            if current == element:
                break
    for element in order[right:]:
        yield take(element)


def remove(value: Any, paths: FieldSet, schema: Schema) -> Any:
    """Return ``value`` without the given paths and what is below them; None when nothing is left.

    Containers that removal has emptied become null.
    """
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for key, item in value.items():
            element = field_element(key)
            if element in paths.members:
                continue
            inner = paths.children.get(element)
            kept[key] = remove(item, inner, below(schema, key)) if inner else item
        return kept or None
    if isinstance(value, list) and not is_leaf(value, schema):
        left = []
        for item in value:
            element = element_of(item, schema)
            if element in paths.members:
                continue
            inner = paths.children.get(element)
            left.append(remove(item, inner, items_of(schema)) if inner else item)
        return left or None
    return value


def named_fields(paths: FieldSet, schema: Schema) -> FieldSet:
    """Return ``paths`` with every struct field on the way to one of them."""
    result = FieldSet()
    result.members = set(paths.members)
    for element, inner in paths.children.items():
        key = element[2:]
        is_field = element.startswith("f:")
        if is_field and is_declared(schema, key):
            result.members.add(element)
        child = below(schema, key) if is_field else items_of(schema)
        result.children[element] = named_fields(inner, child)
    return result
