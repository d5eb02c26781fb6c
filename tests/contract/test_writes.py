"""What an API server answers to writes is what its watches show: read-your-writes rests on it."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES
from kcpctl.client import Client, WriteLog
from tests.contract.test_watch import body


async def versions(events: Any, last: str) -> list[tuple[str, str]]:
    """The types and versions of a watch, until a ConfigMap of that name comes."""
    found = []
    async for event in events:
        if event.object["metadata"]["name"] == last:
            break
        found.append((event.type, event.object["metadata"]["resourceVersion"]))
    return found


def test_the_version_of_each_write_is_that_of_its_event(client: Client, namespace: str) -> None:
    """CS-01, CS-02: so a cache that has reached it has seen the write."""
    maps = client.resource(CONFIG_MAPS)
    begin = maps.list(namespace=namespace).resource_version
    log = WriteLog()
    log.start()
    made = maps.create({**body("a", namespace), "data": {"n": "1"}})
    maps.update({**made, "data": {"n": "2"}})
    maps.patch("a", {"data": {"n": "3"}}, namespace=namespace)
    maps.patch("a", {"data": {"n": "3"}}, namespace=namespace)
    applied = {**body("a", namespace), "data": {"n": "4"}}
    maps.apply(applied, field_manager="contract", force=True)
    maps.patch("a", {"metadata": {"finalizers": ["example.com/x"]}}, namespace=namespace)
    maps.delete("a", namespace=namespace)
    maps.patch("a", {"metadata": {"finalizers": None}}, namespace=namespace)
    maps.create(body("plain", namespace))
    maps.delete("plain", namespace=namespace)
    written = [write.resource_version for write in log.close()]
    maps.create(body("last", namespace))
    watch = client.aio.resource(CONFIG_MAPS).watch(
        namespace=namespace, resource_version=begin, timeout_seconds=10
    )
    shown = client.loop.run(versions(watch, "last"))
    assert [type_ for type_, _ in shown] == [
        "ADDED",
        *["MODIFIED"] * 5,
        "DELETED",
        "ADDED",
        "DELETED",
    ]
    seen = [version for _, version in shown]
    # A patch that changed nothing has the version of before; none is ahead of the watch.
    assert written[:4] == [*seen[:3], seen[2]]
    assert written[4:7] == seen[3:6]
    assert int(written[7]) <= int(seen[6])
    assert written[8] == seen[7]
    assert all(int(version) <= int(seen[8]) for version in written[9:])


def test_a_trial_of_a_create_is_no_write(client: Client, namespace: str) -> None:
    log = WriteLog()
    log.start()
    client.resource(CONFIG_MAPS).create(body("a", namespace), dry_run=True)
    assert log.close() == []


@pytest.mark.parametrize("subresource", ["", "status"])
def test_a_write_of_a_status_has_the_objects_version(client: Client, subresource: str) -> None:
    namespaces = client.resource(NAMESPACES)
    log = WriteLog()
    log.start()
    namespaces.patch("default", {"metadata": {"labels": {"x": "y"}}}, subresource=subresource)
    (write,) = log.close()
    assert write.resource_version == namespaces.get("default")["metadata"]["resourceVersion"]
