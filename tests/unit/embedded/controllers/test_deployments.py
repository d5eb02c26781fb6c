from __future__ import annotations

from typing import Any

import pytest

World = Any


def manifest(replicas: int = 2, image: str = "nginx:1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "w"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "w"}},
            "template": template(image),
            **spec,
        },
    }


def template(image: str) -> dict[str, Any]:
    container = {"name": "c", "image": image}
    return {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [container]}}


def status(world: World) -> Any:
    return world.get("apps/deployments", "web", "default")["status"]


def condition(world: World, kind: str) -> tuple[str, str]:
    found = {entry["type"]: entry for entry in status(world)["conditions"]}
    return found[kind]["status"], found[kind]["reason"]


def sets(world: World) -> dict[str, int]:
    """Return image -> wanted replicas of the ReplicaSets."""
    return {
        entry["spec"]["template"]["spec"]["containers"][0]["image"]: entry["spec"]["replicas"]
        for entry in world.list("apps/replicasets", "default")
    }


def complete(world: World, replicas: int) -> bool:
    found = status(world)
    generation = world.get("apps/deployments", "web", "default")["metadata"]["generation"]
    return found.get("observedGeneration") == generation and all(
        found.get(field, 0) == replicas
        for field in ("replicas", "updatedReplicas", "availableReplicas")
    )


async def roll_out(world: World, replicas: int) -> None:
    def step() -> bool:
        world.make_ready()
        return complete(world, replicas)

    await world.until(step)


def set_image(world: World, image: str) -> None:
    world.patch("apps/deployments", "web", {"spec": {"template": template(image)}}, "default")


async def test_pods_that_never_become_ready_keep_the_old_ones_alive(world: World) -> None:
    world.create("apps/deployments", manifest(3, progressDeadlineSeconds=60))
    await roll_out(world, 3)
    set_image(world, "nginx:broken")
    await world.settle()
    assert sets(world) == {"nginx:1": 3, "nginx:broken": 1}
    assert condition(world, "Available") == ("True", "MinimumReplicasAvailable")
    world.clock.step(62)
    await world.settle()
    assert condition(world, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert sets(world)["nginx:1"] == 3


async def test_a_deployment_gets_a_replica_set_and_pods(world: World) -> None:
    created = world.create("apps/deployments", manifest(2))
    await world.settle()
    (owned,) = world.list("apps/replicasets", "default")
    hashed = owned["metadata"]["labels"]["pod-template-hash"]
    assert owned["metadata"]["name"] == f"web-{hashed}"
    assert owned["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "2",
        "deployment.kubernetes.io/max-replicas": "3",
        "deployment.kubernetes.io/revision": "1",
    }
    assert owned["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    pods = world.list("pods", "default")
    assert len(pods) == 2
    assert all(pod["metadata"]["labels"]["pod-template-hash"] == hashed for pod in pods)
    assert condition(world, "Available") == ("False", "MinimumReplicasUnavailable")


async def test_a_ready_deployment_is_complete_and_keeps_its_generation(world: World) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    deployment = world.get("apps/deployments", "web", "default")
    assert deployment["metadata"]["generation"] == 1
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert condition(world, "Progressing") == ("True", "NewReplicaSetAvailable")
    version = deployment["metadata"]["resourceVersion"]
    world.clock.step(3600)
    await world.settle()
    after = world.get("apps/deployments", "web", "default")
    assert after["metadata"]["resourceVersion"] == version  # at rest nothing is written


async def test_a_rolling_update_replaces_pods_and_keeps_history(world: World) -> None:
    world.create("apps/deployments", manifest(3))
    await roll_out(world, 3)
    set_image(world, "nginx:2")
    await roll_out(world, 3)
    assert sets(world) == {"nginx:1": 0, "nginx:2": 3}
    annotations = world.get("apps/deployments", "web", "default")["metadata"]["annotations"]
    assert annotations["deployment.kubernetes.io/revision"] == "2"


async def test_a_rollback_uses_the_old_replica_set_again(world: World) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    set_image(world, "nginx:2")
    await roll_out(world, 2)
    set_image(world, "nginx:1")
    await roll_out(world, 2)
    assert sets(world) == {"nginx:1": 2, "nginx:2": 0}
    revisions = {
        entry["spec"]["template"]["spec"]["containers"][0]["image"]: entry["metadata"][
            "annotations"
        ]["deployment.kubernetes.io/revision"]
        for entry in world.list("apps/replicasets", "default")
    }
    assert revisions == {"nginx:1": "3", "nginx:2": "2"}


async def test_recreate_waits_until_the_old_pods_are_gone(world: World) -> None:
    world.create("apps/deployments", manifest(2, strategy={"type": "Recreate"}))
    await roll_out(world, 2)
    for pod in world.list("pods", "default"):
        finalizers = {"metadata": {"finalizers": ["example.com/x"]}}
        world.patch("pods", pod["metadata"]["name"], finalizers, "default")
    set_image(world, "nginx:2")
    await world.settle()
    assert sets(world) == {"nginx:1": 0}
    for pod in world.list("pods", "default"):
        none = {"metadata": {"finalizers": None}}
        world.patch("pods", pod["metadata"]["name"], none, "default")
    await roll_out(world, 2)
    assert sets(world) == {"nginx:1": 0, "nginx:2": 2}


@pytest.mark.parametrize("replicas", [0, 1, 5])
async def test_scaling_changes_the_one_replica_set(world: World, replicas: int) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    world.patch("apps/deployments", "web", {"spec": {"replicas": replicas}}, "default")
    await roll_out(world, replicas)
    assert sets(world) == {"nginx:1": replicas}
    assert len(world.list("pods", "default")) == replicas


async def test_a_paused_deployment_scales_but_does_not_roll(world: World) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    body = {"spec": {"paused": True, "template": template("nginx:2")}}
    world.patch("apps/deployments", "web", body, "default")
    await world.settle()
    assert sets(world) == {"nginx:1": 2}
    world.patch("apps/deployments", "web", {"spec": {"paused": False}}, "default")
    await roll_out(world, 2)
    assert sets(world) == {"nginx:1": 0, "nginx:2": 2}


async def test_old_replica_sets_beyond_the_limit_go(world: World) -> None:
    world.create("apps/deployments", manifest(1, revisionHistoryLimit=1))
    for image in ("nginx:2", "nginx:3", "nginx:4"):
        await roll_out(world, 1)
        set_image(world, image)
    await roll_out(world, 1)
    await world.settle()
    assert sets(world) == {"nginx:3": 0, "nginx:4": 1}


async def test_a_deleted_pod_is_replaced_and_a_finished_one_too(world: World) -> None:
    world.create("apps/deployments", manifest(1))
    await roll_out(world, 1)
    (pod,) = world.list("pods", "default")
    world.delete("pods", pod["metadata"]["name"], "default")
    await roll_out(world, 1)
    (second,) = world.list("pods", "default")
    assert second["metadata"]["uid"] != pod["metadata"]["uid"]
    info = world.registry.info("root", "", "v1", "pods")
    failed = {**second, "status": {"phase": "Failed"}}
    world.registry.update(info, "root", failed, subresource="status")
    await world.settle()
    assert len(world.list("pods", "default")) == 2


async def test_min_ready_seconds_delay_availability(world: World) -> None:
    world.create("apps/deployments", manifest(1, minReadySeconds=10))
    await world.settle()
    world.make_ready()
    await world.settle()
    assert status(world)["readyReplicas"] == 1
    assert "availableReplicas" not in status(world)
    world.clock.step(11)
    await world.settle()
    assert status(world)["availableReplicas"] == 1


async def test_deleting_a_deployment_takes_everything_along(world: World) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    world.delete("apps/deployments", "web", "default")
    await world.settle()
    assert world.list("apps/replicasets", "default") == []
    assert world.list("pods", "default") == []


async def test_foreground_deletion_ends_when_the_pods_are_gone(world: World) -> None:
    world.create("apps/deployments", manifest(2))
    await roll_out(world, 2)
    world.delete("apps/deployments", "web", "default", propagationPolicy="Foreground")
    await world.settle()
    assert world.find("apps/deployments", "web", "default") is None
    assert world.list("pods", "default") == []


async def test_what_happens_is_told_in_events(world: World) -> None:
    world.create("apps/deployments", manifest(1))
    await roll_out(world, 1)
    messages = [entry["message"] for entry in world.list("events", "default")]
    (owned,) = world.list("apps/replicasets", "default")
    name = owned["metadata"]["name"]
    assert f"Scaled up replica set {name} from 0 to 1" in messages
    assert any(message.startswith("Created pod: ") for message in messages)


async def test_a_revision_keeps_its_change_cause(world: World) -> None:
    world.create("apps/deployments", manifest(1))
    await roll_out(world, 1)
    cause = {"kubernetes.io/change-cause": "first"}
    world.patch("apps/deployments", "web", {"metadata": {"annotations": cause}}, "default")
    await world.settle()
    (only,) = world.list("apps/replicasets", "default")
    assert only["metadata"]["annotations"].items() >= cause.items()
