from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.schema.validation import validate

SPEC: dict[str, Any] = {
    "size": {"type": "integer", "minimum": 1, "maximum": 10},
    "color": {"type": "string", "enum": ["red", "green"]},
    "name": {"type": "string", "maxLength": 8, "minLength": 2, "pattern": "^[a-z]+$"},
    "when": {"type": "string", "format": "date-time"},
    "amount": {"x-kubernetes-int-or-string": True},
    "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "multipleOf": 0.5},
    "small": {"type": "integer", "format": "int32"},
    "tags": {"type": "array", "maxItems": 2, "minItems": 1, "items": {"type": "string"}},
    "labels": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
    "maybe": {"type": "string", "nullable": True},
    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    "ports": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
    "either": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    "some": {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    "never": {"type": "object", "not": {"required": ["a"]}},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"spec": {"type": "object", "required": ["size"], "properties": SPEC}},
}


def problems(**spec: Any) -> list[str]:
    return [str(cause) for cause in validate({"spec": {"size": 1, **spec}}, SCHEMA)]


def test_what_is_required_is_named() -> None:
    assert [str(c) for c in validate({"spec": {}}, SCHEMA)] == ["spec.size: Required value"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"size": "big"},
            (
                'spec.size: Invalid value: "string": spec.size in body must be of type integer: '
                '"string"'
            ),
        ),
        (
            {"size": 11},
            "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
        ),
        (
            {"size": 0},
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            {"color": "pink"},
            'spec.color: Unsupported value: "pink": supported values: "red", "green"',
        ),
        ({"name": "toolongname"}, "spec.name: Too long: may not be more than 8 bytes"),
        (
            {"name": "UP"},
            "spec.name: Invalid value: \"UP\": spec.name in body should match '^[a-z]+$'",
        ),
        (
            {"name": "a"},
            'spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long',
        ),
        (
            {"when": "yesterday"},
            (
                'spec.when: Invalid value: "yesterday": spec.when in body must be of '
                "type date-time: "
                '"yesterday"'
            ),
        ),
        (
            {"amount": True},
            (
                'spec.amount: Invalid value: "boolean": spec.amount in body must be of type '
                'integer,string: "boolean"'
            ),
        ),
        ({"tags": ["a", "b", "c"]}, "spec.tags: Too many: 3: must have at most 2 items"),
        ({"set": ["a", "a"]}, 'spec.set[1]: Duplicate value: "a"'),
        ({"ports": [{"name": "p"}, {"name": "p"}]}, 'spec.ports[1]: Duplicate value: {"name":"p"}'),
        ({"ports": [{}]}, "spec.ports[0].name: Required value"),
    ],
)
def test_the_sentences_are_those_of_the_real_server(spec: Any, message: str) -> None:
    assert problems(**spec) == [message]


@pytest.mark.parametrize(
    "spec",
    [
        {"ratio": 0},
        {"ratio": 0.7},
        {"small": 2**31},
        {"tags": []},
        {"labels": {"a": "1", "b": "2"}},
        {"labels": {"a": 1}},
        {"either": {}},
        {"either": {"a": 1, "b": 1}},
        {"some": {}},
        {"never": {"a": 1}},
        {"color": None},
    ],
)
def test_other_breaches_are_found_too(spec: Any) -> None:
    assert len(problems(**spec)) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"amount": 1},
        {"amount": "50%"},
        {"maybe": None},
        {"ratio": 1},
        {"size": 1.0},
        {"when": "2024-01-01T00:00:00Z"},
        {"when": "2024-01-01T00:00:00.123456+02:00"},
        {"either": {"a": 1}},
        {"set": ["a", "b"]},
        {"ports": [{"name": "a"}, {"name": "b"}]},
    ],
)
def test_what_is_right_passes(spec: Any) -> None:
    assert problems(**spec) == []


def test_several_breaches_are_reported_together() -> None:
    assert len(problems(size=11, color="pink", name="UP")) == 3
