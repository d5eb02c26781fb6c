from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from kcpctl.apis import SYNCTARGETS, SyncTarget
from kcpctl.apis.meta import ObjectMeta
from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from kcpctl.client import AsyncClient, AsyncResourceClient, PatchType
from kcpctl.client.transport import Call
from kcpctl.errors import CrossWorkspaceAccess, Expired, TransportError, UsageError
from kcpctl.testing.transport import FakeTransport

OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "default"},
}
Maps = AsyncResourceClient[dict[str, object]]


def root(*answers: object) -> tuple[AsyncClient, FakeTransport]:
    transport = FakeTransport(*answers)
    return AsyncClient(transport, cluster_name="root"), transport


def bound(name: str, *answers: object) -> AsyncClient:
    transport = FakeTransport(*(answers or (OBJECT,)))
    every = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    return every.cluster(name)


# What each verb sends.


async def sent(verb: Callable[[AsyncClient], Awaitable[object]]) -> tuple[Call, object]:
    client, transport = root(OBJECT)
    await verb(client)
    return transport.call, transport.body


async def test_get() -> None:
    call, _ = await sent(lambda c: c.resource(CONFIG_MAPS).get("one", namespace="default"))
    assert (call.method, call.path) == ("GET", "/api/v1/namespaces/default/configmaps/one")


async def test_get_of_a_cluster_scoped_object() -> None:
    call, _ = await sent(lambda c: c.resource(NAMESPACES).get("default"))
    assert call.path == "/api/v1/namespaces/default"


async def test_create_takes_the_namespace_of_the_object() -> None:
    call, body = await sent(
        lambda c: c.resource(CONFIG_MAPS).create(OBJECT, field_manager="me", dry_run=True)
    )
    assert (call.method, call.path) == ("POST", "/api/v1/namespaces/default/configmaps")
    assert call.query == {"fieldManager": "me", "dryRun": "All"}
    assert body == OBJECT


async def test_create_of_a_subresource() -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    call, body = await sent(
        lambda c: c.resource(SERVICE_ACCOUNTS).create(
            request, subresource="token", name="sa", namespace="kube"
        )
    )
    assert call.path == "/api/v1/namespaces/kube/serviceaccounts/sa/token"
    assert body == request


async def test_create_with_a_generated_name_needs_none() -> None:
    call, _ = await sent(
        lambda c: c.resource(NAMESPACES).create({"metadata": {"generateName": "x-"}})
    )
    assert call.path == "/api/v1/namespaces"


async def test_what_lacks_kind_and_version_gets_them() -> None:
    _, body = await sent(lambda c: c.resource(NAMESPACES).create({"metadata": {"name": "n"}}))
    assert body == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


async def test_update_and_update_status() -> None:
    call, body = await sent(lambda c: c.resource(CONFIG_MAPS).update(OBJECT))
    assert (call.method, call.path) == ("PUT", "/api/v1/namespaces/default/configmaps/one")
    assert body == OBJECT
    call, _ = await sent(lambda c: c.resource(CONFIG_MAPS).update_status(OBJECT))
    assert call.path.endswith("/configmaps/one/status")


@pytest.mark.parametrize("type_", list(PatchType))
async def test_each_patch_has_its_content_type(type_: PatchType) -> None:
    call, _ = await sent(
        lambda c: c.resource(NAMESPACES).patch(
            "n", {"metadata": {}}, type=type_, subresource="status", field_manager="me", force=True
        )
    )
    assert (call.method, call.path) == ("PATCH", "/api/v1/namespaces/n/status")
    assert call.content_type == type_.value
    assert call.query == {"fieldManager": "me", "force": "true"}


async def test_a_patch_is_a_merge_patch_by_default() -> None:
    call, body = await sent(lambda c: c.resource(NAMESPACES).patch("n", {"a": None}))
    assert call.content_type == "application/merge-patch+json"
    assert body == {"a": None}


async def test_a_patch_may_be_a_list_or_bytes() -> None:
    operations = [{"op": "remove", "path": "/a"}]
    _, body = await sent(
        lambda c: c.resource(NAMESPACES).patch("n", operations, type=PatchType.JSON)
    )
    assert body == operations
    call, _ = await sent(lambda c: c.resource(NAMESPACES).patch("n", b'{"a":1}'))
    assert call.body == b'{"a":1}'


async def test_apply() -> None:
    call, body = await sent(lambda c: c.resource(CONFIG_MAPS).apply(OBJECT, field_manager="me"))
    assert (call.method, call.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert call.query == {"fieldManager": "me", "force": "false"}
    assert body == OBJECT


async def test_delete_with_preconditions() -> None:
    call, body = await sent(
        lambda c: c.resource(NAMESPACES).delete(
            "n", uid="u", resource_version="7", propagation="Foreground"
        )
    )
    assert (call.method, call.path) == ("DELETE", "/api/v1/namespaces/n")
    assert body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
        "propagationPolicy": "Foreground",
    }


async def test_list_reads_all_pages_and_names_the_items() -> None:
    first = {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7", "continue": "t"},
        "items": [{"metadata": {"name": "a"}}],
    }
    second = {**first, "metadata": {"resourceVersion": "7"}}
    client, transport = root(first, second)
    found = await client.resource(CONFIG_MAPS).list(label_selector="a=b", limit=1)
    assert found.resource_version == "7"
    assert len(found) == 2
    assert next(iter(found)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
    }
    assert [call.query for call in transport.calls] == [
        {"labelSelector": "a=b", "limit": "1"},
        {"labelSelector": "a=b", "limit": "1", "continue": "t"},
    ]
    assert transport.calls[0].path == "/api/v1/configmaps"


@pytest.mark.parametrize(
    ("version", "match", "query"),
    [
        (None, "", {}),
        ("", "", {"resourceVersion": ""}),
        ("0", "", {"resourceVersion": "0"}),
        ("7", "Exact", {"resourceVersion": "7", "resourceVersionMatch": "Exact"}),
    ],
)
async def test_a_raw_list_sends_the_version_as_it_is(
    version: str | None, match: str, query: dict[str, str]
) -> None:
    client, transport = root({"kind": "NamespaceList", "items": []})
    await client.resource(NAMESPACES).list_raw(
        limit=0, resource_version=version, resource_version_match=match
    )
    assert transport.call.query == query


async def test_a_later_page_has_no_version_pg_02() -> None:
    """PG-02."""
    client, transport = root({"kind": "NamespaceList", "items": []})
    await client.resource(NAMESPACES).list_raw(continue_="t", resource_version="0")
    assert transport.call.query == {"limit": "500", "continue": "t"}


async def test_watch_raw_asks_for_bookmarks_and_an_end() -> None:
    client, transport = root()
    events = client.resource(NAMESPACES).watch_raw(resource_version="7", timeout_seconds=60)
    assert [event async for event in events] == []
    assert transport.call.query == {
        "watch": "1",
        "timeoutSeconds": "60",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
    }
    # Pitfall 8: the client gives up 30 s after the end that it asked for.
    assert transport.call.timeout_seconds == 90


async def test_watch_raw_with_initial_events() -> None:
    client, transport = root()
    events = client.resource(NAMESPACES).watch_raw(
        send_initial_events=True, resource_version_match="NotOlderThan"
    )
    assert [event async for event in events] == []
    assert transport.call.query["sendInitialEvents"] == "true"
    assert transport.call.query["resourceVersionMatch"] == "NotOlderThan"


@pytest.mark.parametrize(
    ("initial", "match"),
    [(True, "Exact"), (True, ""), (False, ""), (None, "NotOlderThan"), (None, "Exact")],
)
async def test_a_stream_of_the_state_that_no_server_accepts_is_not_asked_for(
    initial: bool | None, match: str
) -> None:
    """WL-14, RC-16: it goes with the match NotOlderThan, and with nothing else."""
    client, transport = root()
    with pytest.raises(UsageError, match="NotOlderThan"):
        client.resource(NAMESPACES).watch_raw(
            send_initial_events=initial, resource_version_match=match
        )
    assert transport.calls == []


async def test_each_object_is_yielded_with_its_kind() -> None:
    """PG-03: as list does it."""
    client, transport = root(
        {
            "kind": "NamespaceList",
            "apiVersion": "v1",
            "metadata": {"continue": "t"},
            "items": [{"metadata": {"name": "a"}}],
        },
        {"kind": "NamespaceList", "apiVersion": "v1", "items": [{"metadata": {"name": "b"}}]},
    )
    found = [item async for item in client.resource(NAMESPACES).each(limit=1)]
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [
        ("Namespace", "a"),
        ("Namespace", "b"),
    ]
    assert [call.query for call in transport.calls] == [
        {"limit": "1"},
        {"limit": "1", "continue": "t"},
    ]


async def test_watch_decodes_objects() -> None:
    event = {"type": "ADDED", "object": {"metadata": {"name": "east"}, "spec": {}}}
    client, _ = root(event)
    async with aclosing(client.resource(SYNCTARGETS, SyncTarget).watch()) as events:
        found = await anext(events)
    assert found.type == "ADDED"
    assert found.object.metadata.name == "east"


async def test_watch_raises_error_events() -> None:
    client, _ = root({"type": "ERROR", "object": {"reason": "Expired", "code": 410}})
    with pytest.raises(Expired):
        await anext(client.resource(NAMESPACES).watch())


# Kinds of objects.


async def test_typed_objects_come_and_go() -> None:
    client, transport = root(
        {"metadata": {"name": "east", "creationTimestamp": None}, "unknown": 1}
    )
    target = SyncTarget(metadata=ObjectMeta(name="east"))
    back = await client.resource(SYNCTARGETS, SyncTarget).update(target)
    assert isinstance(back, SyncTarget)
    assert back.metadata.name == "east"
    assert isinstance(transport.body, dict)
    assert transport.body["kind"] == "SyncTarget"


async def test_models_of_the_official_client_are_taken() -> None:
    from kubernetes.client import V1ConfigMap, V1ObjectMeta

    model = V1ConfigMap(
        metadata=V1ObjectMeta(name="one", namespace="default", resource_version="7"),
        data={"a_b": "c"},
    )
    call, body = await sent(lambda c: c.resource(CONFIG_MAPS).update(model))
    assert call.path.endswith("/configmaps/one")
    assert body == {
        **OBJECT,
        "metadata": {"name": "one", "namespace": "default", "resourceVersion": "7"},
        "data": {"a_b": "c"},
    }


async def test_an_answer_that_is_not_json_is_shown() -> None:
    client, _ = root(b"<html>login</html>")
    with pytest.raises(TransportError, match=r"the answer is not a dict .*<html>login"):
        await client.resource(NAMESPACES).get("n")


@pytest.mark.parametrize(
    "answer",
    [
        {"metadata": []},
        {"metadata": {"labels": []}},
        {"metadata": {"annotations": {"a": 5}}},
        {"metadata": {"finalizers": "x"}},
        b'{"a": ' + b"[" * 100_000,
    ],
)
async def test_an_answer_without_the_shape_of_an_object_is_one_that_cannot_be_used(
    answer: object,
) -> None:
    client, _ = root(answer)
    with pytest.raises(TransportError, match="the answer is not a dict"):
        await client.resource(NAMESPACES).get("n")


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": {"name": ""}}])
async def test_an_item_of_a_list_has_a_name(item: object) -> None:
    client, _ = root({"kind": "NamespaceList", "items": [item]})
    with pytest.raises(TransportError, match="an object without a name"):
        await client.resource(NAMESPACES).list()


async def test_an_object_has_a_name() -> None:
    client, _ = root({"kind": "Namespace"})
    with pytest.raises(TransportError, match="an object without a name"):
        await client.resource(NAMESPACES).get("n")


# RC-16: what is refused before anything is sent.


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
async def test_names_that_no_server_accepts_rc_16(name: str) -> None:
    """RC-16."""
    client, transport = root(OBJECT)
    with pytest.raises(UsageError, match="cannot be the name"):
        await client.resource(NAMESPACES).get(name)
    assert transport.calls == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda maps: maps.get("one"),
        lambda maps: maps.create({"metadata": {"name": "one"}}),
        lambda maps: maps.update({"metadata": {"name": "one"}}),
        lambda maps: maps.delete("one"),
        lambda maps: maps.patch("one", {}),
    ],
)
async def test_a_namespace_that_is_missing_rc_16(verb: Callable[[Maps], Awaitable[object]]) -> None:
    """RC-16."""
    client, transport = root(OBJECT)
    with pytest.raises(UsageError, match="needs a namespace"):
        await verb(client.resource(CONFIG_MAPS))
    assert transport.calls == []


async def test_a_namespace_where_there_are_none_rc_16() -> None:
    """RC-16."""
    client, _ = root(OBJECT)
    with pytest.raises(UsageError, match="cluster-scoped"):
        await client.resource(NAMESPACES).get("n", namespace="default")


async def test_two_different_namespaces() -> None:
    client, _ = root(OBJECT)
    with pytest.raises(UsageError, match="of namespace 'default', not 'other'"):
        await client.resource(CONFIG_MAPS).create(OBJECT, namespace="other")


async def test_an_update_without_a_name() -> None:
    client, _ = root(OBJECT)
    with pytest.raises(UsageError, match=r"no metadata\.name"):
        await client.resource(NAMESPACES).update({"metadata": {}})


# Isolation between logical clusters.


@pytest.mark.parametrize(
    "verb",
    [
        lambda c: c.resource(NAMESPACES).get("n"),
        lambda c: c.resource(NAMESPACES).create({"metadata": {"name": "n"}}),
        lambda c: c.resource(NAMESPACES).delete("n"),
        lambda c: c.resource(CONFIG_MAPS).apply(OBJECT, field_manager="me"),
    ],
)
async def test_all_clusters_at_once_can_only_be_listed_and_watched(
    verb: Callable[[AsyncClient], Awaitable[object]],
) -> None:
    with pytest.raises(CrossWorkspaceAccess, match=r"use client\.cluster"):
        await verb(bound("root").wildcard())


async def test_all_clusters_can_be_listed() -> None:
    transport = FakeTransport({"kind": "NamespaceList", "items": []})
    client = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    await client.resource(NAMESPACES).list()
    assert transport.call.path == "/clusters/*/api/v1/namespaces"


def of_cluster(name: str) -> dict[str, object]:
    return {"metadata": {"name": "n", "annotations": {"kcp.io/cluster": name}}}


async def test_an_object_is_not_written_to_another_cluster() -> None:
    client = bound("2y4gkqjd1x7cyxr4")
    with pytest.raises(CrossWorkspaceAccess, match=r"use client\.cluster"):
        await client.resource(NAMESPACES).update(of_cluster("1aaaaaaaaaaaaaaa"))


@pytest.mark.parametrize("name", ["2y4gkqjd1x7cyxr4", "root:demo"])
async def test_an_object_goes_back_to_its_own_cluster(name: str) -> None:
    await bound(name).resource(NAMESPACES).update(of_cluster("2y4gkqjd1x7cyxr4"))


async def test_a_plain_server_does_not_care_for_the_annotation() -> None:
    client, transport = root(OBJECT)
    await client.resource(NAMESPACES).update(of_cluster("elsewhere"))
    assert len(transport.calls) == 1


def test_the_resource_is_known() -> None:
    client, _ = root()
    widgets = Resource("example.com", "v1", "widgets", "Widget")
    assert client.resource(widgets).resource is widgets
    assert client.resource(widgets).client is client
