from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from kcpctl.apis import SYNCTARGETS, SyncTarget
from kcpctl.apis.resource import NAMESPACES
from kcpctl.client import AsyncClient, Client
from kcpctl.errors import CrossWorkspaceAccess, NotFound
from kcpctl.runtime.ioloop import IOLoop
from kcpctl.testing.transport import FakeTransport

OBJECT = {"metadata": {"name": "n"}}


@pytest.fixture
def loop() -> Iterator[IOLoop]:
    with IOLoop("test-io") as running:
        yield running


def client_of(loop: IOLoop, *answers: object) -> tuple[Client, FakeTransport]:
    transport = FakeTransport(*answers)
    every = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    return Client(every, loop), transport


@pytest.mark.parametrize(
    ("verb", "method"),
    [
        (lambda r: r.get("n"), "GET"),
        (lambda r: r.create(OBJECT), "POST"),
        (lambda r: r.update(OBJECT), "PUT"),
        (lambda r: r.update_status(OBJECT), "PUT"),
        (lambda r: r.patch("n", {}), "PATCH"),
        (lambda r: r.apply(OBJECT, field_manager="me"), "PATCH"),
        (lambda r: r.delete("n"), "DELETE"),
    ],
)
def test_each_verb_waits_for_its_answer(
    loop: IOLoop, verb: Callable[[object], object], method: str
) -> None:
    client, transport = client_of(loop, OBJECT)
    assert verb(client.cluster("root").resource(NAMESPACES)) == OBJECT
    assert transport.call.method == method
    assert transport.call.path.startswith("/clusters/root/")


def test_list_and_typed_objects(loop: IOLoop) -> None:
    client, _ = client_of(loop, {"kind": "SyncTargetList", "items": [OBJECT]})
    (found,) = client.resource(SYNCTARGETS, SyncTarget).list()
    assert isinstance(found, SyncTarget)


def test_a_reader_that_stops_has_not_asked_for_the_next_page(loop: IOLoop) -> None:
    """PG-03."""
    page = {"kind": "NamespaceList", "metadata": {"continue": "t"}, "items": [OBJECT, OBJECT]}
    client, transport = client_of(loop, page, {"kind": "NamespaceList", "items": [OBJECT]})
    with closing(client.resource(NAMESPACES).each(limit=2)) as objects:
        assert [next(objects)["metadata"], next(objects)["metadata"]] == [OBJECT["metadata"]] * 2
        assert len(transport.calls) == 1
        assert len(list(objects)) == 1
    assert len(transport.calls) == 2


def test_errors_come_through(loop: IOLoop) -> None:
    client, _ = client_of(loop, NotFound("gone"))
    with pytest.raises(NotFound):
        client.cluster("root").resource(NAMESPACES).get("n")


def test_on_the_io_thread_it_raises_instead_of_waiting_for_itself(loop: IOLoop) -> None:
    client, transport = client_of(loop, OBJECT)

    async def wrong() -> None:
        client.request("GET", "/readyz")

    with pytest.raises(RuntimeError, match="use the async client"):
        loop.run(wrong())
    assert transport.calls == []


def test_names_are_those_of_the_async_client(loop: IOLoop) -> None:
    client, _ = client_of(loop)
    bound = client.cluster("root:demo")
    assert bound.cluster_name == "root:demo"
    assert bound.is_multi_cluster
    assert bound.server == "https://host:6443"
    assert bound.url == "https://host:6443/clusters/root:demo"
    assert bound.wildcard().cluster_name == "*"
    assert bound.loop is loop
    assert bound.resource(NAMESPACES).resource is NAMESPACES


def test_another_cluster_is_refused(loop: IOLoop) -> None:
    plain = Client(AsyncClient(FakeTransport(), cluster_name="root"), loop)
    with pytest.raises(CrossWorkspaceAccess):
        plain.cluster("other")


def test_requests_and_discovery(loop: IOLoop) -> None:
    client, _ = client_of(loop, {"gitVersion": "v1.36.0", "resources": [{"name": "namespaces"}]})
    bound = client.cluster("root")
    assert b"v1.36.0" in bound.request("GET", "/version").body
    assert bound.server_version() == "v1.36.0"
    assert bound.has_resource(NAMESPACES)


def test_close_closes_the_connections_and_not_the_loop(loop: IOLoop) -> None:
    client, transport = client_of(loop)
    client.close()
    assert transport.closed
    client.close()


EVENTS = [
    {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "6"}}},
    {"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": "7"}}},
]


def test_a_watch_is_followed_and_closed(loop: IOLoop) -> None:
    """RW-02, RW-04: by a thread, which may leave with events unread."""
    client = Client(AsyncClient(FakeTransport(*EVENTS), cluster_name="root"), loop)
    with closing(client.resource(NAMESPACES).watch_from("5")) as events:
        assert next(events).type == "ADDED"
        assert next(events).object["metadata"]["resourceVersion"] == "7"


def test_an_object_is_waited_for(loop: IOLoop) -> None:
    """RW-06."""
    page = {
        "kind": "NamespaceList",
        "metadata": {"resourceVersion": "5"},
        "items": [EVENTS[0]["object"]],
    }
    client = Client(AsyncClient(FakeTransport(page), cluster_name="root"), loop)
    found = client.resource(NAMESPACES).wait_until("a", lambda found: found is not None)
    assert found is not None
    assert found["kind"] == "Namespace"
