from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.validation import (
    validate_binding,
    validate_export,
    validate_resource_schema,
    validate_slice,
)
from tests.unit.embedded.exports.conftest import schema_spec

Json = dict[str, Any]


def schema(name: str = "v1.widgets.example.com", **spec: Any) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {**schema_spec("v1.widgets.example.com", {}), **spec},
    }


def problems(obj: Json, old: Json | None = None) -> list[str]:
    return [str(cause) for cause in validate_resource_schema(obj, old)]


def test_a_good_schema_passes() -> None:
    assert problems(schema()) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("v1.gadgets.example.com", "must end in .widgets.example.com"),
        (
            "1.widgets.example.com",
            "must match ^[a-z]([-a-z0-9]*[a-z0-9])?$ in front of .widgets.example.com",
        ),
    ],
)
def test_the_name_says_the_resource(name: str, problem: str) -> None:
    assert problems(schema(name)) == [f'metadata.name: Invalid value: "{name}": {problem}']


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        ("core", "must be empty string for the core group"),
        ("example", "should be a domain with at least one dot"),
        ("No.example", "a lowercase RFC 1123 subdomain"),
    ],
)
def test_the_group_is_a_domain(group: str, problem: str) -> None:
    (found,) = problems(schema(f"v1.widgets.{group}", group=group))
    assert problem in found


def test_groups_of_kubernetes_need_no_dot() -> None:
    assert problems(schema("v1.widgets.apps", group="apps")) == []
    assert problems(schema("v1.widgets.core", group="")) == []


def test_exactly_one_version_is_stored() -> None:
    versions = schema()["spec"]["versions"]
    both = [versions[0], {**versions[0], "name": "v2"}]
    (found,) = problems(schema(versions=both))
    assert found.endswith("must have exactly one version marked as storage version")


def test_the_structure_is_checked() -> None:
    (version,) = schema()["spec"]["versions"]
    wrong = {**version, "schema": {"type": "object", "properties": {"spec": {"type": "int"}}}}
    (found,) = problems(schema(versions=[wrong]))
    assert found.startswith("spec.versions[0].schema.openAPIV3Schema.properties[spec].type: ")


def test_a_schema_never_changes() -> None:
    old = schema()
    (found,) = problems(schema(scope="Cluster"), old)
    assert found.endswith("is immutable")


def export(**spec: Any) -> list[str]:
    def is_built_in(group: str, resource: str) -> bool:
        return (group, resource) == ("", "secrets")

    return [str(cause) for cause in validate_export({"spec": spec}, is_built_in)]


def test_claims_on_others_resources_need_their_identity() -> None:
    claims: list[Json] = [
        {"group": "", "resource": "secrets"},
        {"group": "apis.kcp.io", "resource": "apibindings"},
        {"group": "example.com", "resource": "widgets", "identityHash": "abc"},
        {"group": "example.com", "resource": "widgets"},
    ]
    (found,) = export(permissionClaims=claims)
    assert found == (
        'spec.permissionClaims[3].identityHash: Invalid value: "": identityHash is required for '
        "API types that are not built-in"
    )


def test_resources_name_schemas_of_theirs() -> None:
    resource = {"group": "", "name": "things", "schema": "v1.things.example.com"}
    (found,) = export(resources=[resource])
    assert found.endswith("must end in .things.core")


def binding(**spec: Any) -> Json:
    return {"spec": {"reference": {"export": {"name": "a"}}, **spec}}


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ({}, "either one of matchAll, matchLabels, or matchExpressions must be set"),
        ({"matchAll": True, "matchLabels": {"a": "b"}}, "matchLabels cannot be used with matchAll"),
    ],
)
def test_selectors_say_one_thing(selector: Json, problem: str) -> None:
    claims = [{"resource": "secrets", "selector": selector}]
    (found,) = validate_binding(binding(permissionClaims=claims), None)
    assert str(found).endswith(problem)


def test_a_reference_names_an_export() -> None:
    (found,) = validate_binding({"spec": {"reference": {}}}, None)
    assert str(found) == "spec.reference.export: Required value"
    (found,) = validate_slice({"spec": {"export": {"name": ""}}})
    assert str(found) == "spec.export.name: Required value"


def test_a_phase_is_never_taken_back() -> None:
    old = {**binding(), "status": {"phase": "Bound"}}
    (found,) = validate_binding(binding(), old)
    assert str(found) == 'status.phase: Forbidden: cannot transition from "Bound" to ""'
