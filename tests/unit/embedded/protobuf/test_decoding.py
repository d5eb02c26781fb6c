from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.protobuf import decode_protobuf, is_protobuf


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, raw: bytes, extra: bytes = b"") -> bytes:
    meta = field(1, api_version) + field(2, kind)
    return b"k8s\0" + field(1, meta) + field(2, raw) + extra


def decode(api_version: str, kind: str, raw: bytes) -> dict[str, Any]:
    return decode_protobuf(envelope(api_version, kind, raw))


META = field(1, field(1, "web") + field(2, "") + field(3, "") + field(7, 0) + field(8, b""))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "does not appear to be a protobuf message"),
        (b'{"kind": "Pod"}', "does not appear to be a protobuf message"),
        (b"k8s\0\xff", "cut off"),
        (b"k8s\0" + field(1, "x")[:-1], "cut off"),
        (b"k8s\0" + varint(2 << 3 | 3), "wire type 3"),
        (b"k8s\0\0", "field number 0"),
        (envelope("v1", "Nope", b""), 'no kind "Nope" is registered for version "v1"'),
        (envelope("v1", "Pod", b"", field(3, "gzip")), "not supported"),
        (envelope("v1", "Pod", field(1, 5)), "a number where bytes should be"),
        (envelope("v1", "Pod", field(1, field(7, "x"))), "bytes where a number should be"),
        (envelope("v1", "Pod", field(1, field(1, b"\xff"))), "utf-8"),
        (envelope("v1", "Pod", field(1, field(8, field(1, 1 << 62)))), "outside the years"),
    ],
)
def test_what_is_no_such_message_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        decode_protobuf(body)


@given(st.binary(max_size=200))
def test_whatever_comes_nothing_but_a_value_error_is_raised(raw: bytes) -> None:
    for body in (raw, b"k8s\0" + raw, envelope("v1", "Pod", raw), envelope("v1", "Event", raw)):
        try:
            decode_protobuf(body)
        except ValueError:
            continue


def test_empty_values_are_left_out_as_gos_json_leaves_them_out() -> None:
    assert decode("v1", "ConfigMap", META) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web"},
    }


def test_a_zero_behind_a_pointer_is_kept() -> None:
    spec = field(1, 0) + field(2, b"")
    found = decode("apps/v1", "Deployment", META + field(2, spec) + field(3, b""))
    assert found["spec"]["replicas"] == 0
    assert found["spec"]["selector"] == {}
    assert found["status"] == {}


def test_fields_of_a_newer_client_are_dropped() -> None:
    assert decode("v1", "ConfigMap", META + field(999, "x"))["metadata"] == {"name": "web"}


def test_maps_lists_and_bytes() -> None:
    labels = field(11, field(1, "a") + field(2, "b")) + field(11, field(1, "empty"))
    finalizers = field(14, "x") + field(14, "y")
    raw = field(1, labels + finalizers)
    raw += field(2, field(1, "k") + field(2, b"\0\1")) + field(3, "Opaque") + field(5, 1)
    found = decode("v1", "Secret", raw)
    assert found["metadata"] == {"labels": {"a": "b", "empty": ""}, "finalizers": ["x", "y"]}
    assert found["data"] == {"k": "AAE="}
    assert found["type"] == "Opaque"
    assert found["immutable"] is True


def test_inlined_messages_are_part_of_their_object() -> None:
    secret = field(6, field(1, "creds"))  # VolumeSource.secret.secretName
    volume = field(1, "v") + field(2, secret)
    found = decode("v1", "Pod", field(2, field(1, volume)))
    assert found["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "creds"}}]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (field(1, 0) + field(2, 80) + field(3, ""), 80),
        (field(1, 1) + field(2, 0) + field(3, "25%"), "25%"),
    ],
)
def test_a_number_or_a_string(raw: bytes, value: int | str) -> None:
    found = decode("policy/v1", "PodDisruptionBudget", field(2, field(1, raw)))
    assert found["spec"]["minAvailable"] == value


def test_quantities_and_negative_numbers() -> None:
    hard = field(1, "cpu") + field(2, field(1, "100m"))
    quota = decode("v1", "ResourceQuota", field(2, field(1, hard)))
    assert quota["spec"]["hard"] == {"cpu": "100m"}
    assert decode("scheduling.k8s.io/v1", "PriorityClass", field(2, -5))["value"] == -5


def test_numbers_may_be_packed() -> None:
    context = field(4, varint(1) + varint(300)) + field(4, 7)  # supplementalGroups
    found = decode("v1", "Pod", field(2, field(14, context)))
    assert found["spec"]["securityContext"]["supplementalGroups"] == [1, 300, 7]


def test_times_have_the_form_that_json_has() -> None:
    moment = field(1, 1_700_000_000) + field(2, 500_000_000)
    event = decode("events.k8s.io/v1", "Event", META + field(2, moment))
    assert event["eventTime"] == "2023-11-14T22:13:20.500000Z"
    pod = decode("v1", "Pod", field(1, field(9, moment)))
    assert pod["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:20Z"


def test_raw_json_inside_a_message_is_decoded() -> None:
    managed = field(1, "kubectl") + field(7, field(1, '{"f:spec":{}}'))
    found = decode("v1", "ConfigMap", field(1, field(17, managed)))
    assert found["metadata"]["managedFields"] == [
        {"manager": "kubectl", "fieldsV1": {"f:spec": {}}}
    ]


def test_a_list_with_a_name_is_a_list() -> None:
    extra = field(1, "scopes") + field(2, field(1, "a") + field(1, "b"))
    found = decode(
        "authorization.k8s.io/v1", "SubjectAccessReview", field(2, field(3, "u") + field(5, extra))
    )
    assert found["spec"]["extra"] == {"scopes": ["a", "b"]}


def test_delete_options_come_in_any_group() -> None:
    found = decode("apps/v1", "DeleteOptions", field(1, 0) + field(4, "Foreground"))
    assert found["gracePeriodSeconds"] == 0
    assert found["propagationPolicy"] == "Foreground"


def test_protobuf_is_told_by_its_first_bytes() -> None:
    assert is_protobuf(envelope("v1", "Pod", b""))
    assert not is_protobuf(b"{}")
