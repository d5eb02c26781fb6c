from __future__ import annotations

import logging
from typing import Any

import pytest

from kcpctl.apis.crds import all_crds
from kcpctl.embedded.schema import cel
from kcpctl.embedded.schema.custom import root_schema
from kcpctl.embedded.schema.validation import validate


def schema(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)}
    return {"type": "object", "properties": {"spec": spec}}


def problems(spec: Any, given: dict[str, Any], old: Any = None) -> list[str]:
    before = None if old is None else {"spec": old}
    return [str(cause) for cause in validate({"spec": spec}, given, old=before)]


INTEGERS = {"min": {"type": "integer"}, "max": {"type": "integer"}}


def test_a_broken_rule_on_an_object_is_reported_without_the_value() -> None:
    given = schema(
        {"rule": "self.min <= self.max", "message": "min must not exceed max"}, **INTEGERS
    )
    assert problems({"min": 1, "max": 2}, given) == []
    assert problems({"min": 3, "max": 2}, given) == ["spec: Invalid value: min must not exceed max"]


def test_a_rule_on_a_scalar_is_reported_with_the_value() -> None:
    rules = [{"rule": "self.startsWith('h-')", "message": "must start with h-"}]
    host = {"type": "string", "x-kubernetes-validations": rules}
    assert problems({"host": "x"}, schema(host=host)) == [
        'spec.host: Invalid value: "x": must start with h-'
    ]


def test_a_rule_without_a_message_names_itself() -> None:
    given = schema({"rule": "self.min > 0"}, **INTEGERS)
    assert problems({"min": 0}, given) == ["spec: Invalid value: failed rule: self.min > 0"]


def test_a_message_expression_is_evaluated() -> None:
    rule = {"rule": "self.min > 0", "messageExpression": "'min is ' + string(self.min)"}
    assert problems({"min": 0}, schema(rule, **INTEGERS)) == ["spec: Invalid value: min is 0"]


def test_a_rule_that_cannot_be_evaluated_is_a_breach() -> None:
    given = schema({"rule": "self.min <= self.max", "message": "m"}, **INTEGERS)
    assert problems({"min": 1}, given) == [
        'spec: Invalid value: "object": no such key: max evaluating rule: m'
    ]


def test_reason_and_field_path_are_obeyed() -> None:
    rule = {
        "rule": "self.min == 1",
        "message": "no",
        "reason": "FieldValueForbidden",
        "fieldPath": ".min",
    }
    assert problems({"min": 2}, schema(rule, **INTEGERS)) == ["spec.min: Forbidden: no"]


def test_transition_rules_run_on_updates_only() -> None:
    rules = [{"rule": "self == oldSelf", "message": "once is immutable"}]
    given = schema(once={"type": "string", "x-kubernetes-validations": rules})
    assert problems({"once": "x"}, given) == []
    assert problems({"once": "x"}, given, {"once": "x"}) == []
    assert problems({"once": "x"}, given, {}) == []
    assert problems({"once": "y"}, given, {"once": "x"}) == [
        'spec.once: Invalid value: "y": once is immutable'
    ]


def test_elements_of_a_map_list_are_compared_with_the_one_of_the_same_key() -> None:
    rules = [{"rule": "self.port == oldSelf.port", "message": "no"}]
    ports = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
            "x-kubernetes-validations": rules,
        },
    }
    old = {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}
    new = {"ports": [{"name": "b", "port": 2}, {"name": "a", "port": 9}, {"name": "c", "port": 3}]}
    assert problems(new, schema(ports=ports), old) == ["spec.ports[1]: Invalid value: no"]


def test_whole_numbers_of_number_fields_are_doubles() -> None:
    given = schema({"rule": "self.ratio > 1.0", "message": "m"}, ratio={"type": "number"})
    assert problems({"ratio": 2}, given) == []
    assert problems({"ratio": 1}, given) == ["spec: Invalid value: m"]


def test_names_that_are_no_identifiers_are_escaped() -> None:
    given = schema({"rule": "self.a__dash__b == 1", "message": "m"}, **{"a-b": {"type": "integer"}})
    assert problems({"a-b": 1}, given) == []
    assert problems({"a-b": 2}, given) == ["spec: Invalid value: m"]


def test_rules_wait_until_the_structure_is_right() -> None:
    given = schema({"rule": "self.min > 5", "message": "m"}, **INTEGERS)
    found = problems({"min": "x"}, given)
    assert len(found) == 2
    assert found[1].startswith("<nil>: Invalid value: null: some validation rules were not checked")


def test_a_rule_that_does_not_compile_is_skipped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = schema({"rule": "quantity('1').isPositive() && 7 == 7"}, **INTEGERS)
    with caplog.at_level(logging.WARNING):
        assert problems({"min": 1}, given) == []
    assert "A CEL rule is not evaluated" in caplog.text


def test_a_schema_without_rules_is_known_as_such() -> None:
    assert not cel.has_rules({"type": "object", "properties": {"a": {"type": "string"}}})
    assert cel.has_rules(schema({"rule": "true"}))


def _rules(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [rule["rule"] for rule in node.get("x-kubernetes-validations", ())]
        return own + [rule for child in node.values() for rule in _rules(child)]
    if isinstance(node, list):
        return [rule for child in node for rule in _rules(child)]
    return []


def test_every_rule_of_our_own_crds_compiles(caplog: pytest.LogCaptureFixture) -> None:
    rules = [rule for crd in all_crds() for rule in _rules(crd)]
    assert rules
    for rule in rules:
        assert cel._program(rule) is not None, rule


def synctarget(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


def synctarget_schema() -> Any:
    crd = next(c for c in all_crds() if c["spec"]["names"]["kind"] == "SyncTarget")
    return root_schema(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def test_a_synctargets_name_is_a_label() -> None:
    assert validate(synctarget("east"), synctarget_schema()) == []
    found = validate(synctarget("x" * 64), synctarget_schema())
    assert [cause.field for cause in found] == ["<nil>"]


def test_a_synctargets_cluster_reference_cannot_change() -> None:
    old = synctarget("east", clusterRef={"name": "a"})
    new = synctarget("east", clusterRef={"name": "b"})
    assert validate(old, synctarget_schema(), old=old) == []
    found = validate(new, synctarget_schema(), old=old)
    assert [str(cause) for cause in found] == [
        "<nil>: Invalid value: spec.clusterRef cannot be changed once it is set"
    ]


def test_a_synctargets_server_is_https() -> None:
    obj = synctarget("east", connection={"server": "http://example.com"})
    assert [cause.field for cause in validate(obj, synctarget_schema())] == ["spec.connection"]


def test_rules_see_the_name_of_the_metadata_and_nothing_else_of_it() -> None:
    given = {
        "type": "object",
        "properties": {"metadata": {"type": "object"}},
        "x-kubernetes-validations": [
            {"rule": "self.metadata.name == 'east' && !has(self.metadata.labels)"}
        ],
    }
    obj = {"metadata": {"name": "east", "labels": {"a": "b"}}}
    assert list(cel.validate(obj, given)) == []
    assert [cause.field for cause in cel.validate({"metadata": {"name": "x"}}, given)] == ["<nil>"]


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("self.a <= self.b.c && has(self.d)", {"self": {"a", "b", "d"}}),
        ("self.a == oldSelf.a", {"self": {"a"}, "oldSelf": {"a"}}),
        ("self.all(k, self[k] > 0)", {"self": None}),
        ("self == oldSelf", {"self": None, "oldSelf": None}),
        ("self.?a.orValue(1) == 1", {"self": None}),
        ("size(self) > 0", {"self": None}),
        ("self.map (x, x).size() > 0", {"self": None}),
        ("self\n .a.all(x, x > 0)", {"self": {"a"}}),
        ("true", {"self": set()}),
    ],
)
def test_a_rule_is_given_the_fields_that_it_names(rule: str, names: dict[str, Any]) -> None:
    assert cel._names(rule) == names
