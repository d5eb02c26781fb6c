from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.label_selector import problem, selects

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def rule(operator: str, *values: str, key: str = "a") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "labels", "chosen"),
    [
        (None, {}, True),
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
        ({"matchLabels": {"a": ""}}, {}, False),
        (rule("In", "x", "y"), {"a": "y"}, True),
        (rule("In", "x", "y"), {"a": "z"}, False),
        (rule("In", ""), {}, False),
        (rule("In", ""), {"a": ""}, True),
        (rule("NotIn", "x"), {"a": "x"}, False),
        (rule("NotIn", "x"), {"a": "y"}, True),
        (rule("NotIn", "x"), {}, True),
        (rule("Exists"), {"a": ""}, True),
        (rule("Exists"), {}, False),
        (rule("DoesNotExist"), {}, True),
        (rule("DoesNotExist"), {"a": ""}, False),
        ({"matchLabels": {"b": "c"}, **rule("Exists")}, {"a": "x"}, False),
        ({"matchLabels": {"b": "c"}, **rule("Exists")}, {"b": "c"}, False),
        ({"matchLabels": {"b": "c"}, **rule("Exists")}, {"a": "x", "b": "c"}, True),
    ],
)
def test_a_selector_chooses_what_fits_all_of_its_rules(
    selector: dict[str, Any] | None, labels: dict[str, str], chosen: bool
) -> None:
    assert selects(selector, labels) is chosen


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("a=b", "s is no label selector"),
        ({"matchLabels": ["a"]}, "s.matchLabels maps no labels"),
        ({"matchLabels": {"a b": "c"}}, "s.matchLabels[a b]: 'a b' cannot be the key"),
        ({"matchLabels": {"a": "b c"}}, "s.matchLabels[a]: 'b c' cannot be the value"),
        ({"matchLabels": {"a": "x" * 64}}, "cannot be the value"),
        ({"matchLabels": {"a": 1}}, "s.matchLabels[a]: 1 cannot be the value"),
        ({"matchExpressions": {"key": "a"}}, "s.matchExpressions is no list"),
        ({"matchExpressions": ["a"]}, "s.matchExpressions[0] is no rule"),
        ({"matchExpressions": [{"operator": "Exists"}]}, "s.matchExpressions[0].key: None"),
        (rule("Gt", "1"), "s.matchExpressions[0].operator 'Gt' is none of In, NotIn, Exists"),
        (rule("In"), "s.matchExpressions[0].values must not be empty with the operator In"),
        (rule("NotIn"), "must not be empty with the operator NotIn"),
        (rule("Exists", "x"), "s.matchExpressions[0].values must be empty with the operator"),
        (rule("In", "x y"), "s.matchExpressions[0].values: 'x y' cannot be the value"),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": "x"}]},
            "s.matchExpressions[0].values is no list",
        ),
        (
            {"matchExpressions": [*rule("Exists")["matchExpressions"], {"key": "b"}]},
            "s.matchExpressions[1].operator None",
        ),
    ],
)
def test_a_selector_without_a_meaning_is_told_with_its_field(selector: object, words: str) -> None:
    assert words in problem(selector, "s")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
requirement = st.fixed_dictionaries(
    {"key": json, "operator": st.sampled_from(OPERATORS) | json, "values": json}
)
anything = json | st.fixed_dictionaries(
    {"matchLabels": json, "matchExpressions": st.lists(requirement | json, max_size=2) | json}
)


@given(anything, st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2))
def test_what_has_no_problem_can_be_asked(selector: Any, labels: dict[str, str]) -> None:
    if not problem(selector, "s"):
        assert selects(selector, labels) in (True, False)


@given(
    st.sampled_from(["a", "b"]),
    st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z", ""])),
)
def test_each_operator_is_the_opposite_of_another(
    key: str, values: list[str], labels: dict[str, str]
) -> None:
    chosen = {
        operator: selects(
            rule(operator, *(values if operator.endswith("In") else ()), key=key), labels
        )
        for operator in OPERATORS
    }
    assert chosen["In"] is not chosen["NotIn"]
    assert chosen["Exists"] is not chosen["DoesNotExist"]
    assert chosen["Exists"] or not chosen["In"]
