from __future__ import annotations

from typing import Any

from kcpctl.embedded import discovery
from kcpctl.embedded.kinds import BUILT_IN, CrdVersion, ResourceInfo


def crd(version: str, plural: str = "widgets") -> ResourceInfo:
    return ResourceInfo(
        "example.com",
        version,
        plural,
        "Widget",
        singular="widget",
        short_names=("wd",),
        categories=("toys",),
        subresources=frozenset({"status", "scale"}),
        crd=CrdVersion("widgets.example.com", None),
        storage_version="example.com/v1",
    )


INFOS = (*BUILT_IN, crd("v1beta1"), crd("v1"), crd("v2alpha1"))


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def test_what_is_not_served_is_none() -> None:
    assert discovery.api_group("nosuch.example.com", INFOS) is None
    assert discovery.resource_list("apps/v9", INFOS) is None


def test_the_core_group_is_not_among_the_groups() -> None:
    groups = discovery.api_group_list(INFOS)["groups"]
    assert "" not in [group["name"] for group in groups]
    assert groups[0]["name"] == "apiregistration.k8s.io"
    assert groups[-1]["name"] == "example.com"


def test_versions_are_listed_the_most_stable_first() -> None:
    group = discovery.api_group("example.com", INFOS)
    assert group is not None
    versions = [entry["version"] for entry in group["versions"]]
    assert versions == ["v1", "v1beta1", "v2alpha1"]
    assert group["preferredVersion"] == {"groupVersion": "example.com/v1", "version": "v1"}


def test_the_core_list_goes_without_api_version() -> None:
    core = discovery.resource_list("v1", INFOS)
    apps = discovery.resource_list("apps/v1", INFOS)
    assert core is not None
    assert apps is not None
    assert "apiVersion" not in core
    assert apps["apiVersion"] == "v1"


def test_a_built_in_resource_and_its_subresources() -> None:
    document = discovery.resource_list("apps/v1", INFOS)
    assert document is not None
    deployments = named(document["resources"], "deployments")
    # The hash is the real server's: clients compare them.
    assert deployments["storageVersionHash"] == "8aSe+NMegvE="
    extensions = discovery.resource_list("apiextensions.k8s.io/v1", INFOS)
    assert extensions is not None
    assert extensions["resources"][0]["storageVersionHash"] == "jfWCUB31mvA="
    assert deployments["shortNames"] == ["deploy"]
    assert named(document["resources"], "deployments/scale") == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }


def test_a_resource_that_can_only_be_created_has_no_storage() -> None:
    document = discovery.resource_list("authentication.k8s.io/v1", INFOS)
    assert document is not None
    review = named(document["resources"], "tokenreviews")
    assert review["verbs"] == ["create"]
    assert "storageVersionHash" not in review


def test_custom_resources_have_their_verbs_and_subresources_in_an_order_of_their_own() -> None:
    document = discovery.resource_list("example.com/v1", INFOS)
    assert document is not None
    names = [resource["name"] for resource in document["resources"]]
    assert names == ["widgets", "widgets/status", "widgets/scale"]
    assert document["resources"][0]["verbs"] == [
        "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch",
    ]  # fmt: skip


def test_aggregated_discovery_holds_the_same_resources() -> None:
    document = discovery.aggregated_apis(INFOS)
    assert (document["kind"], document["apiVersion"]) == (
        "APIGroupDiscoveryList",
        "apidiscovery.k8s.io/v2",
    )
    for group in document["items"]:
        for version in group["versions"]:
            group_version = f"{group['metadata']['name']}/{version['version']}"
            legacy = discovery.resource_list(group_version, INFOS)
            assert legacy is not None
            names = [
                name
                for resource in version["resources"]
                for name in (
                    resource["resource"],
                    *(
                        f"{resource['resource']}/{sub['subresource']}"
                        for sub in resource.get("subresources", ())
                    ),
                )
            ]
            assert names == [resource["name"] for resource in legacy["resources"]]


def test_aggregated_core() -> None:
    (group,) = discovery.aggregated_api(INFOS)["items"]
    assert group["metadata"] == {}
    (version,) = group["versions"]
    pods = next(r for r in version["resources"] if r["resource"] == "pods")
    assert pods["scope"] == "Namespaced"
    assert pods["responseKind"] == {"group": "", "version": "", "kind": "Pod"}


def test_custom_resources_name_their_kind_in_full() -> None:
    group = discovery.aggregated_apis(INFOS)["items"][-1]
    assert group["versions"][0]["resources"][0]["responseKind"] == {
        "group": "example.com",
        "version": "v1",
        "kind": "Widget",
    }


def test_the_legacy_versions_name_the_servers_address() -> None:
    document = discovery.api_versions("127.0.0.1:6443")
    assert document["versions"] == ["v1"]
    assert document["serverAddressByClientCIDRs"][0]["serverAddress"] == "127.0.0.1:6443"
