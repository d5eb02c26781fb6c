from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.naming import TENANT_LABEL, tenant_id
from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES
from kcpctl.errors import ServiceUnavailable
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.namespaces import NamespaceCollision, NamespaceTerminating, locator_of
from kcpctl.syncer.target import Target

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World

OWNER = "internal.workload.kcp.io/cluster"
LOCATOR = "kcp.io/namespace-locator"


def existing(world: World, *, name: str = "", locator: str | None = None, **labels: str) -> None:
    annotations = {} if locator is None else {LOCATOR: locator}
    metadata = {"name": name or world.namespace, "labels": labels, "annotations": annotations}
    world.down.put(NAMESPACES, {"metadata": metadata})


def marks(world: World) -> dict[str, str]:
    return {OWNER: world.target.key, TENANT_LABEL: tenant_id(world.target.locator("shop"))}


def test_creation_writes_locator_owner_and_tenant(world: World) -> None:
    assert world.mapper.ensure("shop") == world.namespace
    metadata = world.down.expect(NAMESPACES, "", world.namespace)["metadata"]
    assert metadata["labels"] == marks(world)
    assert metadata["annotations"] == {LOCATOR: world.target.locator("shop").to_json()}
    world.down.take_writes()
    assert world.mapper.ensure("shop") == world.namespace
    assert world.down.writes == []


@pytest.mark.parametrize("cached", [True, False])
def test_row_26_another_locator_is_a_collision_without_a_write(world: World, cached: bool) -> None:
    other = Target("root", "east", "another-uid").locator("shop")
    existing(world, locator=other.to_json(), **({OWNER: world.target.key} if cached else {}))
    with pytest.raises(NamespaceCollision, match="another locator"):
        world.mapper.ensure("shop")
    assert world.down.writes == []


def test_row_27_no_locator_is_a_collision_without_a_write(world: World) -> None:
    existing(world)
    with pytest.raises(NamespaceCollision, match="no locator"):
        world.mapper.ensure("shop")
    assert world.down.writes == []


def test_rows_26_27_a_collision_is_a_problem_of_the_object(world: World) -> None:
    existing(world)
    world.assigned()
    result = world.sync()
    assert world.namespace in result.problem
    assert world.down.writes == world.up.writes == []


def test_row_28_a_v0_6_0_namespace_is_reused_whatever_its_name(world: World) -> None:
    text = (
        '{"syncTarget":{"path":"root","name":"east","uid":"uid-east"},'
        '"cluster":"root","namespace":"shop"}'
    )
    existing(world, name="kcp-old", locator=text, **marks(world))
    assert world.mapper.ensure("shop") == "kcp-old"
    assert world.down.writes == []


def test_row_29_a_missing_tenant_label_is_added(world: World) -> None:
    existing(world, locator=world.target.locator("shop").to_json(), **{OWNER: world.target.key})
    assert world.mapper.ensure("shop") == world.namespace
    assert world.down.expect(NAMESPACES, "", world.namespace)["metadata"]["labels"] == marks(world)


def test_a_namespace_that_lost_our_label_is_found_by_name_and_mended(world: World) -> None:
    existing(world, locator=world.target.locator("shop").to_json(), theirs="x")
    assert world.mapper.ensure("shop") == world.namespace
    labels = world.down.expect(NAMESPACES, "", world.namespace)["metadata"]["labels"]
    assert labels == {**marks(world), "theirs": "x"}


def test_two_namespaces_with_one_locator_are_a_collision(world: World) -> None:
    text = world.target.locator("shop").to_json()
    for name in ("kcp-a", "kcp-b"):
        existing(world, name=name, locator=text, **marks(world))
    with pytest.raises(NamespaceCollision, match="kcp-a, kcp-b"):
        world.mapper.ensure("shop")
    assert world.down.writes == []


def test_a_terminating_namespace_is_awaited(world: World) -> None:
    world.mapper.ensure("shop")
    found = world.down.expect(NAMESPACES, "", world.namespace)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(NamespaceTerminating):
        world.mapper.ensure("shop")
    world.assigned(CONFIG_MAPS)
    result = world.sync()
    assert not result.settled
    assert result.again_in_seconds == 2


def test_nothing_is_created_behind_a_closed_gate(world: World) -> None:
    world.gate.close("is gone")
    with pytest.raises(GateClosed):
        world.mapper.ensure("shop")
    assert world.down.writes == []


def test_a_failed_read_creates_nothing(world: World) -> None:
    world.down.fail["get namespaces"] = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        world.mapper.ensure("shop")
    assert world.down.writes == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"syncTarget":7}'])
def test_a_damaged_locator_is_none(text: str) -> None:
    assert locator_of({LOCATOR: text}) is None
