from __future__ import annotations

import pytest

from kcpctl.apis.meta import owner_of
from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, PODS
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
def test_what_cannot_be_one_segment_of_a_path_is_refused(name: str) -> None:
    """RC-16."""
    with pytest.raises(ValueError, match="cannot be the name"):
        PODS.path(namespace="ns", name=name)


def test_a_namespace_on_a_cluster_scoped_resource_is_refused() -> None:
    with pytest.raises(ValueError, match="cluster-scoped"):
        NAMESPACES.path(namespace="ns", name="x")


def test_paths_of_the_core_group_and_of_others() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path(namespace="ns", name="p", subresource="log") == (
        "/api/v1/namespaces/ns/pods/p/log"
    )
    assert DEPLOYMENTS.path(namespace="ns") == "/apis/apps/v1/namespaces/ns/deployments"


def test_names_of_a_resource() -> None:
    assert (PODS.api_version, PODS.group_resource) == ("v1", "pods")
    assert SYNCTARGETS.api_version == "workload.kcp.io/v1alpha1"
    assert SYNCTARGETS.group_resource == "synctargets.workload.kcp.io"


def test_an_owner_reference_names_kind_and_uid() -> None:
    target = SyncTarget()
    target.metadata.name, target.metadata.uid = "east", "u"
    owner = owner_of(target)
    assert (owner.kind, owner.name, owner.uid) == ("SyncTarget", "east", "u")
    assert owner.controller is True
    assert owner_of(target, controller=False).controller is None
