from __future__ import annotations

from typing import Any

World = Any


def owners(obj: Any) -> list[str]:
    return [entry["name"] for entry in obj["metadata"].get("ownerReferences") or ()]


def owned(owner: Any, *, block: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
    ]


async def test_an_object_whose_owner_never_was_is_collected(world: World) -> None:
    ghost = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ghost", "uid": "0"},
    }
    world.config_map("lost", ghost)
    await world.settle()
    assert world.find("configmaps", "lost", "default") is None


async def test_an_owner_of_the_same_name_with_another_uid_is_no_owner(world: World) -> None:
    owner = world.config_map("owner")
    imposter = {**owner, "metadata": {**owner["metadata"], "uid": "another"}}
    world.config_map("child", imposter)
    await world.settle()
    assert world.find("configmaps", "child", "default") is None


async def test_an_owner_of_an_unknown_kind_is_left_alone(world: World) -> None:
    unknown = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "x", "uid": "1"},
    }
    world.config_map("child", unknown)
    await world.settle()
    assert world.find("configmaps", "child", "default")


async def test_an_owner_in_another_namespace_is_no_owner(world: World) -> None:
    owner = world.config_map("owner", namespace="kube-system")
    world.config_map("child", owner)
    await world.settle()
    assert world.find("configmaps", "child", "default") is None


async def test_children_and_their_children_go_with_the_owner(world: World) -> None:
    owner = world.config_map("owner")
    child = world.config_map("child", owner)
    world.config_map("grandchild", child)
    await world.settle()
    world.delete("configmaps", "owner", "default")
    await world.settle()
    assert world.find("configmaps", "child", "default") is None
    assert world.find("configmaps", "grandchild", "default") is None


async def test_a_child_of_two_stays_with_the_other(world: World) -> None:
    first, second = world.config_map("first"), world.config_map("second")
    world.config_map("child", first, second)
    await world.settle()
    world.delete("configmaps", "first", "default")
    await world.settle()
    assert owners(world.get("configmaps", "child", "default")) == ["second"]
    world.delete("configmaps", "second", "default")
    await world.settle()
    assert world.find("configmaps", "child", "default") is None


async def test_orphaned_children_lose_the_reference(world: World) -> None:
    owner = world.config_map("owner")
    world.config_map("child", owner)
    await world.settle()
    world.delete("configmaps", "owner", "default", propagationPolicy="Orphan")
    await world.settle()
    assert world.find("configmaps", "owner", "default") is None
    assert owners(world.get("configmaps", "child", "default")) == []


async def test_foreground_waits_for_children_that_block(world: World) -> None:
    owner = world.config_map("owner")
    world.config_map("slow", ownerReferences=owned(owner, block=True), finalizers=["example.com/x"])
    world.config_map("free", ownerReferences=owned(owner), finalizers=["example.com/x"])
    await world.settle()
    world.delete("configmaps", "owner", "default", propagationPolicy="Foreground")
    await world.settle()
    assert world.get("configmaps", "owner", "default")["metadata"]["deletionTimestamp"]
    for name in ("slow", "free"):
        assert world.get("configmaps", name, "default")["metadata"]["deletionTimestamp"]
    world.patch("configmaps", "slow", {"metadata": {"finalizers": None}}, "default")
    await world.settle()
    assert world.find("configmaps", "owner", "default") is None


async def test_foreground_without_children_is_over_at_once(world: World) -> None:
    world.config_map("owner")
    world.delete("configmaps", "owner", "default", propagationPolicy="Foreground")
    await world.settle()
    assert world.find("configmaps", "owner", "default") is None


async def test_children_of_custom_resources_go_with_their_definition(world: World) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    world.create(
        "apiextensions.k8s.io/customresourcedefinitions",
        {
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        },
    )
    await world.settle()
    thing = world.create("example.com/things", {"metadata": {"name": "a", "namespace": "default"}})
    world.config_map("child", {**thing, "apiVersion": "example.com/v1", "kind": "Thing"})
    await world.settle()
    assert world.find("configmaps", "child", "default")
    world.delete("apiextensions.k8s.io/customresourcedefinitions", "things.example.com")
    await world.settle()
    assert world.find("configmaps", "child", "default") is None


async def test_collectors_forget_what_is_gone(world: World) -> None:
    collector = world._controllers[1]
    for number in range(5):
        owner = world.config_map(f"owner-{number}")
        world.config_map(f"child-{number}", owner)
    await world.settle()
    for number in range(5):
        world.delete("configmaps", f"owner-{number}", "default")
    await world.settle()
    assert collector._dependents == {}
    assert collector._gone == set()


async def test_a_deleted_claim_does_not_wait_for_a_use_that_cannot_be(world: World) -> None:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    claim = {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    made = world.create("persistentvolumeclaims", claim)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    world.delete("persistentvolumeclaims", "p", "default")
    await world.settle()
    assert world.find("persistentvolumeclaims", "p", "default") is None
