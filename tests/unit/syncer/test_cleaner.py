from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from kcpctl.apis.admission import Admission
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import ServiceUnavailable
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.side import Cache
from kcpctl.syncer.target import Target

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World


@pytest.fixture
def emptied(world: World) -> World:
    """The namespace's copy exists, nothing is in it, and nobody needs it."""
    world.mapper.ensure("shop")
    world.down.take_writes()
    return world


def copied(world: World) -> bool:
    return world.down.find(NAMESPACES, "", world.namespace) is not None


def test_an_unneeded_namespace_goes_after_the_delay(emptied: World) -> None:
    assert emptied.clean().again_in_seconds == 30
    emptied.clock.step(29)
    assert emptied.clean().again_in_seconds == pytest.approx(1)
    assert copied(emptied)
    emptied.clock.step(1)
    assert emptied.clean().again_in_seconds is None
    assert not copied(emptied)


def test_row_37_upstream_absent_and_uid_matching(emptied: World) -> None:
    emptied.up.drop(NAMESPACES, "", "shop")
    emptied.clean()
    emptied.clock.step(30)
    emptied.clean()
    assert not copied(emptied)


def test_row_37_another_uid_is_never_deleted(world: World) -> None:
    other = Target("root", "east", "another-uid").locator("shop")
    labels = {"internal.workload.kcp.io/cluster": world.target.key}
    annotations = {"kcp.io/namespace-locator": other.to_json()}
    world.down.put(
        NAMESPACES, {"metadata": {"name": "kcp-x", "labels": labels, "annotations": annotations}}
    )
    world.up.drop(NAMESPACES, "", "shop")
    assert world.clean().again_in_seconds is None
    world.clock.step(60)
    world.clean()
    assert world.down.writes == []


def test_row_37_needed_upstream_is_never_deleted(emptied: World) -> None:
    emptied.assigned()
    assert emptied.clean().again_in_seconds is None
    emptied.clock.step(60)
    emptied.clean()
    assert copied(emptied)


def test_row_37_a_failed_look_up_never_deletes(emptied: World) -> None:
    emptied.clean()
    emptied.clock.step(30)
    emptied.up.fail["get namespaces"] = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        emptied.clean()
    assert copied(emptied)


def test_row_37_missing_downstream_is_nothing_to_do(world: World) -> None:
    world.up.drop(NAMESPACES, "", "shop")
    assert world.clean().settled
    assert world.down.writes == []


def test_it_stays_while_a_synced_object_is_in_it(world: World) -> None:
    world.assigned()
    world.sync()
    world.up.drop(CONFIG_MAPS, "shop", "web")
    assert world.clean().again_in_seconds is None
    world.clock.step(60)
    world.clean()
    assert copied(world)


def test_it_stays_while_the_cluster_does_not_serve_all_types(emptied: World) -> None:
    """Discovery may be wrong for a while: a kcp that starts does not serve its CRDs yet."""
    del cast("dict[Resource, Cache]", emptied.downstream.objects)[DEPLOYMENTS]
    assert emptied.clean().again_in_seconds is None
    assert copied(emptied)


def test_what_others_put_there_does_not_keep_it(emptied: World) -> None:
    emptied.down.put(PODS, {"metadata": {"name": "p", "namespace": emptied.namespace}})
    emptied.clean()
    emptied.clock.step(30)
    emptied.clean()
    assert not copied(emptied)


def test_an_object_that_comes_meanwhile_starts_the_delay_over(emptied: World) -> None:
    emptied.clean()
    emptied.clock.step(20)
    emptied.assigned()
    emptied.clean()
    emptied.up.drop(CONFIG_MAPS, "shop", "web")
    emptied.clock.step(20)
    assert emptied.clean().again_in_seconds == 30


def test_an_assigned_namespace_keeps_its_copy_though_empty(emptied: World) -> None:
    labels = {emptied.target.state_label: "Sync"}
    emptied.up.put(NAMESPACES, {"metadata": {"name": "shop", "labels": labels}})
    assert emptied.clean().again_in_seconds is None


def test_the_last_word_is_a_live_read_of_the_upstream_namespace(
    emptied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {emptied.target.state_label: "Sync"}
    emptied.up.put(NAMESPACES, {"metadata": {"name": "shop", "labels": labels}})
    monkeypatch.setattr(emptied.upstream.namespaces, "cached", lambda key: None)  # late
    emptied.clean()
    emptied.clock.step(30)
    emptied.clean()
    assert copied(emptied)


def test_nothing_is_deleted_unless_the_sync_target_is_confirmed(emptied: World) -> None:
    emptied.up.drop(NAMESPACES, "", "shop")
    emptied.clean()
    emptied.clock.step(30)
    emptied.up.drop(SYNCTARGETS, "", "east")
    with pytest.raises(GateClosed):
        emptied.clean()
    assert copied(emptied)


def test_a_namespace_that_was_asked_to_leave_loses_its_marks_last(world: World) -> None:
    target = world.target
    metadata = {
        "name": "shop",
        "labels": {target.state_label: "Sync", "team": "a"},
        "annotations": {target.deletion_annotation: "2026-01-01T00:00:00Z"},
    }
    world.up.put(NAMESPACES, {"metadata": metadata})
    world.assigned(metadata={"labels": {}})
    world.clean()
    assert world.up.writes == []
    world.sync()
    world.clean()
    found = world.up.expect(NAMESPACES, "", "shop")["metadata"]
    assert found["labels"] == {"team": "a"}
    assert not found.get("annotations")


def test_soft_finalizers_keep_the_marks_of_a_namespace(world: World) -> None:
    target = world.target
    notes = {target.deletion_annotation: "now", target.soft_finalizers_annotation: "x.io/wait"}
    world.up.put(NAMESPACES, {"metadata": {"name": "shop", "annotations": notes}})
    world.clean()
    assert world.up.writes == []


def test_events_map_to_the_upstream_namespace(emptied: World) -> None:
    from tests.unit.syncer.conftest import as_cached

    copy = as_cached("root", emptied.down.expect(NAMESPACES, "", emptied.namespace))
    labels = {"internal.workload.kcp.io/cluster": emptied.target.key}
    metadata = {"name": "web", "namespace": emptied.namespace, "labels": labels}
    obj = as_cached("root", emptied.down.put(CONFIG_MAPS, {"metadata": metadata}))
    assert emptied.cleaner.keys_of_copy(copy) == ["root|shop"]
    assert emptied.cleaner.keys_around_copy(obj) == ["root|shop"]
    assert emptied.cleaner.keys_around(as_cached("root", emptied.assigned())) == ["root|shop"]


def test_what_the_target_does_not_let_in_keeps_no_namespace(emptied: World) -> None:
    labels = {emptied.target.state_label: "Sync", "team": "b"}
    emptied.up.put(NAMESPACES, {"metadata": {"name": "shop", "labels": labels}})
    assert emptied.clean().again_in_seconds is None
    chosen = {"matchLabels": {"team": "a"}}
    emptied.restrict(Admission.of({"selector": {"namespaceSelector": chosen}}))
    emptied.assigned(metadata={"finalizers": []})
    emptied.clean()
    emptied.clock.step(30)
    emptied.clean()
    assert not copied(emptied)
