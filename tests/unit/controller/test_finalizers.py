from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.meta import ApiObject, ObjectMeta, Unstructured
from kcpctl.controller import (
    add_finalizer,
    finalizers_of,
    has_finalizer,
    is_deleting,
    remove_finalizer,
)

NAME = "example.com/clean-up"


def both(*finalizers: str, **meta: Any) -> list[ApiObject | Unstructured]:
    struct = ApiObject(metadata=ObjectMeta(name="web", finalizers=list(finalizers)))
    return [struct, {"metadata": {"name": "web", "finalizers": list(finalizers)}}]


@pytest.mark.parametrize("obj", both("other/one"), ids=["struct", "dict"])
def test_a_finalizer_is_added_last_on_a_copy(obj: ApiObject | Unstructured) -> None:
    changed = add_finalizer(obj, NAME)
    assert finalizers_of(changed) == ["other/one", NAME]
    assert finalizers_of(obj) == ["other/one"]
    assert has_finalizer(changed, NAME)
    assert not has_finalizer(obj, NAME)


@pytest.mark.parametrize("obj", both("other/one", NAME), ids=["struct", "dict"])
def test_a_finalizer_is_removed_on_a_copy(obj: ApiObject | Unstructured) -> None:
    assert finalizers_of(remove_finalizer(obj, NAME)) == ["other/one"]
    assert finalizers_of(obj) == ["other/one", NAME]


@pytest.mark.parametrize("obj", both(NAME), ids=["struct", "dict"])
def test_adding_one_that_is_there_returns_the_object_itself(obj: ApiObject | Unstructured) -> None:
    assert add_finalizer(obj, NAME) is obj


@pytest.mark.parametrize("obj", both(), ids=["struct", "dict"])
def test_removing_one_that_is_not_there_returns_the_object_itself(
    obj: ApiObject | Unstructured,
) -> None:
    assert remove_finalizer(obj, NAME) is obj


def test_an_object_without_metadata_has_no_finalizers() -> None:
    assert finalizers_of({"kind": "ConfigMap"}) == []
    assert finalizers_of(add_finalizer({"kind": "ConfigMap"}, NAME)) == [NAME]


def test_deletion_is_seen_by_its_timestamp() -> None:
    at = "2026-01-01T00:00:00Z"
    assert is_deleting(ApiObject(metadata=ObjectMeta(deletion_timestamp=at)))
    assert is_deleting({"metadata": {"deletionTimestamp": at}})
    assert not is_deleting(ApiObject())
    assert not is_deleting({"metadata": {}})
