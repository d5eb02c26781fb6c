"""Strategic merge patch: lists of built-in kinds are merged by key."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.patch.operations import go_kind
from kcpctl.embedded.schema.builtin import STRATEGIES, Schema
from kcpctl.embedded.status import bad_request, internal

__all__ = ["go_text", "strategic_merge_patch"]

Json = dict[str, Any]
_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"
_NOTHING: Final[Schema] = {}


def strategic_merge_patch(doc: Json, patch: Any, schema: Schema) -> Json:
    """Return ``doc`` merged with ``patch`` by the schema's patch strategies and merge keys.

    Directives: ``$patch`` (replace, delete, merge), ``$retainKeys``,
    ``$deleteFromPrimitiveList/...``, ``$setElementOrder/...``. Raises StatusError as the real
    server answers (500 for an unknown ``$patch`` or an element without its merge key).
    """
    if not isinstance(patch, dict):
        kind = go_kind(patch)
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise bad_request(text)
    return _merge_map(doc, patch, schema)


def go_text(value: Any) -> str:
    """Return a value as Go prints it with %v."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _unknown(directive: Any, patch: Json) -> Exception:
    return internal(f"unknown patch type: {directive} in map: {go_text(patch)}")


def _merge_map(original: Json, patch: Json, schema: Schema) -> Json:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _unknown(directive, patch)
    result = dict(original)
    rest = {key: value for key, value in patch.items() if key != _DIRECTIVE}
    _retain_keys(result, rest)
    for key in [key for key in rest if key.startswith(_DELETE_FROM)]:
        _delete_from(result, key.removeprefix(_DELETE_FROM), rest.pop(key))
    for key in [key for key in rest if key.startswith(_ORDER)]:
        _merge_ordered(result, rest, key.removeprefix(_ORDER), rest.pop(key), schema)
    for key, value in rest.items():
        _merge_field(result, key, value, schema)
    return result


def _merge_field(result: Json, key: str, value: Any, schema: Schema) -> None:
    child = _child(schema, key)
    current = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict) and isinstance(current, dict):
        strategy = child.get("x-kubernetes-patch-strategy", "") or schema.get(STRATEGIES, {}).get(
            key, ""
        )
        replaces = "replace" in strategy.split(",")
        result[key] = _plain(value) if replaces else _merge_map(current, value, child)
    elif isinstance(value, list) and isinstance(current, list) and _merges(child):
        result[key] = _merge_list(current, value, child)
    else:
        result[key] = _plain(value)


def _child(schema: Schema, key: str) -> Schema:
    found = schema.get("properties", _NOTHING).get(key) or schema.get("additionalProperties")
    return found if isinstance(found, dict) else _NOTHING


def _merges(schema: Schema) -> bool:
    return "merge" in schema.get("x-kubernetes-patch-strategy", "").split(",")


def _plain(value: Any) -> Any:
    """Return a value that the object did not have: without directives and nulls."""
    if isinstance(value, dict):
        if value.get(_DIRECTIVE) == "delete":
            return {}
        return {
            key: _plain(item)
            for key, item in value.items()
            if item is not None and not key.startswith(("$patch", _RETAIN, _DELETE_FROM, _ORDER))
        }
    if isinstance(value, list):
        return [
            _plain(item)
            for item in value
            if not (isinstance(item, dict) and item.get(_DIRECTIVE) in {"delete", "replace"})
        ]
    return value


def _retain_keys(result: Json, rest: Json) -> None:
    if _RETAIN not in rest:
        return
    kept = rest.pop(_RETAIN)
    if not isinstance(kept, list) or any(
        value is not None and key not in kept for key, value in rest.items() if key[:1] != "$"
    ):
        raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in result if key not in kept]:
        del result[key]


def _delete_from(result: Json, key: str, values: Any) -> None:
    if isinstance(result.get(key), list) and isinstance(values, list):
        result[key] = [item for item in result[key] if item not in values]


def _merge_ordered(result: Json, rest: Json, key: str, order: Any, schema: Schema) -> None:
    """Merge one list and bring it into the order that the patch asks for."""
    if not isinstance(order, list):
        raise bad_request("expected a list of elements in $setElementOrder")
    child = _child(schema, key)
    merge_key = child.get("x-kubernetes-patch-merge-key", "")
    original, patch = result.get(key), rest.pop(key, None)
    if not isinstance(original, list) and patch is None:
        return
    if isinstance(patch, list):
        _check_order(patch, order, merge_key)
        original = original if isinstance(original, list) else []
        merged = _merge_list(original, patch, child) if original else _plain(patch)
    else:
        merged = original
    ordered = [_identity(item, merge_key) for item in order]
    result[key] = _interleave(merged, ordered, original or [], merge_key)


def _check_order(patch: list[Any], order: list[Any], merge_key: str) -> None:
    wanted = [_identity(item, merge_key) for item in order]
    items = [i for i in patch if not (isinstance(i, dict) and _DIRECTIVE in i)]
    at = -1
    for item in items:
        identity = _identity(item, merge_key)
        if identity not in wanted or wanted.index(identity) < at:
            raise internal(
                f"The order in patch list:\n{go_text(items)}\n "
                f"doesn't match $setElementOrder list:\n{go_text(order)}\n"
            )
        at = wanted.index(identity)


def _identity(item: Any, merge_key: str) -> Any:
    return item.get(merge_key) if merge_key and isinstance(item, dict) else item


def _merge_list(original: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    if not merge_key:
        merged = list(dict.fromkeys([*original, *patch])) if patch else list(original)
        return _interleave(merged, patch, original, "")
    both = original + patch
    if any(isinstance(item, dict) != isinstance(both[0], dict) for item in both):
        raise internal(
            f"list element types are not identical: [{go_text(original)} {go_text(patch)}]"
        )
    if any(item.get(_DIRECTIVE) == "replace" for item in patch):
        return [_plain(item) for item in patch if _DIRECTIVE not in item]
    kept, additions = list(original), []
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if directive not in (None, "delete", "merge"):
            raise _unknown(directive, item)
        if merge_key not in item:
            shown = go_text(item)
            raise internal(f"map: {shown} does not contain declared merge key: {merge_key}")
        if directive == "delete":
            kept = [other for other in kept if other.get(merge_key) != item[merge_key]]
        else:
            additions.append(item)
    merged = _merge_elements(kept, additions, merge_key, schema.get("items", _NOTHING))
    identities = [item[merge_key] for item in additions]
    return _interleave(merged, identities, original, merge_key)


def _merge_elements(kept: list[Any], patch: list[Any], key: str, items: Schema) -> list[Any]:
    merged = list(kept)
    for item in patch:
        matches = [i for i, other in enumerate(merged) if other.get(key) == item[key]]
        if matches:
            merged[matches[0]] = _merge_map(merged[matches[0]], item, items)
        else:
            merged.append(_plain(item))
    return merged


def _interleave(
    merged: list[Any], patch_order: list[Any], server_order: list[Any], merge_key: str
) -> list[Any]:
    """Order a merged list: the patch's elements as the patch has them, the others between.

    An element that only the server has comes before the first element of the patch that follows
    it in the live list; where the live list does not know, the patch's element goes first.
    """
    positions = [_identity(item, merge_key) for item in server_order]

    def position(item: Any) -> int:
        identity = _identity(item, merge_key)
        return positions.index(identity) if identity in positions else -1

    mine = [item for item in merged if _identity(item, merge_key) in patch_order]
    mine.sort(key=lambda item: patch_order.index(_identity(item, merge_key)))
    others = [item for item in merged if _identity(item, merge_key) not in patch_order]
    others.sort(key=position)
    result: list[Any] = []
    while others and mine:
        left, right = position(others[0]), position(mine[0])
        from_others = left >= 0 and right >= 0 and left < right
        result.append(others.pop(0) if from_others else mine.pop(0))
    return result + others + mine
