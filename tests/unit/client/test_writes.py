"""Notes of successful writes: what is noted, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, SERVICE_ACCOUNTS
from kcpctl.client import AsyncClient, AsyncResourceClient, Client, Write, WriteLog
from kcpctl.errors import Conflict
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.testing.transport import FakeTransport

OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "one",
        "namespace": "default",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"a": "b"},
    },
}
STATUS = {"kind": "Status", "status": "Success", "details": {"uid": "u1"}}
Maps = AsyncResourceClient[dict[str, Any]]


async def noted(verb: Callable[[Maps], Awaitable[object]], answer: object = OBJECT) -> list[Write]:
    client = AsyncClient(
        FakeTransport(answer), cluster_name="*", prefix="/clusters/*", multi_cluster=True
    ).cluster("one")
    log = WriteLog()
    log.start()
    await verb(client.resource(CONFIG_MAPS))
    return log.close()


@pytest.mark.parametrize(
    "verb",
    [
        lambda maps: maps.create(OBJECT),
        lambda maps: maps.update(OBJECT),
        lambda maps: maps.update_status(OBJECT),
        lambda maps: maps.patch("one", {}, namespace="default"),
        lambda maps: maps.patch("one", {}, namespace="default", subresource="status"),
        lambda maps: maps.apply(OBJECT, field_manager="me"),
        lambda maps: maps.delete("one", namespace="default"),
    ],
)
async def test_each_successful_write_is_noted(verb: Callable[[Maps], Awaitable[object]]) -> None:
    """CS-01: with the server that it went to (CS-11)."""
    assert await noted(verb) == [
        Write(
            server="https://host:6443",
            url="https://host:6443/clusters/one",
            resource=CONFIG_MAPS,
            namespace="default",
            name="one",
            uid="u1",
            resource_version="7",
            labels={"a": "b"},
        )
    ]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (lambda maps: maps.get("one", namespace="default"), OBJECT),
        (lambda maps: maps.create(OBJECT, dry_run=True), OBJECT),
        (lambda maps: maps.delete("one", namespace="default"), STATUS),
        (lambda maps: maps.patch("one", {}, namespace="default"), {"metadata": {"name": "one"}}),
        (lambda maps: maps.patch("one", {}, namespace="default"), {"metadata": None}),
    ],
)
async def test_reads_trials_and_answers_without_a_version_are_not_noted(
    verb: Callable[[Maps], Awaitable[object]], answer: object
) -> None:
    assert await noted(verb, answer) == []


async def test_a_write_that_failed_is_not_noted() -> None:
    client = AsyncClient(FakeTransport(Conflict("no")), cluster_name="root")
    log = WriteLog()
    log.start()
    with pytest.raises(Conflict):
        await client.resource(CONFIG_MAPS).update(OBJECT)
    assert log.close() == []


async def test_a_token_is_no_write() -> None:
    token = {"kind": "TokenRequest", "metadata": {"name": "one"}, "status": {"token": "t"}}
    client = AsyncClient(FakeTransport(token), cluster_name="root")
    log = WriteLog()
    log.start()
    await client.resource(SERVICE_ACCOUNTS).create(
        token, namespace="default", subresource="token", name="one"
    )
    assert log.close() == []


async def test_what_goes_on_after_the_end_is_not_noted() -> None:
    """A task that a piece of work left behind has its log, and must not fill it for ever."""
    client = AsyncClient(FakeTransport(OBJECT), cluster_name="root")
    go_on = asyncio.Event()
    log = WriteLog()
    log.start()

    async def later() -> None:
        await go_on.wait()
        await client.resource(CONFIG_MAPS).update(OBJECT)

    async with asyncio.TaskGroup() as group:
        group.create_task(later())
        await asyncio.sleep(0)
        assert log.close() == []
        go_on.set()
    assert log.close() == []


def test_the_blocking_client_takes_the_log_along_to_the_io_loop() -> None:
    """And each thread has its own."""
    logs = {name: WriteLog() for name in ("one", "two")}
    with IOLoop("test-io") as io_loop:
        client = Client(AsyncClient(FakeTransport(OBJECT), cluster_name="root"), io_loop)

        def work(name: str, times: int) -> None:
            logs[name].start()
            for _ in range(times):
                client.resource(DEPLOYMENTS).update(OBJECT)

        threads = [
            start_thread(lambda: work("one", 3), name="test-one"),
            start_thread(lambda: work("two", 2), name="test-two"),
        ]
        for thread in threads:
            thread.join()
        client.resource(DEPLOYMENTS).update(OBJECT)
    assert {name: len(log.close()) for name, log in logs.items()} == {"one": 3, "two": 2}
