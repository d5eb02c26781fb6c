from __future__ import annotations

import json
from typing import Any

import pytest

from kcpctl.embedded import openapi
from kcpctl.embedded.kinds import BUILT_IN, CrdVersion, ResourceInfo
from kcpctl.embedded.openapi.names import definition_name

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A thing to test with.",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"amount": {"x-kubernetes-int-or-string": True, "nullable": True}},
        }
    },
}


def widget(schema: Any = SCHEMA) -> ResourceInfo:
    crd = CrdVersion("widgets.tests.example.com", schema)
    return ResourceInfo(
        "tests.example.com",
        "v1",
        "widgets",
        "Widget",
        singular="widget",
        subresources=frozenset({"status"}),
        crd=crd,
    )


WIDGET = widget()
INFOS = (*BUILT_IN, WIDGET)
NAME = "com.example.tests.v1.Widget"


def group(group_version: str) -> dict[str, Any]:
    body = openapi.v3_group(group_version, INFOS)
    assert body is not None
    document: dict[str, Any] = json.loads(body)
    return document


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for item in node for name in references(item)}
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own | {name for item in node.values() for name in references(item)}


def test_a_group_that_is_not_served_has_no_document() -> None:
    assert openapi.v3_group("nosuch.example.com/v1", INFOS) is None


def test_the_index_names_every_group_version_with_a_hash_of_its_content() -> None:
    entries = json.loads(openapi.v3_index(INFOS))["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/tests.example.com/v1"} <= entries.keys()
    before = entries["apis/tests.example.com/v1"]["serverRelativeURL"]
    assert before.startswith("/openapi/v3/apis/tests.example.com/v1?hash=")
    changed = (*BUILT_IN, widget({**SCHEMA, "description": "other"}))
    after = json.loads(openapi.v3_index(changed))["paths"]
    assert after["apis/tests.example.com/v1"]["serverRelativeURL"] != before
    assert after["apis/apps/v1"] == entries["apis/apps/v1"]


@pytest.mark.parametrize("group_version", ["v1", "apps/v1", "tests.example.com/v1"])
def test_every_reference_is_in_the_document(group_version: str) -> None:
    document = group(group_version)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_kinds_are_found_by_path_and_by_extension() -> None:
    document = group("apps/v1")
    kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
    path = "/apis/apps/v1/namespaces/{namespace}/deployments"
    assert document["paths"][path]["get"]["x-kubernetes-group-version-kind"] == kind
    schema = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert schema["x-kubernetes-group-version-kind"] == [kind]


@pytest.mark.parametrize("group_version", ["v1", "tests.example.com/v1"])
def test_patches_take_the_parameter_that_kubectl_probes_for(group_version: str) -> None:
    for path in group(group_version)["paths"].values():
        if "patch" in path:
            names = [p["name"] for p in path["patch"]["parameters"] if p["in"] == "query"]
            assert "fieldValidation" in names


def test_fields_are_described_with_type_and_enum() -> None:
    schemas = group("apps/v1")["components"]["schemas"]
    strategy = schemas["io.k8s.api.apps.v1.DeploymentStrategy"]["properties"]["type"]
    assert strategy["enum"] == ["Recreate", "RollingUpdate"]
    assert strategy["description"]
    spec = schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    ports = schemas["io.k8s.api.core.v1.ContainerPort"]["required"]
    assert ports == ["containerPort"]


def test_a_crd_keeps_its_schema_and_gets_the_fields_of_every_object() -> None:
    schema = group("tests.example.com/v1")["components"]["schemas"][NAME]
    assert schema["description"] == "A thing to test with."
    assert schema["properties"]["spec"] == SCHEMA["properties"]["spec"]
    assert schema["properties"]["kind"]["description"]
    assert references(schema["properties"]["metadata"]) == {
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    }
    assert "properties" not in SCHEMA["properties"]["spec"]["properties"]["amount"]


def test_a_crd_without_a_schema_is_an_open_object() -> None:
    body = openapi.v3_group("tests.example.com/v1", [widget(None)])
    assert body is not None
    schema = json.loads(body)["components"]["schemas"][NAME]
    assert schema["x-kubernetes-preserve-unknown-fields"] is True


def test_documents_are_made_once() -> None:
    first = openapi.v3_group("rbac.authorization.k8s.io/v1", INFOS)
    assert openapi.v3_group("rbac.authorization.k8s.io/v1", list(INFOS)) is first


def test_the_older_document_has_definitions_and_no_newer_words() -> None:
    infos = [WIDGET, *(info for info in BUILT_IN if info.group == "apiextensions.k8s.io")]
    document = json.loads(openapi.v2(infos))
    known = {f"#/definitions/{name}" for name in document["definitions"]}
    assert document["swagger"] == "2.0"
    assert references(document["definitions"]) <= known
    amount = document["definitions"][NAME]["properties"]["spec"]["properties"]["amount"]
    assert "nullable" not in amount
    # A field called $ref is a field.
    props = next(n for n in document["definitions"] if n.endswith(".v1.JSONSchemaProps"))
    assert document["definitions"][props]["properties"]["$ref"]["type"] == "string"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("V1Pod", "io.k8s.api.core.v1.Pod"),
        ("CoreV1Event", "io.k8s.api.core.v1.Event"),
        ("EventsV1Event", "io.k8s.api.events.v1.Event"),
        ("RbacV1Subject", "io.k8s.api.rbac.v1.Subject"),
        ("V1LabelSelector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"),
        ("V2MetricTarget", "io.k8s.api.autoscaling.v2.MetricTarget"),
        (
            "V1CustomResourceDefinition",
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        ),
    ],
)
def test_types_have_the_names_of_the_real_server(model: str, name: str) -> None:
    assert definition_name(model) == name
