"""What is taken off a SyncTarget that a ClusterRegistration has made."""

from __future__ import annotations

from typing import Any

from kcpctl.apis.meta import Unstructured
from kcpctl.reconcilers.clusterregistration.leftovers import leftovers

US = "us"


def live(*managed: tuple[str, dict[str, Any]], **spec: Any) -> Unstructured:
    fields = [{"manager": manager, "fieldsV1": content} for manager, content in managed]
    labels = {"a": "1", "b": "2"}
    return {"metadata": {"labels": labels, "managedFields": fields}, "spec": spec}


def wanted(labels: dict[str, str] | None = None, **spec: Any) -> Unstructured:
    return {"metadata": {"labels": labels or {}}, "spec": spec}


def own_labels(*names: str) -> dict[str, Any]:
    return {"f:metadata": {"f:labels": {f"f:{name}": {} for name in names} | {".": {}}}}


def test_a_label_of_ours_that_is_not_wanted_goes() -> None:
    patch = leftovers(live((US, own_labels("a", "b"))), wanted({"a": "1"}), field_manager=US)
    assert patch == {"metadata": {"labels": {"b": None}}}


def test_the_labels_of_others_and_those_that_are_gone_are_left() -> None:
    there = live((US, own_labels("gone")), ("others", own_labels("a", "b")))
    assert leftovers(there, wanted(), field_manager=US) == {}


def test_without_managed_fields_nothing_goes() -> None:
    assert leftovers(live(), wanted(), field_manager=US) == {}


def test_a_declared_capacity_goes_with_its_last_figure() -> None:
    owned: dict[str, Any] = {"f:spec": {"f:capacity": {".": {}, "f:cpu": {}, "f:memory": {}}}}
    there = live((US, owned), capacity={"cpu": "1", "memory": "1Gi", "pods": "9"})
    patch = leftovers(there, wanted(), field_manager=US)
    assert patch == {"spec": {"capacity": {"cpu": None, "memory": None}}}


def test_a_taint_goes_and_the_others_stay_in_their_order() -> None:
    ours: dict[str, Any] = {"f:spec": {"f:taints": {'k:{"effect":"NoSchedule","key":"x"}': {}}}}
    taints = [
        {"key": "y", "effect": "NoSchedule", "value": "theirs"},
        {"key": "x", "effect": "NoSchedule"},
        {"key": "x", "effect": "NoExecute"},
    ]
    patch = leftovers(live((US, ours), taints=taints), wanted(), field_manager=US)
    assert patch == {"spec": {"taints": [taints[0], taints[2]]}}


def test_a_taint_that_is_wanted_stays() -> None:
    ours: dict[str, Any] = {"f:spec": {"f:taints": {'k:{"effect":"NoSchedule","key":"x"}': {}}}}
    there = live((US, ours), taints=[{"key": "x", "effect": "NoSchedule", "value": "old"}])
    new = wanted(taints=[{"key": "x", "effect": "NoSchedule", "value": "new"}])
    assert leftovers(there, new, field_manager=US) == {}
