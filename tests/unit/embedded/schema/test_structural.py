from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.schema.custom import root_schema
from kcpctl.embedded.schema.structural import apply_defaults, prune, unknown_fields

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "color": {"type": "string", "default": "red"},
        "maybe": {"type": "string", "nullable": True},
        "plain": {"type": "string"},
        "nested": {
            "type": "object",
            "default": {},
            "properties": {"depth": {"type": "integer", "default": 3}},
        },
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {}}},
        "any": {"type": "object", "additionalProperties": True},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": True},
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*SCHEMA["properties"], "depth", "a", "other"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)


def test_unknown_fields_are_pruned_at_every_depth() -> None:
    obj = {"zzz": 1, "nested": {"yyy": 1}, "list": [{"a": 1, "b": 2}], "map": {"k": {"x": 1}}}
    assert prune(obj, SCHEMA) == {"nested": {}, "list": [{"a": 1}], "map": {"k": {}}}


def test_preserved_fields_stay() -> None:
    obj = {"open": {"x": {"y": 1}}, "any": {"k": [1]}}
    assert prune(obj, SCHEMA) == obj


def test_an_embedded_resource_keeps_its_type_and_the_known_metadata() -> None:
    obj = {"embedded": {"kind": "A", "metadata": {"name": "n", "what": 1}, "spec": 1}}
    assert prune(obj, SCHEMA) == {"embedded": {"kind": "A", "metadata": {"name": "n"}}}


def test_unknown_fields_are_named_by_path() -> None:
    obj = {"zzz": 1, "list": [{}, {"b": 2}], "map": {"k": {"x": 1}}}
    assert unknown_fields(obj, SCHEMA) == ["zzz", "list[1].b", "map.k.x"]


def test_defaults_are_filled_in_at_every_depth() -> None:
    assert apply_defaults({}, SCHEMA) == {"color": "red", "nested": {"depth": 3}}


def test_null_where_none_is_allowed_counts_as_absent() -> None:
    assert apply_defaults({"color": None, "plain": None}, SCHEMA)["color"] == "red"
    assert "plain" not in apply_defaults({"plain": None}, SCHEMA)
    assert apply_defaults({"maybe": None}, SCHEMA)["maybe"] is None


def test_a_default_is_not_shared_between_objects() -> None:
    first = apply_defaults({}, SCHEMA)
    first["nested"]["depth"] = 4
    assert apply_defaults({}, SCHEMA)["nested"] == {"depth": 3}


@given(JSON)
def test_what_is_pruned_has_no_unknown_fields_and_stays_as_it_is(obj: Any) -> None:
    before = copy.deepcopy(obj)
    pruned = prune(obj, SCHEMA)
    assert unknown_fields(pruned, SCHEMA) == []
    assert prune(pruned, SCHEMA) == pruned
    assert obj == before


@given(JSON)
def test_defaulting_twice_is_defaulting_once(obj: Any) -> None:
    before = copy.deepcopy(obj)
    once = apply_defaults(obj, SCHEMA)
    assert apply_defaults(once, SCHEMA) == once
    assert obj == before


def test_a_root_schema_knows_metadata_and_is_made_once() -> None:
    given_schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    root = root_schema(given_schema)
    assert root is root_schema(given_schema)
    obj = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "n", "bogus": 1}, "top": 1}
    assert unknown_fields(obj, root) == ["metadata.bogus", "top"]


def test_a_crd_without_a_schema_preserves_everything_but_unknown_metadata() -> None:
    obj = {"metadata": {"name": "n", "bogus": 1}, "spec": {"x": 1}}
    assert prune(obj, root_schema(None)) == {"metadata": {"name": "n"}, "spec": {"x": 1}}
