from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.security.rules import allows, describe, uncovered
from kcpctl.embedded.user import Attributes


def rule(groups: str, resources: str, verbs: str, names: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiGroups": groups.split(",") if groups != "core" else [""],
        "resources": resources.split(","),
        "verbs": verbs.split(","),
    }
    if names:
        found["resourceNames"] = names.split(",")
    return found


def get(resource: str, **fields: str) -> Attributes:
    return Attributes("get", resource=resource, **fields)


@pytest.mark.parametrize(
    "attributes",
    [
        get("secrets"),
        get("pods", group="metrics.k8s.io"),
        get("pods", subresource="log"),
        Attributes("delete", resource="pods"),
        Attributes("get", path="/metrics"),
    ],
)
def test_a_rule_does_not_allow_what_it_does_not_name(attributes: Attributes) -> None:
    assert not allows(rule("core", "pods", "get,list"), attributes)


def test_a_subresource_needs_a_rule_of_its_own() -> None:
    assert allows(rule("core", "pods/log", "get"), get("pods", subresource="log"))
    assert not allows(rule("core", "pods/log", "get"), get("pods"))
    assert allows(rule("core", "*/log", "get"), get("pods", subresource="log"))
    assert not allows(rule("core", "*/log", "get"), get("pods", subresource="status"))


def test_resource_names_allow_those_names_and_no_request_without_a_name() -> None:
    named = rule("core", "configmaps", "get", names="a,b")
    assert allows(named, get("configmaps", name="a"))
    assert not allows(named, get("configmaps", name="c"))
    assert not allows(named, get("configmaps"))


def test_stars_stand_for_everything() -> None:
    assert allows(rule("*", "*", "*"), get("pods", group="x", subresource="y", name="z"))


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/api", "/api", True),
        ("/api", "/apis", False),
        ("/api/*", "/api/v1", True),
        ("/api/*", "/api", False),
        ("*", "/anything", True),
    ],
)
def test_non_resource_urls_match_whole_or_by_a_trailing_star(
    pattern: str, path: str, allowed: bool
) -> None:
    paths = {"nonResourceURLs": [pattern], "verbs": ["get"]}
    assert allows(paths, Attributes("get", path=path)) is allowed


def test_what_is_not_held_is_described_as_the_real_server_does() -> None:
    held = [rule("core", "pods", "get")]
    wanted = [rule("core", "secrets,pods", "get,list"), {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    assert uncovered(held, wanted) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
        '{NonResourceURLs:["*"], Verbs:["*"]}',
    ]


def test_a_rule_for_names_does_not_cover_the_whole_resource() -> None:
    named = rule("core", "configmaps", "get", names="a")
    assert uncovered([named], [rule("core", "configmaps", "get")])
    assert not uncovered([named], [named])
    assert not uncovered([rule("core", "configmaps", "get")], [named])


def test_a_described_rule_leaves_out_what_is_empty() -> None:
    assert describe(rule("apps", "deployments", "get", names="web")) == (
        '{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["web"], Verbs:["get"]}'
    )


words = st.sampled_from(["*", "a", "b", "c"])
some = st.lists(words, min_size=1, max_size=3)
rules = st.fixed_dictionaries(
    {"apiGroups": some, "resources": some, "verbs": some},
    optional={"resourceNames": st.lists(st.sampled_from(["n", "m"]), min_size=1, max_size=2)},
)


@given(held=st.lists(rules, max_size=4), wanted=rules)
def test_whatever_covered_rules_allow_is_allowed_by_what_is_held(
    held: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    if uncovered(held, [wanted]):
        return
    for verb in "abc":
        for resource in "abc":
            for name in ("n", "m", ""):
                attributes = Attributes(verb, group="a", resource=resource, name=name)
                if allows(wanted, attributes):
                    assert any(allows(mine, attributes) for mine in held)
