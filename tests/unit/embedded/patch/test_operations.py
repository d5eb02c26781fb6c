from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.patch import json_patch, merge_patch
from kcpctl.embedded.status import StatusError

NO_NULL = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), NO_NULL)


@pytest.mark.parametrize(
    "ops",
    [
        [{"op": "test", "path": "/a", "value": 8}],
        [{"op": "bogus", "path": "/a"}],
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "replace", "path": "/nothing/b", "value": 1}],
        [{"op": "add", "path": "/list/7", "value": 1}],
        [{"op": "add", "value": 1}],
        ["x"],
    ],
)
def test_operations_that_do_not_apply_get_one_fixed_answer(ops: Any) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1, "list": []}, ops)
    error = caught.value
    assert (error.code, error.reason, error.details) == (422, "Invalid", {})
    assert error.message == "the server rejected our request due to an error in our request"


def test_a_json_patch_is_a_list() -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({}, {"op": "add"})
    assert caught.value.code == 400
    assert caught.value.message == (
        "error decoding patch: json: cannot unmarshal object into Go value of type "
        "[]handlers.jsonPatchOp"
    )


def test_too_many_operations_are_413() -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 10001)
    assert caught.value.code == 413


def test_replace_adds_a_key_that_a_map_does_not_have() -> None:
    assert json_patch({"a": {}}, [{"op": "replace", "path": "/a/b", "value": 1}]) == {"a": {"b": 1}}


def test_operations_apply_in_order_to_a_copy() -> None:
    doc = {"list": [1], "m": {"x~/y": 1}}
    before = copy.deepcopy(doc)
    ops = [
        {"op": "add", "path": "/list/-", "value": 2},
        {"op": "replace", "path": "/m/x~0~1y", "value": 3},
        {"op": "move", "from": "/m", "path": "/n"},
        {"op": "copy", "from": "/list", "path": "/other"},
    ]
    assert json_patch(doc, ops) == {"list": [1, 2], "n": {"x~/y": 3}, "other": [1, 2]}
    assert doc == before


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            [],
            (
                "error decoding patch: json: cannot unmarshal array into Go value of type "
                "map[string]interface {}"
            ),
        ),
        (None, "Invalid JSON Patch"),
    ],
)
def test_a_merge_patch_is_an_object(patch: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        merge_patch({}, patch)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_null_deletes_and_objects_merge_while_lists_are_replaced() -> None:
    doc = {"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": 1}
    patch = {"a": {"b": None, "d": {"e": None}}, "list": [3], "gone": None}
    assert merge_patch(doc, patch) == {"a": {"c": 2, "d": {}}, "list": [3]}


@given(OBJECTS)
def test_merging_nothing_changes_nothing(doc: dict[str, Any]) -> None:
    assert merge_patch(doc, {}) == doc
    assert merge_patch(doc, doc) == doc
    assert merge_patch({}, doc) == doc


@given(OBJECTS, OBJECTS)
def test_merging_twice_is_merging_once(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy(doc)
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once
    assert doc == before
