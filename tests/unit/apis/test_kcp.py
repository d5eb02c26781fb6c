"""What is read of exports, bindings and endpoint slices."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.convert import decode
from kcpctl.apis.kcp import (
    API_BINDINGS,
    API_EXPORT_ENDPOINT_SLICES,
    APIBinding,
    APIExportEndpointSlice,
)


def test_a_slice_without_a_status_has_no_urls() -> None:
    assert decode({"metadata": {"name": "kcpctl"}}, APIExportEndpointSlice).urls == ()


def test_a_slices_urls_are_sorted_unique_and_end_in_no_slash() -> None:
    endpoints = [{"url": "https://b/x/"}, {"url": "https://a/x"}, {"url": "https://b/x"}]
    status = {"endpoints": [{**one, "shards": {"matchAll": True}} for one in endpoints]}
    read = decode(
        {"spec": {"export": {"name": "e", "path": "root:p"}}, "status": status},
        APIExportEndpointSlice,
    )
    assert read.urls == ("https://a/x", "https://b/x")
    assert (read.spec.export.path, read.spec.export.name) == ("root:p", "e")


def _binding(**fields: Any) -> APIBinding:
    return decode({"metadata": {"name": "kcpctl"}, **fields}, APIBinding)


def test_a_new_binding_is_not_ready_and_nowhere() -> None:
    binding = _binding(spec={"reference": {"export": {"name": "kcpctl"}}})
    assert not binding.is_ready
    assert (binding.cluster, binding.path, binding.export_cluster) == ("", "", "")
    assert binding.accepted_claims == []


@pytest.mark.parametrize(
    ("status", "deleted", "ready"),
    [("True", None, True), ("False", None, False), ("True", "2026-11-21T18:00:00Z", True)],
)
def test_a_binding_is_ready_by_its_condition_also_while_its_objects_are_being_deleted(
    status: str, deleted: str | None, ready: bool
) -> None:
    binding = _binding(
        metadata={"name": "kcpctl", "deletionTimestamp": deleted},
        status={"phase": "Bound", "conditions": [{"type": "Ready", "status": status}]},
    )
    assert binding.is_ready is ready


def test_only_accepted_claims_count() -> None:
    claim = {"group": "", "resource": "secrets", "verbs": ["get"], "selector": {"matchAll": True}}
    lease = {"group": "coordination.k8s.io", "resource": "leases", "verbs": ["*"]}
    claims = [{**claim, "state": "Accepted"}, {**lease, "state": "Rejected"}]
    binding = _binding(spec={"reference": {"export": {"name": "e"}}, "permissionClaims": claims})
    assert [one.group_resource for one in binding.accepted_claims] == ["secrets"]
    assert binding.spec.permission_claims[1].group_resource == "leases.coordination.k8s.io"


def test_a_binding_knows_its_cluster_its_path_and_where_the_export_is() -> None:
    annotations = {"kcp.io/cluster": "2v4e", "kcp.io/path": "root:tenant"}
    binding = _binding(
        metadata={"name": "b", "annotations": annotations},
        spec={"reference": {"export": {"name": "kcpctl", "path": "root:kcpctl"}}},
        status={"apiExportClusterName": "1abc"},
    )
    assert (binding.cluster, binding.path, binding.export_cluster) == (
        "2v4e",
        "root:tenant",
        "1abc",
    )
    assert (binding.export.path, binding.export.name) == ("root:kcpctl", "kcpctl")


def test_the_paths_are_those_of_kcp() -> None:
    assert API_BINDINGS.path() == "/apis/apis.kcp.io/v1alpha2/apibindings"
    assert API_EXPORT_ENDPOINT_SLICES.path(name="e") == (
        "/apis/apis.kcp.io/v1alpha1/apiexportendpointslices/e"
    )
