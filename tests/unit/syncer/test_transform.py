from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.errors import TerminalError
from kcpctl.syncer.target import Target
from kcpctl.syncer.transform import same_apart_from_status, transform

TARGET = Target("root", "east", "uid")


def deployment(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", **metadata},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"creationTimestamp": None, "labels": {"app": "web"}},
                "spec": {
                    "serviceAccountName": "builder",
                    "serviceAccount": "builder",
                    "containers": [{"name": "web", "image": "web:1"}],
                },
            },
        },
        "status": {"replicas": 2},
    }


def test_metadata_of_the_upstream_server_stays_behind() -> None:
    source = deployment(
        uid="u",
        resourceVersion="7",
        generation=3,
        creationTimestamp="2026-01-01T00:00:00Z",
        deletionTimestamp="2026-01-01T00:00:00Z",
        managedFields=[{}],
        finalizers=[TARGET.finalizer],
        ownerReferences=[{"uid": "x"}],
        selfLink="/x",
        generateName="web-",
    )
    result = transform(source, TARGET, "kcp-abc")
    assert result["metadata"] == {
        "name": "web",
        "namespace": "kcp-abc",
        "labels": {"internal.workload.kcp.io/cluster": TARGET.key},
    }
    assert "status" not in result


def test_row_20_labels_carry_the_owner_and_not_the_state() -> None:
    source = deployment(labels={"app": "web", TARGET.state_label: "Sync"})
    assert transform(source, TARGET, "kcp-abc")["metadata"]["labels"] == {
        "app": "web",
        "internal.workload.kcp.io/cluster": TARGET.key,
    }


def test_a_tenant_cannot_name_another_owner_or_tenant() -> None:
    source = deployment(
        labels={"internal.workload.kcp.io/cluster": "other", "kcp.io/tenant-id": "other"},
        annotations={"kcp.io/namespace-locator": "{}", "kcp.io/cluster": "x"},
    )
    metadata = transform(source, TARGET, "kcp-abc")["metadata"]
    assert metadata["labels"] == {"internal.workload.kcp.io/cluster": TARGET.key}
    assert "annotations" not in metadata


@pytest.mark.parametrize(
    ("annotation", "kept"),
    [
        ("example.com/note", True),
        ("notkcp.io/note", True),
        (TARGET.deletion_annotation, False),
        (TARGET.soft_finalizers_annotation, False),
        (TARGET.diff_annotation, False),
        (TARGET.status_annotation, False),
        ("workload.kcp.io/sync-paused", False),
        ("experimental.summarizing.workload.kcp.io", False),
        ("kubectl.kubernetes.io/last-applied-configuration", False),
        ("deployment.kubernetes.io/revision", False),
    ],
)
def test_annotations_about_syncing_stay_behind(annotation: str, kept: bool) -> None:
    result = transform(deployment(annotations={annotation: "x"}), TARGET, "kcp-abc")
    assert (annotation in result["metadata"].get("annotations", {})) is kept


def test_row_25_spec_diff_reaches_the_downstream_object() -> None:
    diff = json.dumps([{"op": "replace", "path": "/replicas", "value": 5}])
    source = deployment(annotations={TARGET.spec_diff_annotation: diff})
    assert transform(source, TARGET, "kcp-abc")["spec"]["replicas"] == 5
    assert source["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    "diff",
    ["", "{", "7", "[7]", '[{"op":"replace","path":"/no/such","value":1}]', '[{"op":"grow"}]'],
)
def test_a_bad_spec_diff_is_final_and_names_the_annotation(diff: str) -> None:
    source = deployment(annotations={TARGET.spec_diff_annotation: diff})
    with pytest.raises(TerminalError, match="spec-diff"):
        transform(source, TARGET, "kcp-abc")


def test_row_38_pods_get_no_credentials_of_the_cluster() -> None:
    template = transform(deployment(), TARGET, "kcp-abc")["spec"]["template"]
    assert template["spec"] == {
        "automountServiceAccountToken": False,
        "containers": [{"name": "web", "image": "web:1"}],
    }
    assert template["metadata"] == {"labels": {"app": "web"}}


def test_row_38_a_service_account_token_becomes_plain_data() -> None:
    source = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "token",
            "annotations": {
                "kubernetes.io/service-account.name": "builder",
                "kubernetes.io/service-account.uid": "u",
                "example.com/note": "x",
            },
        },
        "data": {"token": "eA=="},
    }
    result = transform(source, TARGET, "kcp-abc")
    assert result["type"] == "Opaque"
    assert result["metadata"]["annotations"] == {"example.com/note": "x"}
    assert result["data"] == {"token": "eA=="}


def test_other_secrets_keep_their_type() -> None:
    source = {"kind": "Secret", "metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {}}
    assert transform(source, TARGET, "kcp-abc")["type"] == "kubernetes.io/tls"


def test_a_service_leaves_addresses_and_node_ports_to_the_cluster() -> None:
    source = {
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {
            "clusterIP": "10.0.0.7",
            "clusterIPs": ["10.0.0.7"],
            "ipFamilies": ["IPv4"],
            "healthCheckNodePort": 30001,
            "type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30080}],
        },
    }
    assert transform(source, TARGET, "kcp-abc")["spec"] == {
        "type": "NodePort",
        "ports": [{"port": 80}],
    }


def test_a_headless_service_stays_headless() -> None:
    source = {
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "clusterIPs": ["None"]},
    }
    assert transform(source, TARGET, "kcp-abc")["spec"] == {"clusterIP": "None"}


def test_row_38_a_second_pass_changes_nothing_and_the_source_stays_as_it_is() -> None:
    source = deployment(labels={"app": "web"})
    before = copy.deepcopy(source)
    once = transform(source, TARGET, "kcp-abc")
    assert source == before
    assert transform(once, TARGET, "kcp-abc") == once


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_keys_does_not_matter(order: list[str]) -> None:
    source = deployment(labels={key: key for key in order})
    expected = deployment(labels={key: key for key in "abcd"})
    assert transform(source, TARGET, "x") == transform(expected, TARGET, "x")


def changed(**changes: Any) -> dict[str, Any]:
    obj = deployment(
        resourceVersion="1",
        labels={"a": "b"},
        annotations={"a": "b"},
        finalizers=["a"],
        managedFields=[{"manager": "x"}],
    )
    metadata = changes.pop("metadata", {})
    return {**obj, **changes, "metadata": {**obj["metadata"], **metadata}}


STATUS_NOTE = f"experimental.status.workload.kcp.io/{TARGET.key}"


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("equal", changed(), True),
        ("status", changed(status={"replicas": 1}), True),
        ("no status", {k: v for k, v in changed().items() if k != "status"}, True),
        (
            "status annotation",
            changed(metadata={"annotations": {"a": "b", STATUS_NOTE: "x"}}),
            True,
        ),
        ("resourceVersion", changed(metadata={"resourceVersion": "2"}), True),
        ("managedFields", changed(metadata={"managedFields": []}), True),
        ("labels", changed(metadata={"labels": {"a": "c"}}), False),
        ("annotations", changed(metadata={"annotations": {"a": "c"}}), False),
        ("finalizers", changed(metadata={"finalizers": []}), False),
        ("deletion", changed(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
        ("spec", changed(spec={"replicas": 3}), False),
        ("extra field", changed(data={"a": "b"}), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_row_30_equality_ignores_status_only(name: str, other: dict[str, Any], same: bool) -> None:
    assert same_apart_from_status(changed(), other) is same
    assert same_apart_from_status(other, changed()) is same
