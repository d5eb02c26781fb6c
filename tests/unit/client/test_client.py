from __future__ import annotations

import sys

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, LOGICAL_CLUSTERS
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.client.config import split_server_url
from kcpctl.errors import (
    CrossWorkspaceAccess,
    Forbidden,
    NotFound,
    TransportError,
    UsageError,
)
from kcpctl.logicalcluster import ClusterName
from kcpctl.testing.transport import FakeTransport

CONFIG = ClientConfig(server="https://host:6443")


def many(*answers: object) -> tuple[AsyncClient, FakeTransport]:
    transport = FakeTransport(*answers)
    client = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    return client, transport


def in_cluster(url_cluster: str) -> ClientConfig:
    return ClientConfig(server="https://host:6443", cluster=ClusterName(url_cluster))


# Names and URLs.


def test_a_plain_client_is_root_and_has_no_prefix() -> None:
    client = AsyncClient.plain(CONFIG)
    assert (client.cluster_name, client.url) == ("root", "https://host:6443")
    assert not client.is_multi_cluster
    assert not client.is_wildcard


def test_a_plain_client_may_have_another_name_in_keys() -> None:
    assert AsyncClient.plain(CONFIG, cluster_name="east").cluster_name == "east"


def test_a_plain_client_of_a_logical_cluster_carries_it_in_every_url() -> None:
    client = AsyncClient.plain(in_cluster("root:demo"))
    assert client.cluster_name == "root:demo"
    assert client.url == "https://host:6443/clusters/root:demo"


def test_a_plain_client_of_all_logical_clusters_is_refused() -> None:
    with pytest.raises(UsageError, match="end it with /clusters/<name>"):
        AsyncClient.plain(in_cluster("*"))


def test_a_workspaces_client_begins_bound_to_all() -> None:
    client = AsyncClient.workspaces(in_cluster("root"))
    assert (client.cluster_name, client.is_wildcard) == ("*", True)
    assert client.server == "https://host:6443"


def test_binding_and_back() -> None:
    client, _ = many()
    bound = client.cluster("root:demo")
    assert (bound.cluster_name, bound.is_wildcard, bound.is_multi_cluster) == (
        "root:demo",
        False,
        True,
    )
    assert bound.cluster("root:demo") is bound
    assert bound.wildcard().is_wildcard
    assert bound.cluster("*").is_wildcard


@pytest.mark.parametrize("name", ["", "Root", "a/b", "../x", "a::b"])
def test_what_is_no_cluster_is_refused(name: str) -> None:
    client, _ = many()
    with pytest.raises(UsageError, match="neither a workspace path nor"):
        client.cluster(name)


def test_a_client_of_a_cluster_is_made_when_asked_for_and_kept_by_nobody() -> None:
    """KCP-29: so there is nothing to evict, however many clusters come and go."""
    client, transport = many()
    shared = sys.getrefcount(transport)
    made = [client.cluster(f"c{number}") for number in range(100)]
    assert sys.getrefcount(transport) == shared + len(made)
    del made
    assert sys.getrefcount(transport) == shared
    one, two = client.cluster("one"), client.cluster("two")
    assert one._transport is two._transport is transport
    assert one.cluster("two").url == two.url


def test_a_shard_is_part_of_the_servers_url() -> None:
    """KCP-28: of the cache server, any shard and cluster or one of each."""
    server, cluster = split_server_url("https://cache/shards/*/clusters/*", source="kubeconfig")
    client = AsyncClient.workspaces(ClientConfig(server=server, cluster=cluster))
    assert client.url == "https://cache/shards/*/clusters/*"
    assert client.cluster("one").url == "https://cache/shards/*/clusters/one"
    server, cluster = split_server_url("https://cache/shards/amber/clusters/one", source="x")
    client = AsyncClient.plain(ClientConfig(server=server, cluster=cluster))
    assert (client.cluster_name, client.url) == ("one", "https://cache/shards/amber/clusters/one")


# Isolation.


def test_a_plain_client_is_itself_and_nothing_else() -> None:
    client = AsyncClient.plain(CONFIG)
    assert client.cluster("root") is client
    with pytest.raises(CrossWorkspaceAccess, match="reaches 'root' only"):
        client.cluster("other")
    with pytest.raises(CrossWorkspaceAccess, match="not all logical clusters"):
        client.wildcard()


async def test_the_cluster_is_put_in_front_of_the_path() -> None:
    """KCP-27."""
    client, transport = many({})
    await client.cluster("root:demo").request("GET", "/readyz")
    assert transport.call.path == "/clusters/root:demo/readyz"


async def test_a_prefix_that_is_there_is_not_doubled() -> None:
    """KCP-27."""
    client, transport = many({})
    await client.cluster("root").request("GET", "/clusters/root/readyz")
    assert transport.call.path == "/clusters/root/readyz"


@pytest.mark.parametrize("path", ["/clusters/other/readyz", "/clusters/rooted/readyz"])
async def test_a_path_of_another_cluster_is_refused(path: str) -> None:
    client, transport = many({})
    with pytest.raises(CrossWorkspaceAccess, match="is not below"):
        await client.cluster("root").request("GET", path)
    assert transport.calls == []


async def test_a_plain_client_sends_nothing_below_clusters() -> None:
    with pytest.raises(CrossWorkspaceAccess):
        await AsyncClient.plain(CONFIG).request("GET", "/clusters/root/readyz")


async def test_a_path_must_begin_with_a_slash() -> None:
    with pytest.raises(UsageError, match="must begin with /"):
        await AsyncClient.plain(CONFIG).request("GET", "readyz")


@pytest.mark.parametrize(
    "path", ["/../clusters/other/x", "/api/../../other", "/api/%2E%2e/x", "/.."]
)
async def test_a_path_with_dots_cannot_climb_out(path: str) -> None:
    client, transport = many({})
    with pytest.raises(UsageError, match="cannot be a path"):
        await client.cluster("root").request("GET", path)
    assert transport.calls == []


# Discovery.


async def test_the_servers_version() -> None:
    client, transport = many({"major": "1", "gitVersion": "v1.36.0"})
    assert await client.cluster("root").server_version() == "v1.36.0"
    assert transport.call.path == "/clusters/root/version"


async def test_the_version_is_not_asked_of_all_logical_clusters() -> None:
    client, transport = many({"gitVersion": "v1.36.0"})
    await client.server_version()
    assert transport.call.path == "/version"


async def test_an_answer_that_is_no_version() -> None:
    client, _ = many(b"<html>")
    with pytest.raises(TransportError, match="not a version: <html>"):
        await client.server_version()


async def test_a_resource_is_served_when_its_version_lists_it() -> None:
    client, transport = many(
        {"resources": [{"name": "deployments"}, {"name": "deployments/status"}]}
    )
    assert await client.cluster("root").has_resource(DEPLOYMENTS)
    assert transport.call.path == "/clusters/root/apis/apps/v1"


async def test_a_resource_is_not_served_when_it_is_not_listed() -> None:
    client, transport = many({"resources": None})
    assert not await client.cluster("root").has_resource(CONFIG_MAPS)
    assert transport.call.path == "/clusters/root/api/v1"


async def test_a_group_that_does_not_exist_serves_nothing() -> None:
    client, _ = many(NotFound("no"))
    assert not await client.cluster("root").has_resource(LOGICAL_CLUSTERS)


async def test_the_versions_of_a_group_are_told_by_plural_in_the_servers_order() -> None:
    names = {"resources": [{"name": "deployments"}, {"name": "deployments/status"}]}
    group = {"versions": [{"version": "v1"}, {"version": "v1beta1"}, {"version": "gone"}]}
    client, transport = many(group, names, names, NotFound("no"))
    found = await client.cluster("root").served_versions("apps")
    assert found["deployments"] == ["v1", "v1beta1"]
    assert transport.calls[-1].path == "/clusters/root/apis/apps/gone"


async def test_the_core_group_has_a_place_and_a_shape_of_its_own() -> None:
    client, transport = many({"versions": ["v1"]}, {"resources": [{"name": "pods"}]})
    assert await client.cluster("root").served_versions("") == {"pods": ["v1"]}
    assert transport.calls[-1].path == "/clusters/root/api/v1"


async def test_a_group_that_is_not_served_has_no_versions() -> None:
    client, _ = many(NotFound("no"))
    assert await client.cluster("root").served_versions("apps") == {}


async def test_an_answer_that_is_no_group() -> None:
    client, _ = many(b"<html>")
    with pytest.raises(TransportError, match="not an API group"):
        await client.cluster("root").served_versions("apps")


async def test_other_failures_of_discovery_are_errors() -> None:
    client, _ = many(b"<html>")
    with pytest.raises(TransportError, match="not a resource list"):
        await client.cluster("root").has_resource(DEPLOYMENTS)


async def test_closing_any_closes_the_connections() -> None:
    client, transport = many({})
    await client.cluster("root").close()
    assert transport.closed


async def test_kcp_04_a_logical_cluster_tells_its_name() -> None:
    transport = FakeTransport(
        {"metadata": {"name": "cluster", "annotations": {"kcp.io/cluster": "2f1m"}}}
    )
    client = AsyncClient(transport, cluster_name="root:demo", prefix="/clusters/root:demo")
    assert await client.logical_cluster_name() == "2f1m"
    path = "/clusters/root:demo/apis/core.kcp.io/v1alpha1/logicalclusters/cluster"
    assert transport.call.path == path


@pytest.mark.parametrize("error", [NotFound("no"), Forbidden("no")])
async def test_a_server_without_logical_clusters_has_no_name_for_one(error: Exception) -> None:
    client = AsyncClient(FakeTransport(error), cluster_name="root")
    assert await client.logical_cluster_name() is None
