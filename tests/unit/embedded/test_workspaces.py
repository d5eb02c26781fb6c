from __future__ import annotations

import random
from typing import Any

import pytest

from kcpctl.embedded.registry import Event, LogicalClusterRecord, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.testing.clock import FakeClock

Json = dict[str, Any]


def make(registry: Registry, name: str, parent: str = "root") -> str:
    """Make a workspace; returns its logical cluster."""
    info = registry.info(parent, "tenancy.kcp.io", "v1alpha1", "workspaces")
    registry.create(info, parent, "", {"metadata": {"name": name}})
    cluster: str = registry.get(info, parent, "", name)["spec"]["cluster"]
    return cluster


def maps(registry: Registry, cluster: str) -> list[str]:
    info = registry.info(cluster, "", "v1", "configmaps")
    return [obj["metadata"]["name"] for obj in registry.list(info, cluster)]


def add_map(registry: Registry, cluster: str, name: str, **meta: Any) -> Json:
    info = registry.info(cluster, "", "v1", "configmaps")
    return registry.create(info, cluster, "default", {"metadata": {"name": name, **meta}})


def test_a_plain_server_is_one_cluster_without_annotations(plain: Registry) -> None:
    assert plain.clusters() == [LogicalClusterRecord("root", "root", "Ready")]
    assert "annotations" not in add_map(plain, "root", "a")["metadata"]
    with pytest.raises(StatusError):
        plain.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")


def test_a_workspace_becomes_ready_by_phases(workspaces: Registry) -> None:
    phases: list[str] = []

    def note(event: Event) -> None:
        if event.info.plural == "workspaces":
            phases.append((event.object.get("status") or {}).get("phase", ""))

    workspaces.subscribe(note)
    cluster = make(workspaces, "demo")
    assert phases[-3:] == ["Scheduling", "Initializing", "Ready"]
    assert len(cluster) == 16
    assert workspaces.resolve_cluster("root:demo") == cluster
    assert workspaces.resolve_cluster(cluster) == cluster


def test_a_workspace_knows_its_url(clock: FakeClock) -> None:
    registry = Registry(workspaces=True, clock=clock, rng=random.Random(1))
    registry.logical_clusters.server_url = "https://host:1"
    cluster = make(registry, "demo")
    info = registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    spec = registry.get(info, "root", "", "demo")["spec"]
    assert spec["URL"] == f"https://host:1/clusters/{cluster}"


def test_each_cluster_has_its_logical_cluster_object_and_namespaces(workspaces: Registry) -> None:
    cluster = make(workspaces, "demo")
    info = workspaces.info(cluster, "core.kcp.io", "v1alpha1", "logicalclusters")
    found = workspaces.get(info, cluster, "", "cluster")
    assert found["metadata"]["annotations"] == {
        "kcp.io/path": "root:demo",
        "kcp.io/cluster": cluster,
    }
    assert found["status"]["phase"] == "Ready"
    namespaces = workspaces.info(cluster, "", "v1", "namespaces")
    names = [obj["metadata"]["name"] for obj in workspaces.list(namespaces, cluster)]
    assert names == ["default", "kube-system"]


def test_objects_carry_their_cluster_and_are_apart(workspaces: Registry) -> None:
    cluster = make(workspaces, "demo")
    assert add_map(workspaces, "root", "a")["metadata"]["annotations"]["kcp.io/cluster"] == "root"
    add_map(workspaces, cluster, "a")
    assert maps(workspaces, cluster) == ["a"]
    assert maps(workspaces, "*") == ["a", "a"]


def test_the_cluster_annotation_cannot_be_changed(workspaces: Registry) -> None:
    add_map(workspaces, "root", "a", annotations={"kcp.io/cluster": "other"})
    info = workspaces.info("root", "", "v1", "configmaps")
    changed = workspaces.patch(info, "root", "default", "a", {"metadata": {"annotations": None}})
    assert changed["metadata"]["annotations"] == {"kcp.io/cluster": "root"}


def test_system_crds_are_objects_in_every_cluster(clock: FakeClock) -> None:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    names = {"plural": "xs", "singular": "x", "kind": "X", "listKind": "XList"}
    crd = {
        "metadata": {"name": "xs.g.io"},
        "spec": {"group": "g.io", "scope": "Cluster", "names": names, "versions": [version]},
    }
    registry = Registry(
        workspaces=True, system_crds=lambda: [crd], clock=clock, rng=random.Random(1)
    )
    cluster = make(registry, "demo")
    crds = registry.info(cluster, "apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert [obj["metadata"]["name"] for obj in registry.list(crds, cluster)] == ["xs.g.io"]
    assert registry.info(cluster, "g.io", "v1", "xs").kind == "X"
    here, there = (registry.get(crds, one, "", "xs.g.io") for one in ("root", cluster))
    assert here["metadata"]["uid"] != there["metadata"]["uid"]
    assert there["metadata"]["annotations"] == {"kcp.io/cluster": cluster}
    assert there["spec"] is here["spec"]


def test_listeners_fill_each_cluster_before_it_is_ready(workspaces: Registry) -> None:
    seen: list[tuple[str, str]] = []
    workspaces.on_cluster(lambda record: seen.append((record.path, record.phase)))
    make(workspaces, "demo")
    assert seen == [("root", "Ready"), ("root:demo", "Initializing")]


def test_workspaces_nest(workspaces: Registry) -> None:
    org = make(workspaces, "org")
    team = make(workspaces, "team", org)
    assert workspaces.resolve_cluster("root:org:team") == team


def test_unknown_clusters_are_404_for_masters_and_403_for_others(workspaces: Registry) -> None:
    with pytest.raises(StatusError) as caught:
        workspaces.resolve_cluster("root:nope")
    assert caught.value.code == 404
    with pytest.raises(StatusError) as caught:
        workspaces.resolve_cluster("root:nope", masters=False)
    assert caught.value.code == 403


def delete(registry: Registry, name: str) -> None:
    info = registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    registry.delete(info, "root", "", name)


def test_deleting_a_workspace_removes_its_content_and_those_below(workspaces: Registry) -> None:
    org = make(workspaces, "org")
    team = make(workspaces, "team", org)
    add_map(workspaces, team, "a")
    delete(workspaces, "org")
    assert [record.name for record in workspaces.clusters()] == ["root"]
    assert maps(workspaces, "*") == []
    info = workspaces.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    assert workspaces.find(info, "root", "", "org") is None
    for key in workspaces.store.storage_keys():
        assert workspaces.store.count(key, team) == 0


def test_finalizers_inside_hold_a_workspace(workspaces: Registry) -> None:
    cluster = make(workspaces, "demo")
    add_map(workspaces, cluster, "held", finalizers=["a/b"])
    delete(workspaces, "demo")
    assert [r.phase for r in workspaces.clusters() if r.name == cluster] == ["Deleting"]
    parent = workspaces.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    kept = workspaces.find(parent, "root", "", "demo")
    assert kept is not None
    assert kept["status"] == {"phase": "Deleting"}
    info = workspaces.info(cluster, "", "v1", "configmaps")
    workspaces.patch(info, cluster, "default", "held", {"metadata": {"finalizers": None}})
    assert [record.name for record in workspaces.clusters()] == ["root"]


def test_a_workspace_made_again_is_another_cluster(workspaces: Registry) -> None:
    first = make(workspaces, "demo")
    delete(workspaces, "demo")
    assert make(workspaces, "demo") != first
