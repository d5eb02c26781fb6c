from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.schema import check_types, schema_for


def check(kind: str, obj: dict[str, Any], group: str = "") -> tuple[Any, str]:
    schema = schema_for(group, "v1", kind)
    assert schema is not None
    value, error = check_types(obj, schema, kind)
    return value, error.message if error else ""


@pytest.mark.parametrize(
    ("kind", "obj", "detail"),
    [
        (
            "Pod",
            {"spec": {"containers": [{"name": 5}]}},
            (
                "json: cannot unmarshal number into Go struct field "
                "Container.spec.containers.name of type string"
            ),
        ),
        (
            "Pod",
            {"spec": {"containers": {}}},
            (
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers "
                "of type []v1.Container"
            ),
        ),
        (
            "Pod",
            {"spec": {"containers": ["x"]}},
            (
                "json: cannot unmarshal string into Go struct field PodSpec.spec.containers "
                "of type v1.Container"
            ),
        ),
        (
            "Pod",
            {"spec": {"containers": [{"ports": [{"containerPort": 1.5}]}]}},
            (
                "json: cannot unmarshal number 1.5 into Go struct field "
                "ContainerPort.spec.containers.ports.containerPort of type int32"
            ),
        ),
        (
            "Pod",
            {"spec": {"nodeSelector": {"a": 1}}},
            (
                "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector "
                "of type string"
            ),
        ),
        (
            "Pod",
            {"spec": {"containers": [{"resources": {"limits": {"cpu": True}}}]}},
            (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
        (
            "ConfigMap",
            {"metadata": "x"},
            (
                "json: cannot unmarshal string into Go struct field ConfigMap.metadata "
                "of type v1.ObjectMeta"
            ),
        ),
        (
            "ConfigMap",
            {"metadata": {"labels": []}},
            (
                "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels "
                "of type map[string]string"
            ),
        ),
        (
            "Service",
            {"spec": {"ports": [{"targetPort": True}]}},
            (
                "json: cannot unmarshal bool into Go struct field "
                "ServicePort.spec.ports.targetPort of type int32"
            ),
        ),
        (
            "Pod",
            {"spec": {"priority": 2**31}},
            (
                f"json: cannot unmarshal number {2**31} into Go struct field PodSpec.spec.priority "
                "of type int32"
            ),
        ),
        ("Secret", {"data": {"x": "!!"}}, "illegal base64 data at input byte 0"),
        (
            "Pod",
            {"metadata": {"deletionTimestamp": "x"}},
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
    ],
)
def test_wrong_types_are_refused_in_gos_words(kind: str, obj: Any, detail: str) -> None:
    value, message = check(kind, obj)
    assert message == f'{kind} in version "v1" cannot be handled as a {kind}: {detail}'
    assert value is obj


def test_micro_times_need_their_fraction() -> None:
    obj = {"spec": {"renewTime": "2024-01-01T00:00:00Z"}}
    _, message = check("Lease", obj, "coordination.k8s.io")
    assert message.endswith('cannot parse "Z" as ".000000"')


def test_quantities_become_text_in_canonical_form() -> None:
    limits = {"cpu": 0.5, "memory": "1024Mi", "pods": 3}
    obj = {"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}
    value, _ = check("Pod", obj)
    shown = value["spec"]["containers"][0]["resources"]["limits"]
    assert shown == {"cpu": "500m", "memory": "1Gi", "pods": "3"}


def test_nulls_and_empty_lists_and_maps_are_dropped_but_not_empty_structs() -> None:
    value, _ = check(
        "Pod",
        {
            "metadata": {"labels": {}, "creationTimestamp": None},
            "spec": {"containers": [], "volumes": [], "securityContext": {}},
        },
    )
    # containers is written always, if empty.
    assert value == {"metadata": {}, "spec": {"containers": [], "securityContext": {}}}


def test_unknown_fields_pass_to_be_judged_later() -> None:
    assert check("ConfigMap", {"foo": [1]}) == ({"foo": [1]}, "")


def test_int_or_string_takes_both() -> None:
    ports = [{"targetPort": 80}, {"targetPort": "http"}]
    value, message = check("Service", {"spec": {"ports": ports}})
    assert (value["spec"]["ports"], message) == (ports, "")
