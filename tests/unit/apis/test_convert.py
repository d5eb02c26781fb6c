from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
import pytest

from kcpctl.apis import SYNCTARGETS, SyncTarget, decode, encode, to_unstructured
from kcpctl.apis.meta import ObjectMeta
from kcpctl.apis.resource import DEPLOYMENTS
from kcpctl.apis.workload import SyncTargetSpec


def test_a_struct_carries_api_version_and_kind_though_they_are_defaults() -> None:
    target = SyncTarget(metadata=ObjectMeta(name="east"), spec=SyncTargetSpec(cluster="east"))
    assert to_unstructured(target) == {
        "apiVersion": "workload.kcp.io/v1alpha1",
        "kind": "SyncTarget",
        "metadata": {"name": "east"},
        "spec": {"cluster": "east"},
    }


def test_encode_and_decode_give_the_struct_back() -> None:
    target = SyncTarget(
        metadata=ObjectMeta(name="east"), spec=SyncTargetSpec(cells={"location": "east"})
    )
    assert decode(encode(target), SyncTarget) == target


def test_unknown_fields_are_ignored() -> None:
    data = b'{"metadata":{"name":"east","managedFields":[]},"spec":{"later":1}}'
    assert decode(data, SyncTarget).metadata.name == "east"


@pytest.mark.parametrize("as_bytes", [True, False])
def test_nulls_count_as_absent(as_bytes: bool) -> None:
    plain: dict[str, Any] = {
        "metadata": {"name": "east", "labels": None, "creationTimestamp": None},
        "spec": {"cells": None, "taints": [{"key": "a", "effect": "NoSchedule", "value": None}]},
    }
    data = msgspec.json.encode(plain) if as_bytes else plain
    target = decode(data, SyncTarget)
    assert target.metadata.labels == {}
    assert target.spec.taints[0].value == ""


def test_a_wrong_type_is_an_error_that_names_the_field() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.spec\.cluster"):
        decode({"spec": {"cluster": 1}}, SyncTarget)


def test_a_mapping_is_copied_and_completed_from_the_resource() -> None:
    source = {"metadata": {"name": "east"}}
    result = to_unstructured(source, SYNCTARGETS)
    assert result["kind"] == "SyncTarget"
    assert result["apiVersion"] == "workload.kcp.io/v1alpha1"
    assert "kind" not in source


def test_what_the_object_says_wins_over_the_resource() -> None:
    assert to_unstructured({"kind": "Scale"}, DEPLOYMENTS)["kind"] == "Scale"


class _Model:
    """What generated models of the official client look like."""

    attribute_map: ClassVar[dict[str, str]] = {
        "api_version": "apiVersion",
        "kind": "kind",
        "when": "creationTimestamp",
        "match_labels": "matchLabels",
        "items": "items",
    }

    def __init__(self, **values: Any) -> None:
        for name in self.attribute_map:
            setattr(self, name, values.get(name))

    def to_dict(self) -> dict[str, Any]:
        return {}


def test_a_model_gets_the_names_of_the_wire_and_loses_what_is_not_set() -> None:
    inner = _Model(kind="Inner", when=datetime(2026, 1, 2, tzinfo=UTC))
    model = _Model(api_version="v1", match_labels={"snake_case": "kept"}, items=[inner])
    assert to_unstructured(model) == {
        "apiVersion": "v1",
        "matchLabels": {"snake_case": "kept"},
        "items": [{"kind": "Inner", "creationTimestamp": "2026-01-02T00:00:00Z"}],
    }


def test_a_real_model_of_the_official_client_is_accepted() -> None:
    from kubernetes.client import V1ObjectMeta, V1ServiceAccount

    account = V1ServiceAccount(metadata=V1ObjectMeta(name="a", generate_name="b"))
    assert to_unstructured(account) == {"metadata": {"name": "a", "generateName": "b"}}


class _Dynamic:
    def to_dict(self) -> dict[str, Any]:
        return {"kind": "Pod", "metadata": {"name": "p"}}


def test_a_dynamic_object_is_taken_as_it_is() -> None:
    assert to_unstructured(_Dynamic())["metadata"] == {"name": "p"}


def test_anything_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="int is not an API object"):
        to_unstructured(1)  # type: ignore[arg-type]


AT_ONCE = """
import sys
import threading
from kcpctl.apis import SyncTarget, decode

sys.setswitchinterval(1e-6)
start = threading.Barrier(6)
target = {"metadata": {"name": "a"}, "spec": {"deployment": {"image": "i"}}}

def meet():
    start.wait()
    for _ in range(20):
        decode(target, SyncTarget)

threads = [threading.Thread(target=meet) for _ in range(6)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""


def test_threads_may_meet_a_type_at_the_same_time() -> None:
    """In a process of its own: what msgspec does without our lock is a segmentation fault."""
    assert subprocess.run([sys.executable, "-c", AT_ONCE]).returncode == 0
