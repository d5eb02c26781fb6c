from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.registry import Event
from kcpctl.embedded.status import StatusError
from tests.unit.embedded.exports.conftest import World, schema_spec

Json = dict[str, Any]


def test_a_binding_serves_what_the_export_has(world: World) -> None:
    binding = world.bound()
    assert binding["status"]["phase"] == "Bound"
    assert world.condition(binding, "Ready") == ("True", "", "")
    assert binding["status"]["apiExportClusterName"] == world.provider
    assert world.widget("a")["spec"] == {"size": 1}
    with pytest.raises(StatusError, match="404 page not found"):
        world.widgets(world.provider)


def test_a_binding_goes_through_binding(world: World) -> None:
    phases: list[str] = []

    def note(event: Event) -> None:
        if event.info.plural == "apibindings":
            phases.append((event.object.get("status") or {}).get("phase", ""))

    world.registry.subscribe(note)
    world.bound()
    assert phases == ["", "Binding", "Bound"]


def test_a_binding_has_the_finalizer_and_the_path_of_its_workspace(world: World) -> None:
    meta = world.bound()["metadata"]
    assert meta["finalizers"] == ["apis.kcp.io/apibinding-finalizer"]
    assert meta["annotations"] == {"kcp.io/cluster": world.tenant, "kcp.io/path": "root:tenant"}


def test_a_missing_export_is_told_and_heals(world: World) -> None:
    world.schema()
    binding = world.bind()
    expected = ("False", "APIExportNotFound", "APIExport root:provider|widgets not found")
    assert world.condition(binding, "APIExportValid") == expected
    assert world.condition(binding, "Ready")[0] == "False"
    world.export()
    binding = world.get(world.tenant, "apibindings", "widgets")
    assert world.condition(binding, "Ready")[0] == "True"


def test_a_missing_schema_is_told_and_heals(world: World) -> None:
    world.export()
    status, reason, message = world.condition(world.bind(), "APIExportValid")
    assert (status, reason) == ("False", "InternalError")
    assert message.endswith('APIResourceSchema "v1.widgets.example.com" not found')
    world.schema()
    assert world.get(world.tenant, "apibindings", "widgets")["status"]["phase"] == "Bound"


def test_a_reference_may_name_the_logical_cluster(world: World) -> None:
    world.schema()
    world.export()
    assert world.bind(path=world.provider)["status"]["phase"] == "Bound"


def test_an_export_that_goes_leaves_the_resources(world: World) -> None:
    world.bound()
    world.delete(world.provider, "apiexports", "widgets")
    world.delete(world.provider, "apiresourceschemas", "v1.widgets.example.com")
    binding = world.get(world.tenant, "apibindings", "widgets")
    assert world.condition(binding, "APIExportValid")[1] == "APIExportNotFound"
    assert world.condition(binding, "Ready")[0] == "True"
    world.widget("a")


def test_a_new_schema_of_the_export_is_taken_over(world: World) -> None:
    world.bound()
    world.schema("v2.widgets.example.com", size={"type": "integer"}, color={"type": "string"})
    resource = {"name": "widgets", "group": "example.com", "schema": "v2.widgets.example.com"}
    world.patch(world.provider, "apiexports", "widgets", {"spec": {"resources": [resource]}})
    binding = world.get(world.tenant, "apibindings", "widgets")
    assert [one["schema"]["name"] for one in binding["status"]["boundResources"]] == [
        "v2.widgets.example.com"
    ]
    body = {"metadata": {"name": "a"}, "spec": {"color": "red"}}
    made = world.registry.create(world.widgets(), world.tenant, "default", body)
    assert made["spec"] == {"color": "red"}


def test_the_same_resource_of_two_exports_is_kept_apart(world: World) -> None:
    world.bound()
    other = world.workspace("other")
    world.export(name="more")
    world.bind(cluster=other, export="more")
    world.widget("a")
    world.widget("b", other)
    found = {}
    for cluster in (world.tenant, other):
        identity = world.widgets(cluster).identity
        info = world.registry.info("*", "example.com", "v1", f"widgets:{identity}")
        found[cluster] = [one["metadata"]["name"] for one in world.registry.list(info, "*")]
    assert found == {world.tenant: ["a"], other: ["b"]}


def test_all_clusters_at_once_need_the_identity(world: World) -> None:
    world.bound()
    with pytest.raises(StatusError) as failure:
        world.registry.info("*", "example.com", "v1", "widgets")
    assert failure.value.code == 404


def crd(world: World, name: str, kind: str) -> None:
    info = world.registry.info(
        world.tenant, "apiextensions.k8s.io", "v1", "customresourcedefinitions"
    )
    spec = schema_spec(f"v1.{name}", {})
    spec["names"] |= {"kind": kind, "listKind": f"{kind}List"}
    for version in spec["versions"]:
        version["schema"] = {"openAPIV3Schema": version["schema"]}
    body = {"metadata": {"name": name}, "spec": spec}
    world.registry.create(info, world.tenant, "", body)


def test_a_crd_of_the_same_resource_comes_first(world: World) -> None:
    crd(world, "widgets.example.com", "Widget")
    binding = world.bound()
    message = (
        "Unable to bind APIs because they are bound by other APIBindings or CRDs: "
        "map[widgets.example.com:{ true}]"
    )
    conflict = ("False", "NamingConflicts", message)
    assert world.condition(binding, "BindingUpToDate") == conflict
    assert world.condition(binding, "Ready") == conflict
    assert not world.widgets().identity
    info = world.registry.info(
        world.tenant, "apiextensions.k8s.io", "v1", "customresourcedefinitions"
    )
    world.registry.delete(info, world.tenant, "", "widgets.example.com")
    assert world.get(world.tenant, "apibindings", "widgets")["status"]["phase"] == "Bound"
    assert world.widgets().identity


def test_a_kind_that_a_crd_has_is_a_naming_conflict(world: World) -> None:
    crd(world, "things.example.com", "Widget")
    message = (
        'Unable to bind APIs: naming conflict with CustomResourceDefinition "things.example.com": '
        "spec.names.kind=Widget is forbidden"
    )
    conflict = ("False", "NamingConflicts", message)
    assert world.condition(world.bound(), "BindingUpToDate") == conflict


def test_a_crd_that_comes_later_waits_for_the_names(world: World) -> None:
    world.bound()
    crd(world, "widgets.example.com", "Widget")
    info = world.registry.info(
        world.tenant, "apiextensions.k8s.io", "v1", "customresourcedefinitions"
    )
    found = world.registry.get(info, world.tenant, "", "widgets.example.com")
    assert world.condition(found, "NamesAccepted") == (
        "False",
        "ListKindConflict",
        '"WidgetList" is already in use',
    )
    world.patch(world.tenant, "apibindings", "widgets", {"metadata": {"labels": {"a": "b"}}})
    binding = world.get(world.tenant, "apibindings", "widgets")
    assert world.condition(binding, "BindingUpToDate")[0] == "True"
    world.delete(world.tenant, "apibindings", "widgets")
    found = world.registry.get(info, world.tenant, "", "widgets.example.com")
    assert world.condition(found, "Established")[0] == "True"
    assert not world.widgets().identity


def test_the_second_binding_of_a_resource_waits_for_the_first_to_go(world: World) -> None:
    world.bound()
    world.export(name="more")
    second = world.bind("second", export="more")
    assert world.condition(second, "BindingUpToDate")[1:] == (
        "NamingConflicts",
        (
            "Unable to bind APIs because they are bound by other APIBindings or CRDs: "
            "map[widgets.example.com:{widgets false}]"
        ),
    )
    world.delete(world.tenant, "apibindings", "widgets")
    assert world.get(world.tenant, "apibindings", "second")["status"]["phase"] == "Bound"


def test_deleting_a_binding_deletes_its_objects(world: World) -> None:
    world.bound()
    world.widget("a")
    info = world.widgets()
    world.delete(world.tenant, "apibindings", "widgets")
    assert world.find(world.tenant, "apibindings", "widgets") is None
    assert not world.registry.store.count(info.storage_key, world.tenant)
    with pytest.raises(StatusError):
        world.widgets()


async def test_watches_end_with_the_binding(world: World) -> None:
    world.bound()
    cursor = world.registry.store.follow(world.widgets().storage_key, world.tenant)
    world.delete(world.tenant, "apibindings", "widgets")
    assert cursor.ended
    cursor.close()


def test_a_binding_waits_for_the_finalizers_of_its_objects(world: World) -> None:
    world.bound()
    world.widget("a", finalizers=["example.com/hold"])
    world.delete(world.tenant, "apibindings", "widgets")
    binding = world.get(world.tenant, "apibindings", "widgets")
    assert world.condition(binding, "Ready")[0] == "True"
    message = (
        "Some content in the workspace has finalizers remaining: example.com/hold in 1 resource "
        "instances"
    )
    expected = ("False", "SomeFinalizersRemain", message)
    assert world.condition(binding, "BindingResourceDeleteSuccess") == expected
    with pytest.raises(StatusError, match="is terminating"):
        world.widget("b")
    free = {"metadata": {"finalizers": None}}
    world.registry.patch(world.widgets(), world.tenant, "default", "a", free)
    assert world.find(world.tenant, "apibindings", "widgets") is None


def test_a_workspace_goes_with_its_bindings(world: World) -> None:
    world.bound()
    world.widget("a", finalizers=["example.com/hold"])
    info = world.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    world.registry.delete(info, "root", "", "tenant")
    free = {"metadata": {"finalizers": None}}
    world.registry.patch(world.widgets(), world.tenant, "default", "a", free)
    assert world.registry.find(info, "root", "", "tenant") is None
    endpoint_slice = world.get(world.provider, "apiexportendpointslices", "widgets")
    assert "endpoints" not in endpoint_slice["status"]


def test_a_provider_goes_although_others_have_bound_its_export(world: World) -> None:
    world.bound()
    info = world.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    world.registry.delete(info, "root", "", "provider")
    assert world.registry.find(info, "root", "", "provider") is None
    world.widget("a")
