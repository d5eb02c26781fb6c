from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import ServiceUnavailable
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.target import Target

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World

OWNER = "internal.workload.kcp.io/cluster"
DELETED = "2026-01-01T00:00:00Z"


@pytest.fixture
def synced(world: World) -> World:
    world.assigned(data={"a": "b"})
    world.sync()
    world.down.take_writes()
    return world


def test_row_21_upstream_removed(synced: World) -> None:
    synced.up.drop(CONFIG_MAPS, "shop", "web")
    assert not synced.sync().settled
    assert synced.copy() is None
    assert synced.sync().settled


def test_deletion_upstream_waits_for_the_copy_to_go(synced: World) -> None:
    synced.assigned(metadata={"deletionTimestamp": DELETED})
    synced.sync()
    assert synced.down.take_writes() == [f"delete configmaps {synced.namespace}/web"]
    assert synced.up.writes == []
    synced.sync()
    assert synced.up.find(CONFIG_MAPS, "shop", "web") is None


def test_row_22_deletion_annotation_exists_down(synced: World) -> None:
    synced.assigned(metadata={"annotations": {synced.target.deletion_annotation: DELETED}})
    assert not synced.sync().settled
    assert synced.copy() is None
    assert synced.up.writes == []


def test_row_23_deletion_annotation_absent_down(world: World) -> None:
    target = world.target
    marks = {target.deletion_annotation: DELETED, target.soft_finalizers_annotation: ""}
    world.assigned(
        metadata={
            "annotations": {**marks, "example.com/note": "x"},
            "labels": {target.state_label: "Sync", "app": "web"},
            "finalizers": [target.finalizer, "example.com/other"],
        }
    )
    assert world.sync().settled
    metadata = world.up.expect(CONFIG_MAPS, "shop", "web")["metadata"]
    assert metadata["finalizers"] == ["example.com/other"]
    assert metadata["labels"] == {"app": "web"}
    assert metadata["annotations"] == {"example.com/note": "x"}


def test_row_24_external_soft_finalizer(synced: World) -> None:
    target = synced.target
    notes = {target.deletion_annotation: DELETED, target.soft_finalizers_annotation: "x.io/wait"}
    synced.assigned(metadata={"annotations": notes}, data={"a": "c"})
    synced.sync()
    assert synced.expect_copy()["data"] == {"a": "c"}
    assert synced.up.writes == []


def test_a_removed_state_label_removes_the_copy_then_the_finalizer(synced: World) -> None:
    synced.assigned(metadata={"labels": {}})
    synced.sync()
    assert synced.copy() is None
    synced.sync()
    assert synced.up.expect(CONFIG_MAPS, "shop", "web")["metadata"].get("finalizers", []) == []


def test_where_the_namespace_assigns_the_deletion_annotation_stays(synced: World) -> None:
    target = synced.target
    labels = {target.state_label: "Sync"}
    synced.up.put(NAMESPACES, {"metadata": {"name": "shop", "labels": labels}})
    notes = {target.deletion_annotation: DELETED}
    synced.assigned(metadata={"labels": {}, "annotations": notes})
    synced.sync()
    synced.sync()
    metadata = synced.up.expect(CONFIG_MAPS, "shop", "web")["metadata"]
    assert metadata["annotations"] == notes
    assert not metadata.get("finalizers")
    synced.up.take_writes()
    assert synced.sync().settled
    assert synced.up.writes == []


def test_the_finalizer_stays_while_the_copy_has_finalizers_of_others(synced: World) -> None:
    synced.expect_copy()["metadata"]["finalizers"] = ["example.com/slow"]
    synced.assigned(metadata={"deletionTimestamp": DELETED})
    synced.sync()
    result = synced.sync()
    assert not result.settled
    assert result.again_in_seconds
    assert synced.up.writes == []
    assert len(synced.down.writes) == 1


def test_the_finalizer_stays_while_the_cluster_does_not_answer(synced: World) -> None:
    synced.assigned(metadata={"deletionTimestamp": DELETED})
    synced.down.fail["get configmaps"] = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        synced.sync()
    assert synced.up.writes == []


@pytest.mark.parametrize("change", ["gone", "replaced", "deleting"])
def test_nothing_is_removed_unless_the_sync_target_is_confirmed(synced: World, change: str) -> None:
    """An upstream server restarted empty shows every object as gone (decision 10)."""
    synced.up.drop(CONFIG_MAPS, "shop", "web")
    if change == "gone":
        synced.up.drop(SYNCTARGETS, "", "east")
    else:
        metadata = synced.up.expect(SYNCTARGETS, "", "east")["metadata"]
        metadata["uid" if change == "replaced" else "deletionTimestamp"] = DELETED
    with pytest.raises(GateClosed):
        synced.sync()
    assert synced.down.writes == []
    assert synced.gate.is_open


def test_nothing_is_removed_while_the_sync_target_cannot_be_read(synced: World) -> None:
    synced.up.drop(CONFIG_MAPS, "shop", "web")
    synced.up.fail["get synctargets"] = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        synced.sync()
    assert synced.down.writes == []


def test_an_object_that_only_the_cache_misses_is_not_removed(
    synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synced.upstream.objects[CONFIG_MAPS], "cached", lambda key: None)
    assert synced.sync().settled
    assert synced.down.writes == []


@pytest.mark.parametrize("labels", [{}, {OWNER: Target("root", "west", "uid-west").key}])
def test_what_is_not_ours_is_never_deleted(world: World, labels: dict[str, str]) -> None:
    world.mapper.ensure("shop")
    world.down.take_writes()
    metadata = {"name": "web", "namespace": world.namespace, "labels": labels}
    world.down.put(CONFIG_MAPS, {"metadata": metadata})
    world.assigned(metadata={"deletionTimestamp": DELETED})
    world.sync()
    assert world.down.writes == []
    assert world.up.find(CONFIG_MAPS, "shop", "web") is None


def test_a_copy_in_a_namespace_without_our_locator_is_never_deleted(world: World) -> None:
    labels = {OWNER: world.target.key}
    world.down.put(NAMESPACES, {"metadata": {"name": world.namespace}})
    metadata = {"name": "web", "namespace": world.namespace, "labels": labels}
    world.down.put(CONFIG_MAPS, {"metadata": metadata})
    world.assigned(metadata={"deletionTimestamp": DELETED})
    world.sync()
    assert world.down.writes == []
