"""What work on one logical cluster may reach, with clients of all of them."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, ClientConfig, confine, reaching
from kcpctl.errors import CrossWorkspaceAccess
from kcpctl.runtime import IOLoop
from kcpctl.testing.transport import FakeTransport

OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
LIST = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}


def many(*answers: object) -> tuple[AsyncClient, FakeTransport]:
    transport = FakeTransport(*answers)
    client = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    return client, transport


@pytest.fixture(autouse=True)
def lifted() -> Iterator[None]:
    yield
    confine("")


async def test_work_on_one_cluster_reaches_it() -> None:
    client, transport = many(OBJECT)
    confine("one")
    await client.cluster("one").resource(CONFIG_MAPS).get("a", namespace="default")
    assert transport.call.path.startswith("/clusters/one/")


@pytest.mark.parametrize("name", ["two", "on", "one:two", "root:one"])
async def test_it_reaches_no_other_one(name: str) -> None:
    client, transport = many(OBJECT)
    confine("one")
    with pytest.raises(CrossWorkspaceAccess, match=r"'one' was to reach .*use client\.cluster"):
        await client.cluster(name).resource(CONFIG_MAPS).get("a", namespace="default")
    assert transport.calls == []


async def test_it_reaches_no_other_one_with_a_client_that_was_made_before() -> None:
    client, transport = many(OBJECT)
    other = client.cluster("two").resource(CONFIG_MAPS)
    confine("one")
    with pytest.raises(CrossWorkspaceAccess):
        await other.get("a", namespace="default")
    assert transport.calls == []


async def test_it_does_not_list_all_clusters() -> None:
    client, transport = many(LIST)
    confine("one")
    with pytest.raises(CrossWorkspaceAccess, match=r"'\*'"):
        await client.resource(CONFIG_MAPS).list()
    assert transport.calls == []


async def test_it_does_not_ask_another_one_for_its_version() -> None:
    client, transport = many({"gitVersion": "v1.36.0"})
    confine("one")
    with pytest.raises(CrossWorkspaceAccess):
        await client.cluster("two").server_version()
    assert transport.calls == []


async def test_it_does_not_watch_another_one() -> None:
    client, transport = many({})
    confine("one")
    with pytest.raises(CrossWorkspaceAccess):
        client.cluster("two").stream("/api/v1/pods", timeout_seconds=1)
    assert transport.calls == []


async def test_a_client_of_a_server_with_one_cluster_is_not_bound() -> None:
    """The physical clusters are all called root."""
    transport = FakeTransport(OBJECT)
    client = AsyncClient(transport, cluster_name="root")
    confine("one")
    await client.resource(CONFIG_MAPS).get("a", namespace="default")
    assert AsyncClient.plain(ClientConfig(server="https://host")).cluster_name == "root"


async def test_a_checked_reference_is_reached_within_its_block_alone() -> None:
    client, transport = many(OBJECT)
    other = client.cluster("two").resource(CONFIG_MAPS)
    confine("one")
    with reaching("two"):
        await other.get("a", namespace="default")
        await client.cluster("one").resource(CONFIG_MAPS).get("a", namespace="default")
        with pytest.raises(CrossWorkspaceAccess):
            await client.cluster("three").resource(CONFIG_MAPS).get("a", namespace="default")
    with pytest.raises(CrossWorkspaceAccess):
        await other.get("a", namespace="default")
    assert len(transport.calls) == 2


async def test_reaching_confines_nothing_that_is_free() -> None:
    client, transport = many(OBJECT)
    with reaching("two"):
        await client.cluster("three").resource(CONFIG_MAPS).get("a", namespace="default")
    assert len(transport.calls) == 1


def test_blocking_calls_take_it_along_to_the_loop() -> None:
    aio, transport = many(OBJECT)
    with IOLoop("test-io") as io_loop:
        client = Client(aio, io_loop)
        confine("one")
        with pytest.raises(CrossWorkspaceAccess):
            client.cluster("two").resource(CONFIG_MAPS).get("a", namespace="default")
        client.cluster("one").resource(CONFIG_MAPS).get("a", namespace="default")
    assert len(transport.calls) == 1


NAMES = st.sampled_from(["one", "two", "three", "root", "root:one", "*"])


@given(work=NAMES.filter(lambda name: name != "*"), bound=NAMES, lifted=st.lists(NAMES, max_size=2))
def test_nothing_is_sent_to_what_was_not_allowed(work: str, bound: str, lifted: list[str]) -> None:
    async def scenario() -> None:
        client, transport = many(LIST)
        confine(work)
        with ExitStack() as stack:
            for name in lifted:
                stack.enter_context(reaching(name))
            try:
                await client.cluster(bound).resource(CONFIG_MAPS).list()
            except CrossWorkspaceAccess:
                assert bound not in {work, *lifted}
                assert transport.calls == []
            else:
                assert bound in {work, *lifted}
                assert transport.call.path.startswith(f"/clusters/{bound}/")

    coroutine = scenario()
    with pytest.raises(StopIteration):
        contextvars.Context().run(coroutine.send, None)
