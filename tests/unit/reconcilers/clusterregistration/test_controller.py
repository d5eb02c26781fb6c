"""Whose SyncTargets count for a ClusterRegistration."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client
from kcpctl.clusters import ClusterPool
from kcpctl.informers import CachedObject, IndexFunction, InformerFactory
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.reconcilers.clusterregistration.controller import (
    _named_by_target,
    _Targets,
    new_controller,
)
from kcpctl.reconcilers.clusterregistration.options import ClusterRegistrationOptions
from kcpctl.reconcilers.clusterregistration.reconcile import pool_key
from kcpctl.reconcilers.indexes import REGISTRATION_INDEX, add_indexes
from kcpctl.runtime import IOLoop
from kcpctl.testing.clock import FakeClock


class Targets:
    """An informer's indexes, and the lister of what it has."""

    def __init__(self) -> None:
        self.objects: list[CachedObject] = []
        self.indexes: dict[str, IndexFunction] = {}

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.indexes[name] = function

    def add(self, name: str, where: str, /, **spec: Any) -> CachedObject:
        decoder = ObjectDecoder(SYNCTARGETS, cluster=where, multi_cluster=False)
        obj = {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": spec}
        found = decoder.decode(msgspec.Raw(msgspec.json.encode(obj)))
        self.objects.append(found)
        return found

    def cached_by_index(self, name: str, value: str) -> list[CachedObject]:
        index = self.indexes[name]
        return [one for one in self.objects if value in index(one)]


@pytest.fixture
def targets() -> Targets:
    made = Targets()
    anything = cast(Any, made)
    add_indexes(anything, cast(Any, Targets()), cast(Any, None))
    return made


REF = {"name": "reg", "workspace": "b"}


def test_those_of_its_own_workspace_hold_it_and_no_others(targets: Targets) -> None:
    targets.add("by-name", "b", cluster="reg")
    targets.add("by-own-id", "b", clusterRef=REF)
    targets.add("foreign", "a", clusterRef=REF)
    targets.add("same-name", "a", cluster="reg")
    targets.add("elsewhere", "b", cluster="root:c:reg")
    names = [one.meta.name for one in _Targets(cast(Any, targets)).naming("b|reg")]
    assert names == ["by-name", "by-own-id"]
    assert len(targets.cached_by_index(REGISTRATION_INDEX, "b|reg")) == 3


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        ({"cluster": "reg"}, ["a|reg"]),
        ({"clusterRef": {"name": "reg"}}, ["a|reg"]),
        ({"clusterRef": REF}, []),
        ({"cluster": "root:b:reg"}, []),
        ({"kcpCluster": "root"}, []),
    ],
)
def test_a_sync_target_brings_up_its_own_workspace_s_registration_alone(
    targets: Targets, spec: dict[str, Any], keys: list[str]
) -> None:
    found = targets.add("t", "a", **spec)
    assert list(_named_by_target(found)) == keys


class NoNetwork:
    server = "https://upstream"


def test_a_cluster_that_is_removed_takes_its_connections_along(io_loop: IOLoop) -> None:
    """MCR-02; and none of the other controllers', whose keys have another form."""
    aio = AsyncClient(cast(Any, NoNetwork()), cluster_name="root")
    clock = FakeClock()
    pool = ClusterPool(io_loop, clock=clock)
    controller = new_controller(
        client=Client(aio, io_loop),
        factory=InformerFactory(aio, io_loop, clock=clock),
        pool=pool,
        recorder=cast(Any, None),
        options=ClusterRegistrationOptions(),
        clock=clock,
    )
    for key in (pool_key("gone|east"), pool_key("stays|east"), "gone|east"):
        pool.fail(key, "NoSecret", "there is none")
    controller.remove("gone")
    assert [status.key for status in pool.statuses()] == [pool_key("stays|east"), "gone|east"]
