"""What an API server does with objects, seen through the client."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SECRETS, SERVICES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.crds import install_crds, wait_for_crds
from kcpctl.client import Client, PatchType
from kcpctl.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    UnsupportedMediaType,
)


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def deployment(name: str, namespace: str, *, image: str = "nginx") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }


def test_create_fills_in_what_the_server_owns(client: Client, namespace: str) -> None:
    made = client.resource(CONFIG_MAPS).create(config_map("a", namespace, k="v"))
    meta = made["metadata"]
    assert meta["uid"]
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")


def test_a_second_create_is_already_exists(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.create(config_map("a", namespace))
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        maps.create(config_map("a", namespace))


def test_generate_name_gives_a_name(client: Client, namespace: str) -> None:
    body = config_map("", namespace)
    body["metadata"] = {"generateName": "some-", "namespace": namespace}
    made = client.resource(CONFIG_MAPS).create(body)
    assert made["metadata"]["name"].startswith("some-")
    assert len(made["metadata"]["name"]) == len("some-") + 5


def test_an_absent_object_is_not_found(client: Client, namespace: str) -> None:
    with pytest.raises(NotFound, match='configmaps "none" not found'):
        client.resource(CONFIG_MAPS).get("none", namespace=namespace)


def test_creating_in_an_absent_namespace_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        client.resource(CONFIG_MAPS).create(config_map("a", "nowhere"))


def test_a_bad_name_is_invalid(client: Client, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name: Invalid value"):
        client.resource(CONFIG_MAPS).create(config_map("Not_A_Name", namespace))


def test_an_update_with_an_old_version_conflicts(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    old = maps.create(config_map("a", namespace, k="1"))
    maps.update({**old, "data": {"k": "2"}})
    with pytest.raises(Conflict, match="the object has been modified"):
        maps.update({**old, "data": {"k": "3"}})


def test_an_update_that_changes_nothing_keeps_the_version(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    made = maps.create(config_map("a", namespace, k="1"))
    assert maps.update(made)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_merge_patch_guarded_by_version_and_uid(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    made = maps.create(config_map("a", namespace, k="1"))
    guard = {key: made["metadata"][key] for key in ("uid", "resourceVersion")}
    patched = maps.patch("a", {"metadata": guard, "data": {"k": "2"}}, namespace=namespace)
    assert patched["data"] == {"k": "2"}
    with pytest.raises(Conflict):
        maps.patch("a", {"metadata": guard, "data": {"k": "3"}}, namespace=namespace)


def test_null_in_a_merge_patch_removes(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.create(config_map("a", namespace, k="1", gone="x"))
    assert maps.patch("a", {"data": {"gone": None}}, namespace=namespace)["data"] == {"k": "1"}


def test_a_json_patch_whose_test_fails_changes_nothing(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    made = maps.create(config_map("a", namespace, k="1"))
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": "another"},
        {"op": "replace", "path": "/data/k", "value": "2"},
    ]
    with pytest.raises(Invalid):
        maps.patch("a", operations, namespace=namespace, type=PatchType.JSON)
    operations[0]["value"] = made["metadata"]["uid"]
    patched = maps.patch("a", operations, namespace=namespace, type=PatchType.JSON)
    assert patched["data"] == {"k": "2"}


def test_a_strategic_patch_merges_containers_by_name(client: Client, namespace: str) -> None:
    deployments = client.resource(DEPLOYMENTS)
    deployments.create(deployment("web", namespace))
    body = {"spec": {"template": {"spec": {"containers": [{"name": "log", "image": "busybox"}]}}}}
    patched = deployments.patch("web", body, namespace=namespace, type=PatchType.STRATEGIC)
    names = {c["name"] for c in patched["spec"]["template"]["spec"]["containers"]}
    assert names == {"web", "log"}


def test_a_deployment_gets_its_defaults(client: Client, namespace: str) -> None:
    made = client.resource(DEPLOYMENTS).create(deployment("web", namespace))
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["metadata"]["generation"] == 1


def test_generation_moves_with_the_spec_and_not_with_the_status(
    client: Client, namespace: str
) -> None:
    deployments = client.resource(DEPLOYMENTS)
    deployments.create(deployment("web", namespace))
    scaled = deployments.patch("web", {"spec": {"replicas": 3}}, namespace=namespace)
    assert scaled["metadata"]["generation"] == 2
    status = {"status": {"replicas": 3}, "spec": {"replicas": 9}}
    patched = deployments.patch("web", status, namespace=namespace, subresource="status")
    assert patched["metadata"]["generation"] == 2
    assert patched["status"]["replicas"] == 3
    assert patched["spec"]["replicas"] == 3


def test_a_write_to_the_object_does_not_touch_its_status(client: Client, namespace: str) -> None:
    deployments = client.resource(DEPLOYMENTS)
    deployments.create(deployment("web", namespace))
    patched = deployments.patch(
        "web", {"status": {"replicas": 7}, "spec": {"replicas": 2}}, namespace=namespace
    )
    assert "replicas" not in patched.get("status", {})


def test_apply_creates_and_changes_and_removes_what_is_no_longer_said(
    client: Client, namespace: str
) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.apply(config_map("a", namespace, k="1", gone="x"), field_manager="one")
    applied = maps.apply(config_map("a", namespace, k="2"), field_manager="one")
    assert applied["data"] == {"k": "2"}


def test_apply_of_somebody_elses_field_conflicts_until_forced(
    client: Client, namespace: str
) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.apply(config_map("a", namespace, k="1"), field_manager="one")
    with pytest.raises(Conflict, match=r'conflict with "one"[^:]*: \.data\.k'):
        maps.apply(config_map("a", namespace, k="2"), field_manager="two")
    forced = maps.apply(config_map("a", namespace, k="2"), field_manager="two", force=True)
    assert forced["data"] == {"k": "2"}


def test_apply_leaves_other_managers_fields_alone(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.apply(config_map("a", namespace, one="1"), field_manager="one")
    both = maps.apply(config_map("a", namespace, two="2"), field_manager="two")
    assert both["data"] == {"one": "1", "two": "2"}


def test_an_apply_that_changes_nothing_keeps_the_version(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    first = maps.apply(config_map("a", namespace, k="1"), field_manager="one")
    second = maps.apply(config_map("a", namespace, k="1"), field_manager="one")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_finalizer_holds_a_deletion(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    body = config_map("a", namespace)
    body["metadata"]["finalizers"] = ["example.com/hold"]
    maps.create(body)
    maps.delete("a", namespace=namespace)
    held = maps.get("a", namespace=namespace)
    assert held["metadata"]["deletionTimestamp"]
    maps.patch("a", {"metadata": {"finalizers": None}}, namespace=namespace)
    with pytest.raises(NotFound):
        maps.get("a", namespace=namespace)


def test_a_delete_of_another_uid_conflicts(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.create(config_map("a", namespace))
    with pytest.raises(Conflict, match="UID"):
        maps.delete("a", namespace=namespace, uid="00000000-0000-0000-0000-000000000000")
    assert maps.get("a", namespace=namespace)


def test_string_data_of_a_secret_becomes_data(client: Client, namespace: str) -> None:
    made = client.resource(SECRETS).create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": namespace},
            "stringData": {"k": "v"},
        }
    )
    assert made["data"] == {"k": "dg=="}
    assert "stringData" not in made
    assert made["type"] == "Opaque"


def test_a_service_gets_a_cluster_ip(client: Client, namespace: str) -> None:
    made = client.resource(SERVICES).create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "namespace": namespace},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
        }
    )
    assert made["spec"]["clusterIP"].startswith("10.")
    assert made["spec"]["ports"][0]["protocol"] == "TCP"
    assert made["spec"]["type"] == "ClusterIP"


def test_lists_are_paged_and_whole(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    for number in range(7):
        maps.create(config_map(f"m{number}", namespace))
    listed = maps.list(namespace=namespace, limit=3)
    names = [item["metadata"]["name"] for item in listed.items]
    # A server with controllers puts its CA into every namespace.
    assert [name for name in names if name != "kube-root-ca.crt"] == [f"m{n}" for n in range(7)]
    assert int(listed.resource_version) > 0


def test_selectors_choose(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    for name, color in (("a", "red"), ("b", "blue")):
        body = config_map(name, namespace)
        body["metadata"]["labels"] = {"color": color}
        maps.create(body)
    by_label = maps.list(namespace=namespace, label_selector="color in (red)")
    by_field = maps.list(namespace=namespace, field_selector="metadata.name=b")
    assert [item["metadata"]["name"] for item in by_label.items] == ["a"]
    assert [item["metadata"]["name"] for item in by_field.items] == ["b"]


def test_a_bad_selector_is_a_bad_request(client: Client, namespace: str) -> None:
    with pytest.raises(BadRequest):
        client.resource(CONFIG_MAPS).list(namespace=namespace, label_selector="a=(")


def test_a_strategic_patch_of_a_crd_is_not_supported(client: Client) -> None:
    install_crds(client)
    wait_for_crds(client, 20)
    targets = client.resource(SYNCTARGETS)
    targets.create(
        {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": "SyncTarget",
            "metadata": {"name": "strategic"},
            "spec": {"kcpCluster": "root"},
        }
    )
    with pytest.raises(UnsupportedMediaType):
        targets.patch("strategic", {"spec": {}}, type=PatchType.STRATEGIC)


def test_creating_in_a_terminating_namespace_is_forbidden(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    body = config_map("a", namespace)
    body["metadata"]["finalizers"] = ["example.com/hold"]
    maps.create(body)
    client.resource(NAMESPACES).delete(namespace)
    with pytest.raises(Forbidden, match="being terminated"):
        maps.create(config_map("b", namespace))
    maps.patch("a", {"metadata": {"finalizers": None}}, namespace=namespace)
