"""A SyncTarget goes, and its syncer takes everything off the cluster first (2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_FINALIZER, downstream_namespace
from kcpctl.apis.resource import CONFIG_MAPS, EVENTS, NAMESPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.reconcilers.synctarget.eviction import evict
from kcpctl.runtime import SYSTEM_CLOCK
from kcpctl.testing import ControlPlane, eventually
from tests.integration.conftest import Controllers
from tests.integration.test_syncer import World


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane(workspaces=False) as running:
        yield running


@pytest.fixture
def world(workspace: Client, cluster: ControlPlane) -> World:
    found = World(workspace, cluster.client)
    finalizers = {"metadata": {"finalizers": [SYNCTARGET_FINALIZER]}}
    workspace.resource(SYNCTARGETS).patch("east", finalizers)
    return found


def downstream(world: World) -> list[Unstructured]:
    """Return the namespaces of the target, those without anything in them as well."""
    selector = world.target.downstream_selector
    return list(world.downstream.resource(NAMESPACES).list(label_selector=selector))


def says(world: World) -> str:
    """Return ``Status Reason`` of SyncerReady."""
    conditions = world.sync_target["status"].get("conditions", [])
    found = (one for one in conditions if one["type"] == "SyncerReady")
    return next((f"{one['status']} {one['reason']}" for one in found), "")


def delete(world: World) -> None:
    world.upstream.resource(SYNCTARGETS).delete("east")


def ask_to_leave(world: World) -> bool:
    """Do what the controller does; whether anything is still assigned."""
    return bool(evict(world.upstream, world.target.cluster, "east", SYSTEM_CLOCK.time()))


def test_what_is_asked_to_leave_does_and_the_syncer_says_so_and_goes_on_beating(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.create(CONFIG_MAPS, "one")
    label = {"metadata": {"labels": {world.target.state_label: "Sync"}}}
    world.upstream.resource(NAMESPACES).patch("default", label)
    with world.agent(namespace_clean_delay_seconds=600):
        world.await_copy(CONFIG_MAPS, "one")
        delete(world)
        eventually(lambda: says(world) == "False Draining")
        assert world.copy(CONFIG_MAPS, "one")
        eventually(lambda: not ask_to_leave(world))
        eventually(lambda: says(world) == "False Drained")
        assert downstream(world) == []
        assert "finalizers" not in world.up(CONFIG_MAPS, "one")["metadata"]
        beat = world.sync_target["status"]["lastSyncerHeartbeatTime"]
        eventually(lambda: world.sync_target["status"]["lastSyncerHeartbeatTime"] != beat)
    assert "nothing is touched downstream" not in caplog.text


def test_a_namespace_that_was_emptied_just_before_goes_too(world: World) -> None:
    """Its removal was planned for later; afterwards nobody would be left to do it."""
    world.create(CONFIG_MAPS, "one")
    with world.agent(namespace_clean_delay_seconds=600):
        world.await_copy(CONFIG_MAPS, "one")
        world.upstream.resource(CONFIG_MAPS).delete("one", namespace="default")
        world.await_gone(CONFIG_MAPS, "one")
        assert downstream(world)
        delete(world)
        eventually(lambda: says(world) == "False Drained")
        assert downstream(world) == []


def test_a_syncer_that_starts_when_the_target_is_going_already_drains_it(world: World) -> None:
    world.create(CONFIG_MAPS, "one")
    with world.agent():
        world.await_copy(CONFIG_MAPS, "one")
    delete(world)
    ask_to_leave(world)
    with world.agent():
        eventually(lambda: says(world) == "False Drained")
    assert downstream(world) == []


def test_with_orphan_nothing_is_touched(world: World) -> None:
    world.create(CONFIG_MAPS, "one")
    policy = {"spec": {"deletionPolicy": "Orphan"}}
    world.upstream.resource(SYNCTARGETS).patch("east", policy)
    with world.agent() as agent:
        world.await_copy(CONFIG_MAPS, "one")
        delete(world)
        eventually(lambda: agent.syncer._session is None)
        world.upstream.resource(CONFIG_MAPS).delete("one", namespace="default")
        assert world.copy(CONFIG_MAPS, "one")


def test_the_namespace_of_another_target_stays(world: World) -> None:
    """It has our label, as that of a target which was deleted and made again."""
    locator = world.target.locator("default").to_json().replace(world.target.uid, "another")
    name = downstream_namespace(world.target.locator("elsewhere"))
    metadata = {
        "name": name,
        "labels": {"internal.workload.kcp.io/cluster": world.target.key},
        "annotations": {"kcp.io/namespace-locator": locator},
    }
    world.downstream.resource(NAMESPACES).create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    )
    with world.agent():
        delete(world)
        eventually(lambda: says(world) == "False Drained")
    assert [one["metadata"]["name"] for one in downstream(world)] == [name]


def test_a_target_whose_syncer_somebody_else_runs_goes_once_its_cluster_is_empty(
    world: World, control_plane: ControlPlane
) -> None:
    world.create(CONFIG_MAPS, "one")
    targets = world.upstream.resource(SYNCTARGETS)
    config = replace(control_plane.config, cluster=world.upstream.cluster_name)
    with world.agent(namespace_clean_delay_seconds=600), Controllers(config):
        world.await_copy(CONFIG_MAPS, "one")
        eventually(lambda: says(world) == "True SyncerConnected")
        delete(world)
        eventually(lambda: not targets.list().items)
        assert downstream(world) == []
    found = world.up(CONFIG_MAPS, "one")["metadata"]
    assert "finalizers" not in found
    assert not found.get("labels")
    events = {one["reason"] for one in world.upstream.resource(EVENTS).list()}
    assert "Deleted" in events
    assert "OrphanedDownstream" not in events
