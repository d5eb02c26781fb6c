from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.acceptance import (
    EVENTS,
    GroupResource,
    accepted_claim,
    allows,
    is_bound,
    selects,
)

Json = dict[str, Any]
SECRETS = GroupResource("", "secrets")


def claim(resource: str, *verbs: str, **fields: Any) -> Json:
    return {"resource": resource, "verbs": list(verbs), **fields}


def export(*claims: Json) -> Json:
    return {"spec": {"permissionClaims": list(claims)}}


def binding(*claims: Json) -> Json:
    return {"spec": {"permissionClaims": [{"state": "Accepted", **one} for one in claims]}}


@pytest.mark.parametrize(
    ("exported", "accepted", "verb", "allowed"),
    [
        (["get", "list"], ["get"], "get", True),
        (["get", "list"], ["get"], "list", False),
        (["*"], ["*"], "deletecollection", True),
        (["*"], ["get"], "get", False),
        (["get"], ["*"], "get", False),
        (["get", "*"], ["*", "watch"], "create", True),
    ],
)
def test_a_verb_has_to_be_named_on_both_sides(
    exported: list[str], accepted: list[str], verb: str, allowed: bool
) -> None:
    ours, theirs = claim("secrets", *exported), claim("secrets", *accepted)
    assert allows(export(ours), binding(theirs), SECRETS, verb) is allowed


def test_a_rejected_claim_allows_nothing() -> None:
    ours = claim("secrets", "*")
    assert not allows(export(ours), binding({**ours, "state": "Rejected"}), SECRETS, "get")
    assert accepted_claim(binding({**ours, "state": "Rejected"}), SECRETS) is None


def test_a_claim_that_the_export_has_dropped_allows_nothing() -> None:
    assert not allows(export(), binding(claim("secrets", "*")), SECRETS, "get")


def test_claims_on_another_identity_are_other_claims() -> None:
    ours = claim("cows", "*", group="farm", identityHash="a")
    cows = GroupResource("farm", "cows")
    assert allows(export(ours), binding(ours), cows, "get")
    assert not allows(export(ours), binding({**ours, "identityHash": "b"}), cows, "get")


def test_a_claim_on_events_is_for_both_of_their_groups() -> None:
    ours = claim("events", "create")
    for group in ("", "events.k8s.io"):
        assert allows(export(ours), binding(ours), GroupResource(group, "events"), "create")
    assert GroupResource("events.k8s.io", "events").normal == EVENTS
    theirs = {**ours, "group": "events.k8s.io"}
    assert not allows(export(theirs), binding(theirs), EVENTS, "create")


def test_what_is_bound_is_what_the_status_says() -> None:
    bound = {"status": {"boundResources": [{"group": "farm", "resource": "cows"}]}}
    assert is_bound(bound, GroupResource("farm", "cows"))
    assert not is_bound(bound, GroupResource("", "cows"))
    assert not is_bound({}, SECRETS)


def rule(operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": "a", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "admitted", "refused"),
    [
        ({"matchLabels": {"a": "1"}}, [{"a": "1", "b": "2"}], [{}, {"a": "2"}]),
        (rule("In", "1", "2"), [{"a": "2"}], [{}, {"a": "3"}]),
        (rule("NotIn", "1"), [{}, {"a": "2"}], [{"a": "1"}]),
        (rule("Exists"), [{"a": ""}], [{}]),
        (rule("DoesNotExist"), [{"b": "1"}], [{"a": "1"}]),
        (rule("Exists") | {"matchLabels": {"b": "1"}}, [{"a": "", "b": "1"}], [{"a": ""}]),
        ({"matchAll": True}, [{}, {"a": "1"}], []),
    ],
)
def test_a_selector_admits_labels(
    selector: Json, admitted: list[dict[str, str]], refused: list[dict[str, str]]
) -> None:
    assert all(selects(selector, labels) for labels in admitted)
    assert not any(selects(selector, labels) for labels in refused)
