from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.kinds import CrdVersion, ResourceInfo
from kcpctl.embedded.validation import (
    config_key,
    dns_label,
    dns_subdomain,
    label_key,
    path_segment,
    validate_metadata,
    validate_metadata_update,
)

MAPS = ResourceInfo("", "v1", "configmaps", "ConfigMap")
CUSTOM = ResourceInfo("g", "v1", "xs", "X", crd=CrdVersion("xs.g", None))


def problems(meta: dict[str, Any], info: ResourceInfo = MAPS) -> list[str]:
    return [str(cause) for cause in validate_metadata(info, meta, dns_subdomain)]


@pytest.mark.parametrize("name", ["a", "a-b", "a.b", "0"])
def test_good_names_pass(name: str) -> None:
    assert problems({"name": name}) == []


@pytest.mark.parametrize("name", ["A", "-a", "a_b", "a/b", "x" * 254])
def test_bad_names_do_not(name: str) -> None:
    assert problems({"name": name})


def test_a_name_is_required() -> None:
    assert problems({}) == ["metadata.name: Required value: name or generateName is required"]


def test_labels_have_no_dots_and_63_letters() -> None:
    assert dns_label("a.b")
    assert dns_label("a" * 64)
    assert not dns_label("a" * 63)


def test_rbac_names_only_have_to_fit_into_a_path() -> None:
    assert path_segment("system:a b") == []
    assert path_segment("a/b") == ["may not contain '/'"]
    assert path_segment("..") == ["may not be '..'"]


def test_label_keys_and_values_are_checked() -> None:
    meta = {"name": "a", "labels": {"UPPER.com/k": "v", "k": "bad value", "x" * 64: "v"}}
    found = problems(meta)
    assert len(found) == 3
    assert "prefix part a lowercase RFC 1123 subdomain" in found[0]
    assert "name part must be no more than 63 bytes" in found[2]


@pytest.mark.parametrize("key", ["", "/a", "a/", "a/b/c", "-a"])
def test_malformed_label_keys(key: str) -> None:
    assert label_key(key)


def test_annotation_keys_may_have_capitals_and_values_anything() -> None:
    assert problems({"name": "a", "annotations": {"Ok-Key": "any value!"}}) == []


def test_annotations_are_limited_in_all() -> None:
    found = problems({"name": "a", "annotations": {"x": "v" * 300_000}})
    assert found == ["metadata.annotations: Too long: may not be more than 262144 bytes"]


def test_finalizers_are_qualified_for_built_in_kinds() -> None:
    assert "neither a standard finalizer" in problems({"name": "a", "finalizers": ["x"]})[0]
    assert problems({"name": "a", "finalizers": ["x"]}, CUSTOM) == []
    assert problems({"name": "a", "finalizers": ["kubernetes", "a.b/c", "a.b/c"]}) == []


def test_orphan_and_foreground_exclude_each_other() -> None:
    found = problems({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]})
    assert "cannot be both set" in found[0]


def test_owners_are_complete_and_have_one_controller() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    assert len(problems({"name": "a", "ownerReferences": [{}]})) == 4
    assert "Only one reference" in problems({"name": "a", "ownerReferences": [owner, owner]})[0]
    event = {**owner, "kind": "Event"}
    assert (
        "disallowed from being an owner" in problems({"name": "a", "ownerReferences": [event]})[0]
    )


def test_config_keys() -> None:
    assert config_key("a.b-C_1") == []
    assert config_key("bad key")
    assert config_key("..")
    assert config_key("..a")


def test_an_update_cannot_change_uid_or_deletion() -> None:
    causes = validate_metadata_update({"uid": "b", "deletionTimestamp": "x"}, {"uid": "a"})
    assert [cause.field for cause in causes] == ["metadata.uid", "metadata.deletionTimestamp"]


def test_no_finalizers_are_added_while_deleting() -> None:
    old = {"uid": "a", "deletionTimestamp": "t", "finalizers": ["a/b"]}
    added = validate_metadata_update({**old, "finalizers": ["a/b", "c/d"]}, old)
    assert 'found new finalizers []string{"c/d"}' in added[0].message
    assert validate_metadata_update({**old, "finalizers": []}, old) == []
