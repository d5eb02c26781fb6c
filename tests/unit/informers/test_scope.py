"""Which writes an informer will show: CS-09, CS-11."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, SECRETS, Resource
from kcpctl.client import AsyncClient, Write
from kcpctl.informers import AggregateInformer, InformerFactory, SharedInformer
from kcpctl.runtime import IOLoop
from kcpctl.testing import eventually
from kcpctl.testing.listerwatcher import LiveSource, page
from kcpctl.testing.transport import FakeTransport

EVERY = AsyncClient(FakeTransport({}), cluster_name="*", prefix="/clusters/*", multi_cluster=True)
ONE = EVERY.cluster("one")


def write(client: AsyncClient = ONE, resource: Resource = CONFIG_MAPS, **changes: Any) -> Write:
    fields: dict[str, Any] = {"namespace": "default", "labels": {"app": "web"}, **changes}
    return Write(
        server=fields.pop("server", client.server),
        url=client.url,
        resource=resource,
        name="a",
        uid="u",
        resource_version="7",
        **fields,
    )


def informer(client: AsyncClient = ONE, **scope: Any) -> SharedInformer[dict[str, Any]]:
    return SharedInformer(client, CONFIG_MAPS, dict, **scope)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"client": EVERY},
        {"namespace": "default"},
        {"label_selector": "app=web"},
        {"label_selector": "app in (web,db),!other"},
        {"metadata_only": True},
    ],
)
def test_an_object_in_scope_will_be_shown(scope: dict[str, Any]) -> None:
    made = informer(**scope)
    assert made.cache_of(write()) is made


@pytest.mark.parametrize(
    "scope",
    [
        {"client": EVERY.cluster("two")},
        {"client": AsyncClient(FakeTransport({}), cluster_name="one")},
        {"namespace": "other"},
        {"label_selector": "app=db"},
        {"label_selector": "not a selector"},
        {"field_selector": "metadata.name=a"},
    ],
)
def test_an_object_out_of_scope_is_not_waited_for(scope: dict[str, Any]) -> None:
    """CS-09: nor one of which metadata cannot tell."""
    assert informer(**scope).cache_of(write()) is None


def test_another_resource_or_server_means_nothing() -> None:
    """CS-11."""
    assert informer().cache_of(write(resource=SECRETS)) is None
    assert informer(EVERY).cache_of(write(server="https://other-shard")) is None


def test_another_version_of_the_group_shows_the_same_objects() -> None:
    other = Resource("", "v2", CONFIG_MAPS.plural, CONFIG_MAPS.kind)
    assert informer().cache_of(write(resource=other)) is not None


def test_only_an_informer_of_all_logical_clusters_spans_them() -> None:
    with IOLoop("test-io") as io_loop:
        assert InformerFactory(EVERY, io_loop).informer(CONFIG_MAPS).spans_clusters
        assert not InformerFactory(ONE, io_loop).informer(CONFIG_MAPS).spans_clusters


def test_a_view_of_one_cluster_is_as_far_as_its_informer() -> None:
    shared = informer(EVERY)
    with shared.cluster("one") as view:
        assert view.cache_of(write()) is shared
        assert not view.spans_clusters


def test_of_several_servers_the_one_that_was_written_to_shows_it() -> None:
    """CS-11: their versions have nothing to do with each other."""
    other = AsyncClient(
        FakeTransport({}), cluster_name="*", prefix="/clusters/*", multi_cluster=True
    )
    other._transport.server = "https://other-shard"  # type: ignore[misc]
    with IOLoop("test-io") as io_loop:
        aggregate = AggregateInformer(
            CONFIG_MAPS,
            dict,
            io_loop,
            make=lambda name, client: SharedInformer(
                client, CONFIG_MAPS, dict, source=LiveSource(page(10 if name == "a" else 20))
            ),
        )
        assert aggregate.spans_clusters
        assert aggregate.cache_of(write()) is None
        aggregate.set_members({"a": EVERY, "b": other})
        eventually(lambda: aggregate.synced)
        shown_by = [aggregate.cache_of(write(client)) for client in (EVERY, other)]
        assert [cache and cache.resource_version for cache in shown_by] == ["10", "20"]
        assert aggregate.cache_of(write(server="https://third-shard")) is None
        aggregate.close()
