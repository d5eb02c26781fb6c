"""Where a workspace is served, as the status has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.kcp import APIBinding
from kcpctl.apis.meta import ObjectMeta
from kcpctl.apis.synctarget_status import VirtualWorkspace
from kcpctl.apis.workload import SYNCTARGETS

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

URL = "https://shard-1/services/apiexport/root/kcpctl"
SERVED = f"{URL}/clusters/root"


class Fleet:
    def __init__(self) -> None:
        self.endpoint = (URL, "")

    def endpoint_of(self, cluster: str) -> tuple[str, str]:
        assert cluster == "root"
        return self.endpoint

    def binding(self, cluster: str) -> APIBinding | None:
        assert cluster == "root"
        return APIBinding(metadata=ObjectMeta(annotations={"kcp.io/path": "root:team"}))


@pytest.fixture
def fleet(world: World) -> Fleet:
    fleet = Fleet()
    world.links = fleet
    world.reconciler = world.new_reconciler()
    world.make_ready()
    return fleet


def served(world: World) -> list[VirtualWorkspace]:
    return world.target().status.virtual_workspaces


def test_the_url_of_the_workspace_is_in_the_status(world: World, fleet: Fleet) -> None:
    assert served(world) == [VirtualWorkspace(url=SERVED, syncer_url=SERVED)]
    assert world.condition("VirtualWorkspaceLinked") == "True Linked"
    world.reconcile()
    assert world.up.writes() == []


def test_a_workspace_that_moves_has_another_url(world: World, fleet: Fleet) -> None:
    fleet.endpoint = ("https://shard-2", "")
    world.reconcile()
    assert [one.syncer_url for one in served(world)] == ["https://shard-2/clusters/root"]


@pytest.mark.parametrize(
    ("endpoint", "condition", "urls", "requeue"),
    [
        (("", ""), "False NoEndpoints", 0, 60.0),
        ((URL, "connection refused"), "False LinkFailed", 1, 30.0),
    ],
)
def test_what_is_wrong_with_the_link_is_no_part_of_ready(
    world: World,
    fleet: Fleet,
    endpoint: tuple[str, str],
    condition: str,
    urls: int,
    requeue: float,
) -> None:
    fleet.endpoint = endpoint
    assert world.reconcile() == pytest.approx(requeue)
    assert world.condition("VirtualWorkspaceLinked") == condition
    assert endpoint[1] in world.message("VirtualWorkspaceLinked")
    assert len(served(world)) == urls
    assert world.condition("Ready") == "True Ready"


def test_on_other_servers_both_are_absent(world: World) -> None:
    world.make_ready()
    stale = world.up.objects[world.path(SYNCTARGETS, "east")]["status"]
    linked = {"type": "VirtualWorkspaceLinked", "status": "True", "reason": "Linked"}
    stale["conditions"].append(linked)
    stale["virtualWorkspaces"] = [{"url": SERVED}]
    world.reconcile()
    assert world.condition("VirtualWorkspaceLinked") == ""
    assert served(world) == []


def test_the_path_of_the_own_workspace_is_known_from_its_binding(
    world: World, fleet: Fleet
) -> None:
    world.change_spec(kcpCluster="root:team")
    world.reconcile()
    assert world.message("Valid") == "The spec passes every rule"
    world.change_spec(kcpCluster="root:other")
    world.reconcile()
    assert "spec.kcpCluster" in world.message("Valid")
