from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.patch.fieldset import FieldSet, field, key_element, path_text, value_element

ELEMENTS = st.sampled_from([field("a"), field("b"), key_element({"name": "x"}), value_element("v")])
PATHS = st.lists(st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple), max_size=8)


def made(paths: Any) -> FieldSet:
    result = FieldSet()
    for path in paths:
        result.add(path)
    return result


def test_paths_are_written_as_messages_show_them() -> None:
    path = (field("spec"), field("ports"), key_element({"protocol": "TCP", "port": 80}))
    assert path_text(path) == '.spec.ports[port=80,protocol="TCP"]'
    assert path_text((field("tags"), value_element("a"))) == '.tags[="a"]'


def test_a_member_with_members_below_has_a_dot() -> None:
    both = made([(field("a"),), (field("a"), field("b"))])
    assert both.encode() == {"f:a": {".": {}, "f:b": {}}}
    assert made([(field("a"), field("b"))]).encode() == {"f:a": {"f:b": {}}}
    assert made([(field("a"),)]).encode() == {"f:a": {}}


@given(PATHS)
def test_encoding_and_decoding_gives_the_same_set(paths: Any) -> None:
    assert FieldSet.decode(made(paths).encode()) == made(paths)


@given(PATHS, PATHS)
def test_operations_are_those_of_sets(left: Any, right: Any) -> None:
    one, two = made(left), made(right)
    assert set(one.union(two).paths()) == set(left) | set(right)
    assert set(one.intersection(two).paths()) == set(left) & set(right)
    assert set(one.difference(two).paths()) == set(left) - set(right)
    assert bool(one) == bool(left)
    assert (one == two) == (set(left) == set(right))
