"""Same names in many workspaces: status, events, Secrets and connections never cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.logicalcluster import key_of
from kcpctl.runtime import IOLoop

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

MANY = [f"ws{number:02}" for number in range(100)]
STEPS = ["reconcile", "secret", "target", "connect", "beat", "roll out", "delete"]


def kubeconfig(cluster: str) -> bytes:
    return f"# of {cluster}\n".encode()


def snapshot(world: World) -> dict[str, dict[str, object]]:
    """Return what the server has of each workspace."""
    found: dict[str, dict[str, object]] = {}
    for path, obj in world.up.objects.items():
        found.setdefault(path.split("/")[2], {})[path] = obj
    return found


def act(world: World, step: str, cluster: str) -> None:
    """Let somebody or the reconciler do something in one workspace."""
    exists = world.path(SYNCTARGETS, "east", cluster=cluster) in world.up.objects
    if step == "secret":
        world.add_secret(kubeconfig(cluster), cluster=cluster)
    elif step == "target" and not exists:
        world.add_target(workspace=cluster)
    elif step == "connect" and key_of(cluster, "", "east") in world.pool.kubeconfigs:
        world.connect(cluster=cluster)
    elif step == "beat" and exists:
        world.beat(cluster=cluster)
    elif step == "roll out":
        world.roll_out()
    elif step == "delete" and exists:
        world.delete_target(cluster=cluster)
    elif step == "reconcile":
        world.reconcile(cluster=cluster)


def check(world: World, cluster: str, before: dict[str, dict[str, object]]) -> None:
    """Compare after a pass in one workspace."""
    after = snapshot(world)
    for other in (set(before) | set(after)) - {cluster}:
        assert after.get(other) == before.get(other), f"a pass in {cluster} changed {other}"
    assert all(f"/clusters/{cluster}/" in call for call in world.up.calls), world.up.calls
    assert all(line.startswith(f"{cluster}/") for line in world.recorder.lines)
    for key, content in world.pool.kubeconfigs.items():
        assert content == kubeconfig(key.partition("|")[0])


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(MANY[:3])), max_size=40))
def test_whatever_happens_a_pass_touches_its_own_workspace_alone(
    io_loop: IOLoop, steps: list[tuple[str, str]]
) -> None:
    from tests.unit.reconcilers.conftest import World as NewWorld

    world = NewWorld(io_loop, multi=True)
    for cluster in MANY[:3]:
        world.add_secret(kubeconfig(cluster), cluster=cluster)
        world.add_target(workspace=cluster)
    for step, cluster in steps:
        world.take()
        before = snapshot(world)
        act(world, step, cluster)
        if step == "reconcile":
            check(world, cluster, before)


@pytest.mark.parametrize("order", [MANY, MANY[::-1]], ids=["forth", "back"])
def test_a_hundred_workspaces_with_the_same_names_each_have_their_own(
    workspaces: World, order: list[str]
) -> None:
    world = workspaces
    for cluster in MANY:
        world.add_secret(kubeconfig(cluster), cluster=cluster)
        world.add_target(workspace=cluster)
    for _ in range(2):
        for cluster in order:
            world.take()
            before = snapshot(world)
            world.reconcile(cluster=cluster)
            check(world, cluster, before)
    assert len(world.pool.kubeconfigs) == 100
    world.connect(cluster=MANY[42])
    for cluster in order:
        world.reconcile(cluster=cluster)
    connected = [c for c in MANY if world.condition("ClusterConnected", cluster=c)[:4] == "True"]
    assert connected == [MANY[42]]
