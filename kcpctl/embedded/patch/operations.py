"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import Any, Final

from kcpctl.embedded.status import StatusError, bad_request, request_too_large

__all__ = ["go_kind", "json_patch", "merge_patch"]

_MAX_OPERATIONS: Final = 10000
_KNOWN: Final = frozenset({"add", "remove", "replace", "move", "copy", "test"})


def go_kind(value: Any) -> str:
    """Return what Go's decoder calls the JSON type of ``value``."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def json_patch(doc: dict[str, Any], ops: Any) -> dict[str, Any]:
    """Return ``doc`` after the operations.

    A ``replace`` of a key that a map does not have adds it, as on the real server. Raises
    StatusError: 400 malformed, 422 not applicable, 413 above 10000 operations.
    """
    if not isinstance(ops, list):
        kind = go_kind(ops)
        raise _undecodable(
            f"json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        )
    if len(ops) > _MAX_OPERATIONS:
        raise request_too_large(
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{_MAX_OPERATIONS}, got {len(ops)}"
        )
    # Loaded here: most servers never see a JSON patch.
    import jsonpatch
    import jsonpointer

    result = copy.deepcopy(doc)
    failures = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError)
    for op in ops:
        if not isinstance(op, dict) or op.get("op") not in _KNOWN:
            raise _inapplicable()
        try:
            result = jsonpatch.apply_patch(result, [_lenient(result, op)], in_place=True)
        except failures:
            raise _inapplicable() from None
    if not isinstance(result, dict):
        raise _inapplicable()
    return result


def _lenient(doc: Any, op: dict[str, Any]) -> dict[str, Any]:
    if op["op"] != "replace":
        return op
    import jsonpointer

    parent, key = jsonpointer.JsonPointer(op["path"]).to_last(doc)
    return {**op, "op": "add"} if isinstance(parent, dict) and key not in parent else op


def _undecodable(detail: str) -> StatusError:
    return bad_request(f"error decoding patch: {detail}")


def _inapplicable() -> StatusError:
    text = "the server rejected our request due to an error in our request"
    return StatusError(422, "Invalid", text, {})


def merge_patch(doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return ``doc`` merged with ``patch``; null deletes.

    Raises StatusError 400 when ``patch`` is no object.
    """
    if patch is None:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(patch, dict):
        kind = go_kind(patch)
        raise _undecodable(
            f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    return _merge(doc, patch)


def _merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge(result.get(key), value)
        else:
            result[key] = value
    return result
