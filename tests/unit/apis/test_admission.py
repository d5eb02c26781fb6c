"""What a SyncTarget's owner lets in: a table, and what no restriction may do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, SECRETS, Resource

TYPES, LABELS = "spec.supportedResourceTypes", "spec.selector"
NAMESPACES = "spec.selector.namespaceSelector"
IN_WITHOUT_VALUES = {"matchExpressions": [{"key": "a", "operator": "In"}]}


@pytest.mark.parametrize(
    ("entry", "resource", "admitted"),
    [
        ("deployments.apps", DEPLOYMENTS, True),
        ("deployments.v1.apps", DEPLOYMENTS, True),
        ("deployments.v1beta1.apps", DEPLOYMENTS, False),
        ("deployments", DEPLOYMENTS, False),
        ("deployments.v1", DEPLOYMENTS, False),
        ("deployments.extensions", DEPLOYMENTS, False),
        ("configmaps", CONFIG_MAPS, True),
        ("configmaps.v1", CONFIG_MAPS, True),
        ("configmaps.v2", CONFIG_MAPS, False),
        ("configmaps.apps", CONFIG_MAPS, False),
        ("secrets", CONFIG_MAPS, False),
    ],
)
def test_types_are_named_with_or_without_their_version(
    entry: str, resource: Resource, admitted: bool
) -> None:
    admission = Admission.of({"supportedResourceTypes": ["x.example.com", entry]})
    assert admission.refusal(resource, {}, {}) == ("" if admitted else TYPES)


@pytest.mark.parametrize(
    ("spec", "labels", "namespace", "why"),
    [
        ({}, {}, None, ""),
        ({"supportedResourceTypes": []}, {}, {}, ""),
        ({"selector": {"matchLabels": {"tier": "web"}}}, {"tier": "web"}, {}, ""),
        ({"selector": {"matchLabels": {"tier": "web"}}}, {}, {"tier": "web"}, LABELS),
        ({"selector": {"namespaceSelector": {}}}, {}, None, ""),
        (
            {"selector": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
            {},
            {"team": "a"},
            "",
        ),
        (
            {"selector": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
            {"team": "a"},
            {},
            NAMESPACES,
        ),
        ({"selector": {"locations": ["east"]}}, {}, {}, ""),
    ],
)
def test_all_restrictions_count(
    spec: dict[str, Any], labels: dict[str, str], namespace: dict[str, str] | None, why: str
) -> None:
    assert Admission.of(spec).refusal(SECRETS, labels, namespace) == why


def test_a_namespace_that_is_not_known_is_none_of_those_chosen() -> None:
    rule = {"key": "team", "operator": "DoesNotExist"}
    admission = Admission.of({"selector": {"namespaceSelector": {"matchExpressions": [rule]}}})
    assert admission.refusal(SECRETS, {}, {}) == ""
    assert admission.refusal(SECRETS, {}, None) == NAMESPACES


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"selector": IN_WITHOUT_VALUES}, "spec.selector.matchExpressions[0].values"),
        (
            {"selector": {"namespaceSelector": IN_WITHOUT_VALUES}},
            "spec.selector.namespaceSelector.matchExpressions[0].values",
        ),
        ({"selector": ["a"]}, "spec.selector"),
        ({"supportedResourceTypes": "configmaps"}, "spec.supportedResourceTypes"),
        ({"supportedResourceTypes": [1]}, "spec.supportedResourceTypes"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match="spec") as caught:
        Admission.of(spec)
    assert str(caught.value).startswith(field)


def test_what_lets_in_the_same_is_equal() -> None:
    empty = {"supportedResourceTypes": [], "selector": {"matchLabels": {}, "locations": ["x"]}}
    assert Admission.of(empty) == EVERYTHING
    assert Admission.of({"supportedResourceTypes": ["a", "b"]}) == Admission.of(
        {"supportedResourceTypes": ["b", "a"]}
    )


pairs = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
rules = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "key": st.sampled_from("ab"),
                "operator": st.sampled_from(["In", "NotIn"]),
                "values": st.lists(st.sampled_from("xy"), min_size=1, max_size=2),
            }
        ),
        st.fixed_dictionaries(
            {
                "key": st.sampled_from("ab"),
                "operator": st.sampled_from(["Exists", "DoesNotExist"]),
            }
        ),
    ),
    max_size=2,
)
selectors = st.fixed_dictionaries({"matchLabels": pairs, "matchExpressions": rules})
types = st.lists(st.sampled_from(["secrets", "configmaps.v1"]), unique=True)


@given(types, selectors, selectors, pairs, pairs)
def test_whoever_is_refused_is_let_in_once_the_field_that_is_named_goes(
    names: list[str],
    selector: dict[str, Any],
    namespaces: dict[str, Any],
    labels: dict[str, str],
    namespace: dict[str, str],
) -> None:
    spec: dict[str, Any] = {
        "supportedResourceTypes": names,
        "selector": {**selector, "namespaceSelector": namespaces},
    }
    told = []
    while why := Admission.of(spec).refusal(SECRETS, labels, namespace):
        told.append(why)
        if why == TYPES:
            del spec["supportedResourceTypes"]
        elif why == LABELS:
            spec["selector"] = {"namespaceSelector": namespaces}
        else:
            del spec["selector"]["namespaceSelector"]
    assert told == [field for field in (TYPES, LABELS, NAMESPACES) if field in told]
