"""The v2 document in protobuf, the only form in which kubectl reads it.

The messages are those of gnostic's OpenAPIv2.proto; only the fields that kubectl looks at are
written: definitions with their types, references, descriptions and kinds. No paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["encode_document"]

Json = Mapping[str, Any]
# Field numbers of the message Schema.
_STRINGS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4}
_REQUIRED: Final = 19
_ADDITIONAL: Final = 21
_TYPE: Final = 22
_ITEMS: Final = 23
_PROPERTIES: Final = 25
_EXTENSION: Final = 31


def encode_document(document: Json) -> bytes:
    """Return a v2 document (swagger, info, definitions) as the message Document."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named(document["definitions"])
    return _text(1, document["swagger"]) + _field(2, info) + _field(8, b"") + _field(9, definitions)


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def _field(number: int, content: bytes) -> bytes:
    """Return a field of wire type 2: strings and messages."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _named(schemas: Json) -> bytes:
    """Return Definitions or Properties: both are a list of NamedSchema."""
    pairs = ((name, _schema(schema)) for name, schema in schemas.items())
    return b"".join(_field(1, _text(1, name) + _field(2, content)) for name, content in pairs)


def _schema(schema: Json) -> bytes:
    parts = [_text(number, schema[key]) for key, number in _STRINGS.items() if schema.get(key)]
    parts += [_text(_REQUIRED, name) for name in schema.get("required", ())]
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        parts.append(_field(_ADDITIONAL, _field(1, _schema(additional))))
    if "type" in schema:
        parts.append(_field(_TYPE, _text(1, schema["type"])))
    if isinstance(schema.get("items"), Mapping):
        parts.append(_field(_ITEMS, _field(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_field(_PROPERTIES, _named(schema["properties"])))
    parts += _extensions((key, schema[key]) for key in schema if key.startswith("x-kubernetes-"))
    return b"".join(parts)


def _extensions(pairs: Iterable[tuple[str, Any]]) -> list[bytes]:
    """Return NamedAny fields; their values are YAML, which JSON is."""
    return [
        _field(_EXTENSION, _text(1, name) + _field(2, _text(2, f"{json.dumps(value)}\n")))
        for name, value in pairs
    ]
