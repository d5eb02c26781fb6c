"""What an API server's watches do, seen through the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import Client


def body(name: str, namespace: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }


async def collect(events: AsyncIterator[Any], count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async for event in events:
        if event.type != "BOOKMARK":
            found.append((event.type, event.object["metadata"]["name"]))
        if len(found) == count:
            break
    return found


def watched(client: Client, namespace: str, version: str, count: int, **options: Any) -> Any:
    """Run a watch on the client's loop until it has seen ``count`` events."""
    events = client.aio.resource(CONFIG_MAPS).watch(
        namespace=namespace, resource_version=version, timeout_seconds=10, **options
    )
    return client.loop.run(collect(events, count))


def test_a_watch_from_a_list_shows_what_came_after_it(client: Client, namespace: str) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.create(body("before", namespace))
    version = maps.list(namespace=namespace).resource_version
    maps.create(body("a", namespace))
    maps.patch("a", {"data": {"k": "v"}}, namespace=namespace)
    maps.delete("a", namespace=namespace)
    assert watched(client, namespace, version, 3) == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]


def test_a_watch_without_a_version_begins_with_what_is_there(
    client: Client, namespace: str
) -> None:
    client.resource(CONFIG_MAPS).create(body("a", namespace))
    assert watched(client, namespace, "", 1) == [("ADDED", "a")]


def test_what_leaves_a_selector_is_deleted_and_what_enters_is_added(
    client: Client, namespace: str
) -> None:
    maps = client.resource(CONFIG_MAPS)
    maps.create(body("a", namespace, color="red"))
    version = maps.list(namespace=namespace).resource_version
    maps.patch("a", {"metadata": {"labels": {"color": "blue"}}}, namespace=namespace)
    maps.patch("a", {"metadata": {"labels": {"color": "red"}}}, namespace=namespace)
    assert watched(client, namespace, version, 2, label_selector="color=red") == [
        ("DELETED", "a"),
        ("ADDED", "a"),
    ]
