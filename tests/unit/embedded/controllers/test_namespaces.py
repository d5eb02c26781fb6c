from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.status import StatusError

World = Any


def conditions(namespace: Any) -> dict[str, Any]:
    return {entry["type"]: entry for entry in namespace["status"]["conditions"]}


async def test_a_namespace_that_is_held_up_says_by_what(world: World) -> None:
    world.create("namespaces", {"metadata": {"name": "t"}})
    world.config_map("a", namespace="t", finalizers=["example.com/x"])
    world.config_map("b", namespace="t")
    world.delete("namespaces", "t")
    await world.settle()
    found = conditions(world.get("namespaces", "t"))
    assert found["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert found["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/x in 1 resource "
        "instances"
    )
    assert found["NamespaceDeletionContentFailure"]["status"] == "False"
    assert world.get("namespaces", "t")["status"]["phase"] == "Terminating"
    assert world.find("configmaps", "b", "t") is None
    world.patch("configmaps", "a", {"metadata": {"finalizers": None}}, "t")
    await world.settle()
    assert world.find("namespaces", "t") is None


async def test_conditions_are_written_once(world: World) -> None:
    world.create("namespaces", {"metadata": {"name": "t"}})
    world.config_map("a", namespace="t", finalizers=["example.com/x"])
    world.delete("namespaces", "t")
    await world.settle()
    before = world.get("namespaces", "t")["metadata"]["resourceVersion"]
    world.clock.step(60)
    await world.settle()
    assert world.get("namespaces", "t")["metadata"]["resourceVersion"] == before


async def test_nothing_new_is_put_into_a_namespace_that_ends(world: World) -> None:
    world.create("namespaces", {"metadata": {"name": "t"}})
    await world.settle()
    world.config_map("a", namespace="t", finalizers=["example.com/x"])
    world.delete("namespaces", "t")
    await world.settle()
    assert world.find("serviceaccounts", "default", "t") is None
    with pytest.raises(StatusError, match="being terminated"):
        world.config_map("late", namespace="t")


async def test_a_finalizer_of_somebody_else_keeps_the_namespace(world: World) -> None:
    spec = {"finalizers": ["example.com/mine"]}
    world.create("namespaces", {"metadata": {"name": "t"}, "spec": spec})
    world.delete("namespaces", "t")
    await world.settle()
    left = world.find("namespaces", "t")
    assert left is None or left["spec"]["finalizers"] == ["example.com/mine"]


async def test_every_namespace_has_its_default_objects(world: World) -> None:
    world.create("namespaces", {"metadata": {"name": "t"}})
    await world.settle()
    for namespace in ("default", "kube-system", "t"):
        assert world.find("serviceaccounts", "default", namespace)
        assert world.get("configmaps", "kube-root-ca.crt", namespace)["data"] == {
            "ca.crt": "the CA"
        }


@pytest.mark.parametrize(
    ("kind", "name"), [("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")]
)
async def test_default_objects_come_back(world: World, kind: str, name: str) -> None:
    before = world.get(kind, name, "default")["metadata"]["uid"]
    world.delete(kind, name, "default")
    await world.settle()
    assert world.get(kind, name, "default")["metadata"]["uid"] != before


async def test_an_empty_namespace_goes_at_once(world: World) -> None:
    world.create("namespaces", {"metadata": {"name": "t"}})
    await world.settle()
    world.delete("namespaces", "t")
    await world.settle()
    assert world.find("namespaces", "t") is None


async def test_a_deleted_workspace_leaves_nothing_to_do(workspaces: World) -> None:
    workspaces.create("tenancy.kcp.io/workspaces", {"metadata": {"name": "w"}})
    cluster = workspaces.registry.resolve_cluster("root:w")
    await workspaces.settle()
    assert workspaces.find("serviceaccounts", "default", "default", cluster=cluster)
    workspaces.registry.delete(
        workspaces.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces"),
        "root",
        "",
        "w",
    )
    await workspaces.settle()
    assert cluster not in {record.name for record in workspaces.registry.clusters()}
    assert workspaces.registry.store.count("serviceaccounts", cluster) == 0
