"""A registry that starts with what an earlier one left in the database."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from kcpctl.apis.crds import all_crds
from kcpctl.embedded.controllers.garbage import GarbageCollector
from kcpctl.embedded.database import Database
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.security.bootstrap import bootstrap_rbac
from kcpctl.embedded.status import StatusError
from kcpctl.testing.clock import FakeClock
from tests.unit.embedded.exports.conftest import World

Json = dict[str, Any]
Start = Callable[..., Registry]


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock) -> Iterator[Start]:
    """Return what starts a registry, after the crash of the one before."""
    open_now: list[Database] = []

    def run(*, workspaces: bool = True, crds: Callable[[], list[Json]] = all_crds) -> Registry:
        while open_now:
            open_now.pop()._connection.close()
        database = Database(tmp_path, workspaces=workspaces, schedule=lambda flush: None)
        open_now.append(database)
        made = Registry(
            workspaces=workspaces,
            system_crds=crds,
            database=database,
            clock=clock,
            rng=random.Random(len(open_now)),
        )
        made.on_cluster(lambda record: bootstrap_rbac(made, record.name))
        return made

    yield run
    while open_now:
        open_now.pop().close()


def make(registry: Registry, name: str) -> str:
    info = registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    registry.create(info, "root", "", {"metadata": {"name": name}})
    cluster: str = registry.get(info, "root", "", name)["spec"]["cluster"]
    return cluster


def everything(registry: Registry) -> dict[Any, Json]:
    store = registry.store
    return {
        (resource, key): stored.obj
        for resource in store.storage_keys()
        for key, stored in store.list(resource)
    }


@pytest.mark.parametrize("workspaces", [True, False])
def test_a_restart_has_all_objects_and_writes_none(start: Start, workspaces: bool) -> None:
    first = start(workspaces=workspaces)
    if workspaces:
        make(first, "demo")
    first.store.flush()
    before, clusters = everything(first), set(first.clusters())
    again = start(workspaces=workspaces)
    revision = again.store.revision
    assert everything(again) == before
    assert set(again.clusters()) == clusters
    assert again.store.revision == revision > first.store.revision


def test_workspaces_can_be_deleted_after_a_restart(start: Start) -> None:
    first = start()
    cluster = make(first, "demo")
    first.store.flush()
    again = start()
    assert again.resolve_cluster("root:demo") == cluster
    info = again.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    again.delete(info, "root", "", "demo")
    assert [record.path for record in again.clusters()] == ["root"]
    assert {key.cluster for _, key in everything(again)} == {"root"}


def test_a_deletion_that_waits_for_a_finalizer_goes_on_after_a_restart(start: Start) -> None:
    first = start()
    cluster = make(first, "demo")
    maps = first.info(cluster, "", "v1", "configmaps")
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    first.create(maps, cluster, "default", held)
    workspaces = first.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    first.delete(workspaces, "root", "", "demo")
    first.store.flush()
    again = start()
    assert again.logical_clusters.find("root:demo") is not None
    again.patch(maps, cluster, "default", "held", {"metadata": {"finalizers": None}})
    assert again.logical_clusters.find("root:demo") is None
    with pytest.raises(StatusError, match="not found"):
        again.get(workspaces, "root", "", "demo")


def test_custom_resources_are_served_after_a_restart(start: Start) -> None:
    first = start()
    cluster = make(first, "demo")
    targets = first.info(cluster, "workload.kcp.io", "v1alpha1", "synctargets")
    made = first.create(targets, cluster, "", {"metadata": {"name": "east"}, "spec": {}})
    first.store.flush()
    again = start()
    same = again.info(cluster, "workload.kcp.io", "v1alpha1", "synctargets")
    assert again.get(same, cluster, "", "east") == made


def test_the_crds_of_another_release_reach_every_cluster(start: Start) -> None:
    def newer() -> list[Json]:
        crds = deepcopy(all_crds())
        for crd in crds:
            crd["spec"]["names"]["categories"] = ["newer"]
        return crds

    first = start(crds=lambda: all_crds()[1:])
    cluster = make(first, "demo")
    first.store.flush()
    again = start(crds=newer)
    for one in ("root", cluster):
        info = again.info(one, "apiextensions.k8s.io", "v1", "customresourcedefinitions")
        crds = again.list(info, one)
        assert len(crds) == len(all_crds())
        assert [crd["spec"]["names"]["categories"] for crd in crds] == [["newer"]] * len(crds)
        targets = again.info(one, "workload.kcp.io", "v1alpha1", "synctargets")
        assert targets.categories == ("newer",)


def test_the_clusters_share_the_crds_in_memory(start: Start) -> None:
    first = start()
    cluster = make(first, "demo")
    first.store.flush()
    again = start()
    info = again.info("root", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
    for one, other in zip(again.list(info, "root"), again.list(info, cluster), strict=True):
        assert one["spec"] is other["spec"]


def test_urls_follow_the_address_of_the_server(start: Start) -> None:
    first = start()
    first.logical_clusters.serve_at("https://host:1")
    cluster = make(first, "demo")
    first.store.flush()
    again = start()
    again.logical_clusters.serve_at("https://host:2")
    workspaces = again.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    url = f"https://host:2/clusters/{cluster}"
    assert again.get(workspaces, "root", "", "demo")["spec"]["URL"] == url
    logical = again.info(cluster, "core.kcp.io", "v1alpha1", "logicalclusters")
    assert again.get(logical, cluster, "", "cluster")["status"]["URL"] == url


def test_a_version_of_before_is_too_old_even_the_last(start: Start) -> None:
    first = start()
    first.store.flush()
    last = first.store.revision
    again = start()
    for revision in (last, last - 1):
        with pytest.raises(StatusError, match="too old resource version"):
            again.store.follow("configmaps", "root", revision)
    again.store.follow("configmaps", "root", again.store.revision).close()


def test_versions_grow_when_the_clock_went_back(start: Start, clock: FakeClock) -> None:
    first = start()
    first.store.flush()
    clock.jump(-86_400)
    assert start().store.revision == first.store.revision + 1


def test_a_replay_tells_the_subscribers_of_every_object(start: Start) -> None:
    first = start()
    first.store.flush()
    again = start()
    told: list[Event] = []
    again.subscribe(told.append)
    again.backend.replay()
    assert {(event.info.storage_key, event.name) for event in told} == {
        (resource, key.name) for resource, key in everything(again)
    }
    assert {event.type for event in told} == {"ADDED"}


def test_the_garbage_collector_knows_the_owners_of_before(start: Start, clock: FakeClock) -> None:
    first = start(workspaces=False)
    maps = first.info("root", "", "v1", "configmaps")
    owner = first.create(maps, "root", "default", {"metadata": {"name": "owner"}})
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    first.create(maps, "root", "default", owned)
    first.store.flush()
    again = start(workspaces=False)
    collector = GarbageCollector(again, clock=clock)
    again.backend.replay()
    again.delete(maps, "root", "default", "owner")
    (ref,) = collector._loop._queue
    collector.reconcile(ref)
    assert again.list(maps, "root", "default") == []


def test_what_was_bound_is_served_again(start: Start) -> None:
    before = World(start(crds=list))
    before.bound()
    before.widget("a")
    before.delete(before.provider, "apiexports", "widgets")
    before.delete(before.provider, "apiresourceschemas", "v1.widgets.example.com")
    before.registry.store.flush()
    again = start(crds=list)
    info = again.info(before.tenant, "example.com", "v1", "widgets")
    assert again.get(info, before.tenant, "default", "a")["spec"] == {"size": 1}
    assert again.exports.consumers(before.provider, "widgets") == {(before.tenant, "widgets")}
    bindings = again.info(before.tenant, "apis.kcp.io", "v1alpha2", "apibindings")
    again.delete(bindings, before.tenant, "", "widgets")
    assert again.find(bindings, before.tenant, "", "widgets") is None
    with pytest.raises(StatusError):
        again.info(before.tenant, "example.com", "v1", "widgets")
