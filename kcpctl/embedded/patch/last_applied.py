"""The move from kubectl's client-side apply to server-side apply.

Client-side apply keeps what it applied in an annotation of the object. When kubectl's server-side
apply meets such an object, what the annotation says is kubectl's own, whatever manager the fields
were tracked for; and the annotation follows, so that a return to client-side apply is possible.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kcpctl.embedded.patch.fieldset import FieldSet
from kcpctl.embedded.patch.typed import compare, field_set
from kcpctl.embedded.schema.builtin import Schema

__all__ = ["with_last_applied", "yielded_fields"]

Json = dict[str, Any]
_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
# Who wants none of this uses another name.
_MANAGER: Final = "kubectl"
_encoder = msgspec.json.Encoder(order="sorted")


def yielded_fields(live: Json, manager: str, schema: Schema) -> FieldSet:
    """Return the fields that ``manager`` may take from others without force.

    They are those that client-side apply set and nobody has changed since.
    """
    text = _annotation(live)
    if manager != _MANAGER or text is None:
        return FieldSet()
    try:
        last = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return FieldSet()
    if not isinstance(last, dict):
        return FieldSet()
    difference = compare(last, live, schema)
    return field_set(last, schema).difference(difference.modified.union(difference.removed))


def with_last_applied(result: Json, applied: Json, manager: str) -> Json:
    """Return the result of an apply, with the annotation following when it has one."""
    if manager != _MANAGER or _annotation(result) is None:
        return result
    meta = result["metadata"]
    text = _encoder.encode(_without_annotation(applied)).decode() + "\n"
    annotations = {**meta["annotations"], _ANNOTATION: text}
    return {**result, "metadata": {**meta, "annotations": annotations}}


def _annotation(obj: Json) -> str | None:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(_ANNOTATION)
    return text if isinstance(text, str) else None


def _without_annotation(obj: Json) -> Json:
    meta = obj["metadata"]
    annotations = meta.get("annotations") or {}
    if _ANNOTATION not in annotations:
        return obj
    kept = {key: value for key, value in annotations.items() if key != _ANNOTATION}
    return {**obj, "metadata": {**meta, "annotations": kept}}
