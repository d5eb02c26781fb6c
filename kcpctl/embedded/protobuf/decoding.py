"""From Kubernetes' protobuf envelope to the object that the JSON of the same client would give."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

from kcpctl.embedded.protobuf.wire import double, fields, signed, varints
from kcpctl.runtime import format_micro_time, format_time

__all__ = ["decode_protobuf", "is_protobuf"]

Json = dict[str, Any]
_MAGIC: Final = b"k8s\x00"
_TYPE_META, _RAW, _ENCODING, _CONTENT_TYPE = 1, 2, 3, 4
_YEAR_10000: Final = 253_402_300_800
_MAX_DEPTH: Final = 100  # managedFields apart, nothing nests deeper than a dozen


class _Field(NamedTuple):
    """One field of a message, as ``hack/update-protobuf`` writes it.

    codec: a letter (see ``_SCALARS``) or the name of a message. flags: ``p`` pointer, ``l`` list,
    ``k`` map with string keys, ``n`` inlined into the surrounding object, ``o`` omitempty.
    """

    number: int
    name: str
    codec: str
    flags: str


class _Tables(NamedTuple):
    kinds: Mapping[str, str]
    messages: Mapping[str, Mapping[int, _Field]]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    text = resources.files("kcpctl.embedded.protobuf").joinpath("fields.json").read_text()
    data = json.loads(text)
    messages = {
        name: {entry[0]: _Field(*entry) for entry in entries}
        for name, entries in data["messages"].items()
    }
    return _Tables(data["kinds"], messages)


def is_protobuf(body: bytes) -> bool:
    """Whether a body starts as Kubernetes' protobuf does."""
    return body.startswith(_MAGIC)


def decode_protobuf(body: bytes) -> Json:
    """Return the object of a body, with apiVersion and kind; raises ValueError.

    What Go's JSON would leave out (empty values that are not behind a pointer) is left out.
    """
    if not is_protobuf(body):
        raise ValueError("provided data does not appear to be a protobuf message")
    envelope = dict(fields(body[len(_MAGIC) :]))
    meta = {number: _text(value) for number, value in fields(_bytes(envelope.get(_TYPE_META, b"")))}
    api_version, kind = meta.get(1, ""), meta.get(2, "")
    if envelope.get(_ENCODING) or envelope.get(_CONTENT_TYPE):
        raise ValueError("an encoding or content type inside the message is not supported")
    key = "v1/DeleteOptions" if kind == "DeleteOptions" else f"{api_version}/{kind}"
    message = _tables().kinds.get(key)
    if message is None:
        raise ValueError(f'no kind "{kind}" is registered for version "{api_version}"')
    obj = _message(message, _bytes(envelope.get(_RAW, b"")), _MAX_DEPTH)
    return {"apiVersion": api_version, "kind": kind, **obj}


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes should be")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _message(name: str, data: bytes, depth: int) -> Json:
    if depth == 0:
        raise ValueError("the message is nested too deeply")
    known = _tables().messages[name]
    obj: Json = {}
    for number, raw in fields(data):
        field = known.get(number)
        if field is not None:  # fields of a newer client are dropped, as unknown JSON fields are
            _put(obj, field, raw, depth)
    return obj


def _put(obj: Json, field: _Field, raw: int | bytes, depth: int) -> None:
    """Put one occurrence of a field into the object."""
    if "k" in field.flags:
        key, value = _entry(field, raw, depth)
        obj.setdefault(field.name, {})[key] = value
    elif "l" in field.flags:
        found = obj.setdefault(field.name, [])
        if field.codec == "i":
            found += varints(raw)
        else:
            found.append(_value(field.codec, raw, depth))
    else:
        value = _value(field.codec, raw, depth)
        if "n" in field.flags:
            obj.update(value)
        elif value is None:
            return  # a time that is not set
        elif value or "p" in field.flags or "o" not in field.flags or isinstance(value, dict):
            obj[field.name] = value


def _entry(field: _Field, raw: int | bytes, depth: int) -> tuple[str, Any]:
    parts = dict(fields(_bytes(raw)))
    empty: int | bytes = 0 if field.codec in ("i", "b") else b""
    return _text(parts.get(1, b"")), _value(field.codec, parts.get(2, empty), depth)


def _value(codec: str, raw: int | bytes, depth: int) -> Any:
    scalar = _SCALARS.get(codec)
    if scalar is not None:
        return scalar(raw)
    return _message(codec, _bytes(raw), depth - 1)


def _number(raw: int | bytes) -> int:
    if not isinstance(raw, int):
        raise ValueError("bytes where a number should be")
    return signed(raw)


def _time(raw: int | bytes) -> str | None:
    seconds = _seconds(raw)
    return None if seconds is None else format_time(seconds)


def _micro_time(raw: int | bytes) -> str | None:
    seconds = _seconds(raw)
    return None if seconds is None else format_micro_time(seconds)


def _seconds(raw: int | bytes) -> float | None:
    """Return the moment, None for one that is not set; raises ValueError."""
    parts = dict(fields(_bytes(raw)))
    if not parts:
        return None
    seconds, nanoseconds = _number(parts.get(1, 0)), _number(parts.get(2, 0))
    if not 0 <= seconds < _YEAR_10000 or not 0 <= nanoseconds < 1_000_000_000:
        raise ValueError("a time outside the years 1970 to 9999")
    return seconds + nanoseconds / 1e9


def _quantity(raw: int | bytes) -> str:
    return _text(dict(fields(_bytes(raw))).get(1, b"")) or "0"


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(fields(_bytes(raw)))
    if _number(parts.get(1, 0)) == 1:
        return _text(parts.get(3, b""))
    return _number(parts.get(2, 0))


def _raw_json(raw: int | bytes) -> Any:
    content = dict(fields(_bytes(raw))).get(1, b"")
    return json.loads(_bytes(content)) if content else None


def _strings(raw: int | bytes) -> list[str]:
    return [_text(value) for number, value in fields(_bytes(raw)) if number == 1]


_SCALARS: Final[Mapping[str, Callable[[int | bytes], Any]]] = {
    "b": lambda raw: bool(_number(raw)),
    "d": lambda raw: double(_bytes(raw)),
    "f": _raw_json,  # FieldsV1
    "i": _number,
    "o": _int_or_string,
    "q": _quantity,
    "r": _raw_json,  # RawExtension
    "s": _text,
    "t": _time,
    "u": _micro_time,
    "x": _strings,
    "y": lambda raw: base64.b64encode(_bytes(raw)).decode(),
}
