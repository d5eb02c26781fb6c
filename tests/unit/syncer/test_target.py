from __future__ import annotations

import pytest

from kcpctl.apis.naming import NamespaceLocator, downstream_namespace, tenant_id
from kcpctl.syncer.target import Target

KEY = "6ohB8yeXhwqTQVuBzJRgqcRJTpRjX7yTZu5g5g"


@pytest.mark.parametrize(
    ("cluster", "name", "key"),
    [
        ("root:org:ws", "us-west1", KEY),
        ("root", "cluster-1", "cnEypJVOK7QZQ7n2snhcYUpzkt75Lk9r2tlKHc"),
    ],
)
def test_row_40_sync_target_key_vectors(cluster: str, name: str, key: str) -> None:
    assert Target(cluster, name, "uid").key == key


def test_marks_carry_the_key() -> None:
    target = Target("root:org:ws", "us-west1", "syncTargetUID")
    assert target.state_label == f"state.workload.kcp.io/{KEY}"
    assert target.finalizer == f"workload.kcp.io/syncer-{KEY}"
    assert target.deletion_annotation == f"deletion.internal.workload.kcp.io/{KEY}"
    assert target.soft_finalizers_annotation == f"finalizers.workload.kcp.io/{KEY}"
    assert target.spec_diff_annotation == f"experimental.spec-diff.workload.kcp.io/{KEY}"


def test_namespace_and_tenant_vectors() -> None:
    locator = Target("root:org:ws", "us-west1", "syncTargetUID").locator("test")
    assert downstream_namespace(locator) == "kcp-33jbiactwhg0"
    assert tenant_id(locator) == "9Fn3Q4y5UDPmCOrYCujwdgCbD9SwOcKdcefYE7"


@pytest.mark.parametrize(
    ("target", "cluster"),
    [
        (Target("root", "east", "another-uid"), "root"),
        (Target("root", "west", "uid"), "root"),
        (Target("other", "east", "uid"), "other"),
        (Target("root", "east", "uid"), "another-workspace"),
    ],
)
def test_row_32_another_locator_is_not_owned(target: Target, cluster: str) -> None:
    locator = target.locator("test")
    locator.cluster = cluster
    assert not Target("root", "east", "uid").owns(locator)


def test_row_28_a_v0_6_0_locator_is_owned() -> None:
    text = (
        '{"syncTarget":{"path":"root","name":"east","uid":"uid"},'
        '"cluster":"root","namespace":"test"}'
    )
    assert Target("root", "east", "uid").owns(NamespaceLocator.from_json(text))
