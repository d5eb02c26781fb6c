from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.objects import copy_json, same_but_times, without

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_a_copy_is_equal_and_shares_no_container(value: Any) -> None:
    copy = copy_json(value)
    assert copy == value
    if isinstance(value, dict | list):
        assert copy is not value
        value.clear()
        assert not value


def test_without_leaves_the_original_alone() -> None:
    obj = {"a": 1, "b": 2}
    assert without(obj, "a", "c") == {"b": 2}
    assert obj == {"a": 1, "b": 2}


def entry(manager: str, time: str) -> dict[str, str]:
    return {"manager": manager, "time": time}


def obj(*entries: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "managedFields": list(entries)}, **fields}


def test_times_of_managed_fields_are_no_change() -> None:
    assert same_but_times(obj(entry("m", "2")), obj(entry("m", "1")))
    assert same_but_times(
        obj(entry("n", "2"), entry("m", "2")), obj(entry("m", "1"), entry("n", "1"))
    )


def test_everything_else_is() -> None:
    assert not same_but_times(obj(entry("n", "1")), obj(entry("m", "1")))
    assert not same_but_times(obj(entry("m", "1"), entry("n", "1")), obj(entry("m", "1")))
    assert not same_but_times(obj(data=1), obj(data=2))
    assert not same_but_times({"metadata": {"name": "a"}}, {"metadata": {"name": "b"}})
