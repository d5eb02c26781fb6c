"""How many Pods there are when somebody asks for more than any machine has room for."""

from __future__ import annotations

from typing import Any, Final

import pytest

from kcpctl.embedded.controllers import replicasets
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.replicasets import ReplicaSetController
from kcpctl.embedded.registry import Registry

World = Any
MOST: Final = 25
POD: Final = {"containers": [{"name": "c", "image": "i"}]}


@pytest.fixture
def limited(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(replicasets, "_MOST_PODS", MOST)
    return world


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "w"}
    template = {"metadata": {"labels": labels}, "spec": POD}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def failure(world: World) -> list[tuple[str, str]]:
    status = world.get("apps/deployments", "web", "default")["status"]
    return [
        (entry["reason"], entry["message"].partition(": ")[2])
        for entry in status["conditions"]
        if entry["type"] == "ReplicaFailure"
    ]


def pods(world: World) -> int:
    return len(world.list("pods", "default"))


def resize(world: World, replicas: int) -> None:
    world.patch("apps/deployments", "web", {"spec": {"replicas": replicas}}, "default")


async def test_a_cluster_takes_only_so_many_pods_and_the_status_says_so(limited: World) -> None:
    limited.create("apps/deployments", deployment(2_000_000_000))
    await limited.until(lambda: failure(limited))
    assert failure(limited) == [("FailedCreate", "this server takes 25 pods in a cluster")]
    assert pods(limited) == MOST
    status = limited.get("apps/deployments", "web", "default")["status"]
    assert (status["replicas"], status["unavailableReplicas"]) == (MOST, 2_000_000_000)


async def test_with_fewer_replicas_the_failure_is_over(limited: World) -> None:
    limited.create("apps/deployments", deployment(MOST + 1))
    await limited.until(lambda: failure(limited))
    resize(limited, MOST)
    await limited.until(lambda: not failure(limited))
    assert pods(limited) == MOST
    resize(limited, 1)
    await limited.until(lambda: pods(limited) == 1)


async def test_room_that_others_make_is_taken_up(limited: World) -> None:
    limited.create("pods", {"metadata": {"name": "p", "namespace": "default"}, "spec": POD})
    limited.create("apps/deployments", deployment(MOST))
    await limited.until(lambda: failure(limited))
    limited.delete("pods", "p", "default", gracePeriodSeconds=0)
    await limited.until(lambda: not failure(limited), step=1)
    assert pods(limited) == MOST


def test_others_have_their_turn_between_a_few_pods() -> None:
    registry = Registry()
    controller = ReplicaSetController(registry, EventWriter(registry, "test"))
    info = registry.info("root", "apps", "v1", "replicasets")
    registry.create(info, "root", "default", deployment(25))
    counts = []
    for replicas in (25, 25, 25, 0, 0, 0):
        registry.patch(info, "root", "default", "web", {"spec": {"replicas": replicas}})
        controller.reconcile(("root", "default", "web"))
        counts.append(registry.store.count("pods", "root"))
    assert counts == [10, 20, 25, 15, 5, 0]
