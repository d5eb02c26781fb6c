from __future__ import annotations

from typing import Any

from kcpctl.embedded import openapi
from kcpctl.embedded.kinds import BUILT_IN
from kcpctl.embedded.openapi.protobuf import encode_document

Message = dict[int, list[bytes]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return number, at


def read(data: bytes) -> Message:
    """Split a message that has strings and messages only."""
    fields: Message = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2
        length, at = varint(data, at)
        fields.setdefault(tag >> 3, []).append(data[at : at + length])
        at += length
    return fields


def named(data: bytes) -> dict[str, Message]:
    pairs = (read(entry) for entry in read(data).get(1, ()))
    return {pair[1][0].decode(): read(pair[2][0]) for pair in pairs}


def document(**definitions: Any) -> Message:
    info = {"title": "t", "version": "v"}
    return read(encode_document({"swagger": "2.0", "info": info, "definitions": definitions}))


def test_a_document_has_a_version_and_named_definitions() -> None:
    found = document(A={"type": "object"}, B={})
    assert found[1] == [b"2.0"]
    assert read(found[2][0]) == {1: [b"t"], 2: [b"v"]}
    assert named(found[9][0]).keys() == {"A", "B"}


def test_a_schema_has_type_words_fields_and_references() -> None:
    schema = {
        "type": "object",
        "description": "words",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/definitions/B"}},
            "b": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    found = named(document(A=schema)[9][0])["A"]
    assert found[4] == [b"words"]
    assert found[19] == [b"a", b"b"]
    assert read(found[22][0]) == {1: [b"object"]}
    properties = named(found[25][0])
    assert read(read(properties["a"][23][0])[1][0]) == {1: [b"#/definitions/B"]}
    values = read(read(properties["b"][21][0])[1][0])
    assert read(values[22][0]) == {1: [b"string"]}


def test_extensions_are_yaml() -> None:
    kinds = [{"group": "", "version": "v1", "kind": "A"}]
    found = named(document(A={"x-kubernetes-group-version-kind": kinds})[9][0])["A"]
    extension = read(found[31][0])
    assert extension[1] == [b"x-kubernetes-group-version-kind"]
    assert read(extension[2][0])[2] == [b'[{"group": "", "version": "v1", "kind": "A"}]\n']


def test_long_texts_have_long_lengths() -> None:
    found = named(document(A={"description": "x" * 70_000})[9][0])["A"]
    assert len(found[4][0]) == 70_000


def test_the_served_document_knows_the_kinds() -> None:
    infos = [info for info in BUILT_IN if info.group == "coordination.k8s.io"]
    definitions = named(read(openapi.v2_protobuf(infos))[9][0])
    assert "io.k8s.api.coordination.v1.Lease" in definitions
