from __future__ import annotations

import subprocess
import sys

import pytest

from kcpctl.embedded.schema.builtin import PRESENT, kinds, package, schema_for, type_schema, types
from kcpctl.embedded.schema.extensions import (
    ALWAYS_PRESENT,
    ATOMIC_TYPES,
    ENUMS,
    INT64,
    LISTS,
    QUANTITIES,
)
from kcpctl.embedded.schema.generate import DATA_FILE, render
from kcpctl.embedded.schema.models import package_version, read_model

TABLES = {
    "ALWAYS_PRESENT": ALWAYS_PRESENT,
    "ENUMS": ENUMS,
    "INT64": INT64,
    "LISTS": LISTS,
    "QUANTITIES": QUANTITIES,
}


def test_a_kind_that_is_not_built_in_has_no_schema() -> None:
    assert schema_for("example.com", "v1", "Widget") is None
    assert schema_for("apps", "v2", "Deployment") is None


def test_a_deployment_reaches_down_to_its_containers_ports() -> None:
    schema = schema_for("apps", "v1", "Deployment")
    assert schema is not None
    pod_spec = schema["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    containers = pod_spec["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    ports = containers["items"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["items"]["properties"]["containerPort"] == {"type": "integer", "format": "int32"}


def test_a_type_that_contains_itself_is_built_once() -> None:
    props = type_schema("V1JSONSchemaProps")
    assert props["properties"]["not"] is props


def test_the_data_file_is_up_to_date() -> None:
    if package() != package_version():
        pytest.skip(f"made from kubernetes {package()}, installed is {package_version()}")
    assert render() == DATA_FILE.read_text(encoding="utf-8"), "run hack/update-schemas"


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_name_fields_that_exist(table: str) -> None:
    for type_name, text in TABLES[table].items():
        known = {field.rstrip("!") for field in types(type_name)}
        fields = {entry.partition("=")[0] for entry in text.split()}
        assert fields <= known, type_name


def test_atomic_types_exist() -> None:
    assert all(types(name) for name in ATOMIC_TYPES)


def test_every_kind_can_be_built_and_names_its_metadata() -> None:
    for key in kinds():
        schema = schema_for(*key.split("/"))
        assert schema is not None
        assert "metadata" in schema["properties"], key
        assert "metadata" in schema[PRESENT], key


def test_looking_up_a_schema_does_not_import_the_kubernetes_package() -> None:
    code = (
        "import sys; from kcpctl.embedded.schema import schema_for; schema_for('', 'v1', 'Pod');"
        "sys.exit(any(name.split('.')[0] in ('kubernetes', 'cel_expr_python', 'yaml')"
        " for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_models_are_read_with_their_descriptions_and_required_fields() -> None:
    model = read_model("V1ContainerPort")
    assert model.fields["containerPort"].required
    assert not model.fields["name"].required
    assert "port" in model.fields["containerPort"].description.lower()
