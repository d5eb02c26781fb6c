from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kcpctl.embedded.crds import CRD_KEY, condition_status
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError

Json = dict[str, Any]
GROUP = "example.com"


def crd(plural: str = "widgets", kind: str = "Widget", **spec: Any) -> Json:
    properties = {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "color": {"type": "string", "default": "red"},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
            **spec,
        },
    }


@pytest.fixture
def crds(plain: Registry) -> ResourceInfo:
    return plain.info("root", "apiextensions.k8s.io", "v1", "customresourcedefinitions")


def create_crd(registry: Registry, body: Json, cluster: str = "root") -> Json:
    info = registry.info(cluster, "apiextensions.k8s.io", "v1", "customresourcedefinitions")
    return registry.create(info, cluster, "", body)


def widgets(registry: Registry, cluster: str = "root") -> ResourceInfo:
    return registry.info(cluster, GROUP, "v1", "widgets")


def widget(name: str = "a", **fields: Any) -> Json:
    return {"metadata": {"name": name}, **fields}


def test_a_crd_is_answered_bare_and_established_at_once(
    plain: Registry, crds: ResourceInfo
) -> None:
    made = create_crd(plain, crd())
    assert made["status"] == {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": ["v1"],
    }
    now = plain.get(crds, "root", "", f"widgets.{GROUP}")
    assert condition_status(now, "Established") == "True"
    assert now["status"]["acceptedNames"]["listKind"] == "WidgetList"


def test_its_resources_are_served_with_defaults_and_pruning(plain: Registry) -> None:
    create_crd(plain, crd())
    made = plain.create(widgets(plain), "root", "default", widget(spec={"size": 1, "gone": 2}))
    assert made["spec"] == {"size": 1, "color": "red"}
    assert made["metadata"]["generation"] == 1


def test_invalid_objects_are_refused(plain: Registry) -> None:
    create_crd(plain, crd())
    with pytest.raises(StatusError) as caught:
        plain.create(widgets(plain), "root", "default", widget(spec={"size": "big"}))
    assert caught.value.code == 422
    assert caught.value.message.startswith(f'Widget.{GROUP} "a" is invalid: spec.size')


def test_status_is_written_through_its_endpoint_only(plain: Registry) -> None:
    create_crd(plain, crd())
    info = widgets(plain)
    made = plain.create(info, "root", "default", widget(spec={"size": 1}, status={"x": 1}))
    assert "status" not in made
    both = {"metadata": {"labels": {"l": "1"}}, "spec": {"size": 9}, "status": {"x": 2}}
    changed = plain.patch(info, "root", "default", "a", both, subresource="status")
    assert (changed["spec"]["size"], changed["status"]) == (1, {"x": 2})
    assert "labels" not in changed["metadata"]
    assert changed["metadata"]["generation"] == 1


def test_a_new_schema_shows_on_objects_that_are_stored(plain: Registry, crds: ResourceInfo) -> None:
    create_crd(plain, crd())
    info = widgets(plain)
    made = plain.create(info, "root", "default", widget(spec={"size": 1}))
    body = crd()
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"] = {"added": {"type": "string", "default": "later"}}
    plain.patch(crds, "root", "", f"widgets.{GROUP}", {"spec": body["spec"]})
    seen = plain.get(widgets(plain), "root", "default", "a")
    assert seen["spec"] == {"added": "later"}
    assert seen["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_names_that_are_taken_wait_until_they_are_free(plain: Registry, crds: ResourceInfo) -> None:
    create_crd(plain, crd())
    create_crd(plain, crd("crates"))
    loser = plain.get(crds, "root", "", f"crates.{GROUP}")
    condition = loser["status"]["conditions"][0]
    assert (condition["reason"], condition["message"]) == (
        "ListKindConflict",
        '"WidgetList" is already in use',
    )
    assert loser["status"]["acceptedNames"]["kind"] == ""
    with pytest.raises(StatusError):
        plain.info("root", GROUP, "v1", "crates")
    plain.delete(crds, "root", "", f"widgets.{GROUP}")
    assert plain.info("root", GROUP, "v1", "crates").kind == "Widget"


async def test_deleting_a_crd_deletes_its_objects_and_ends_their_watches(
    plain: Registry, crds: ResourceInfo
) -> None:
    create_crd(plain, crd())
    info = widgets(plain)
    plain.create(info, "root", "default", widget())
    cursor = plain.store.follow(info.storage_key, "root")
    held = plain.delete(crds, "root", "", f"widgets.{GROUP}")
    assert held["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert condition_status(held, "Terminating") == "True"
    assert plain.find(crds, "root", "", f"widgets.{GROUP}") is None
    await asyncio.wait_for(cursor.wait(), 30)
    assert [change.type for change in cursor.pending()] == ["DELETED"]
    assert cursor.ended
    cursor.close()
    with pytest.raises(StatusError) as caught:
        widgets(plain)
    assert caught.value.plain_text


def test_objects_with_finalizers_hold_the_crd(plain: Registry, crds: ResourceInfo) -> None:
    create_crd(plain, crd())
    info = widgets(plain)
    plain.create(info, "root", "default", {"metadata": {"name": "a", "finalizers": ["x/y"]}})
    plain.delete(crds, "root", "", f"widgets.{GROUP}")
    with pytest.raises(StatusError, match="create not allowed while custom resource definition"):
        plain.create(info, "root", "default", widget("b"))
    plain.patch(info, "root", "default", "a", {"metadata": {"finalizers": None}})
    assert plain.find(crds, "root", "", f"widgets.{GROUP}") is None


def test_versions_of_a_crd_share_their_objects(plain: Registry) -> None:
    body = crd()
    second = {**body["spec"]["versions"][0], "name": "v2", "storage": False}
    body["spec"]["versions"].append(second)
    create_crd(plain, body)
    plain.create(widgets(plain), "root", "default", widget())
    other = plain.info("root", GROUP, "v2", "widgets")
    assert plain.get(other, "root", "default", "a")["apiVersion"] == f"{GROUP}/v2"


def test_equal_crds_of_many_clusters_share_their_resources(workspaces: Registry) -> None:
    info = workspaces.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    made = workspaces.create(info, "root", "", {"metadata": {"name": "one"}})
    del made
    child = workspaces.resolve_cluster("root:one")
    for cluster in ("root", child):
        create_crd(workspaces, crd(), cluster)
    assert widgets(workspaces) is widgets(workspaces, child)
    assert widgets(workspaces) is widgets(workspaces, "*")
    assert workspaces.store.count(CRD_KEY, child) == 1
