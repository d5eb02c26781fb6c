from __future__ import annotations

import copy
from typing import Any

import pytest

from kcpctl.apis.crds import all_crds
from kcpctl.embedded.schema import default_builtin, validate_crd

GROUP = "apiextensions.k8s.io"


def widget(**properties: Any) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }
    return {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }


def defaulted(crd: dict[str, Any]) -> dict[str, Any]:
    return default_builtin(GROUP, "v1", "CustomResourceDefinition", crd)


def problems(crd: dict[str, Any], old: Any = None) -> list[str]:
    before = defaulted(old) if old else None
    return [str(cause) for cause in validate_crd(defaulted(crd), before)]


def test_our_own_crds_are_valid() -> None:
    for crd in all_crds():
        assert problems(crd) == []


def test_the_name_is_made_of_plural_and_group() -> None:
    crd = widget()
    crd["metadata"]["name"] = "wrong.example.com"
    assert problems(crd) == [
        (
            'metadata.name: Invalid value: "wrong.example.com": must be '
            'spec.names.plural+"."+spec.group'
        )
    ]


def test_a_scope_is_one_of_two() -> None:
    crd = widget()
    crd["spec"]["scope"] = "Galaxy"
    assert problems(crd) == [
        'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'
    ]


def test_one_version_is_stored() -> None:
    crd = widget()
    crd["spec"]["versions"][0]["storage"] = False
    found = [problem.partition(":")[0] for problem in problems(crd)]
    assert found == ["spec.versions", "status.storedVersions"]


def test_a_version_has_a_schema() -> None:
    crd = widget()
    del crd["spec"]["versions"][0]["schema"]
    assert problems(crd) == ["spec.versions[0].schema.openAPIV3Schema: Required value"]


def test_protected_groups_need_an_approval() -> None:
    crd = widget()
    crd["spec"]["group"] = "k8s.io"
    crd["metadata"]["name"] = "widgets.k8s.io"
    assert problems(crd)[0].startswith("metadata.annotations[api-approved.kubernetes.io]: Required")
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": "yes"}
    assert problems(crd) == []


ROOT = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (
            {},
            (
                f"{ROOT}.properties[a].type: Required value: must not be empty for "
                f"specified object "
                "fields"
            ),
        ),
        (
            {"type": "bogus"},
            (
                f'{ROOT}.properties[a].type: Unsupported value: "bogus": supported '
                f'values: "array", '
                '"boolean", "integer", "number", "object", "string"'
            ),
        ),
        ({"type": "array"}, f"{ROOT}.properties[a].items: Required value: must be specified"),
        (
            {"type": "string", "default": 5},
            (
                f'{ROOT}.properties[a].default: Invalid value: "integer":  in body must be of type '
                'string: "integer"'
            ),
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            (
                f"{ROOT}.properties[a].x-kubernetes-list-map-keys: Required value: must "
                f"not be empty "
                "if x-kubernetes-list-type is map"
            ),
        ),
    ],
)
def test_a_schema_is_structural(node: Any, sentence: str) -> None:
    assert problems(widget(a=node)) == [sentence]


def test_a_rule_that_does_not_parse_is_refused() -> None:
    node = {"type": "string", "x-kubernetes-validations": [{"rule": "1 = 2"}]}
    found = problems(widget(a=node))
    assert len(found) == 1
    assert "compilation failed" in found[0]


def test_group_scope_and_names_cannot_change() -> None:
    old, new = widget(), copy.deepcopy(widget())
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Other"
    assert problems(new, old) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Other": field is immutable',
    ]


def test_a_stored_version_cannot_be_removed() -> None:
    new = widget()
    new["spec"]["versions"][0]["name"] = "v2"
    new["status"] = {"storedVersions": ["v1", "v2"]}
    found = problems(new, widget())
    assert len(found) == 1
    assert found[0].startswith('status.storedVersions[0]: Invalid value: "v1": missing from')
