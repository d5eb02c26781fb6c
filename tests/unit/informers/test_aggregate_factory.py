"""Informers over servers that come and go, made and started together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, SECRETS
from kcpctl.client import AsyncClient, Transport
from kcpctl.errors import ConnectionRefused
from kcpctl.informers import AggregateFactory, HandlerFuncs
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock
from kcpctl.testing.transport import FakeTransport


def client(answer: object) -> AsyncClient:
    transport = FakeTransport(answer)
    return AsyncClient(
        cast(Transport, transport), cluster_name="*", prefix="/clusters/*", multi_cluster=True
    )


@pytest.fixture
def factory() -> Iterator[AggregateFactory]:
    with IOLoop() as io_loop:
        made = AggregateFactory(io_loop, name="upstream", clock=FakeClock())
        yield made
        made.close()
        made.close()


def settle(factory: AggregateFactory, **members: AsyncClient) -> None:
    async def set_members() -> None:
        await factory.set_members(members)
        for _ in range(20):
            await asyncio.sleep(0)

    factory._io_loop.run(set_members())


def test_the_same_arguments_give_the_same_informer(factory: AggregateFactory) -> None:
    one = factory.informer(CONFIG_MAPS, namespace="a", label_selector="x")
    assert factory.informer(CONFIG_MAPS, label_selector="x", namespace="a") is one
    assert factory.informer(CONFIG_MAPS, namespace="b") is not one
    assert factory.informer(SECRETS) is not one


def test_nothing_is_synced_before_the_members_are_known_and_all_is_then(
    factory: AggregateFactory,
) -> None:
    """One that cannot be reached holds up nobody who asks about another."""
    registration = factory.informer(CONFIG_MAPS).add_handler(HandlerFuncs())
    factory.start()
    before = (factory.waiting_for, registration.synced)
    assert before == (["the list of servers"], False)
    settle(factory, dead=client(ConnectionRefused("nobody there")))
    assert factory.waiting_for == []
    assert registration.synced
    (why,) = factory.unsynced("dead")
    assert "configmaps of dead: nobody there" in why
    assert factory.unsynced("unknown") == []
    assert [one.description for one in factory.all_informers()] == ["configmaps of dead"]


def test_members_that_were_known_before_the_start_are_taken_then(
    factory: AggregateFactory,
) -> None:
    informer = factory.informer(CONFIG_MAPS)
    settle(factory, a=client(ConnectionRefused("no")))
    assert not informer.has_members
    factory.start()
    later: Any = factory.informer(SECRETS)
    factory.start()
    assert set(informer.member_informers) == set(later.member_informers) == {"a"}
    settle(factory)
    assert informer.member_informers == {}


def test_a_closed_factory_makes_no_informers(factory: AggregateFactory) -> None:
    factory.close()
    with pytest.raises(RuntimeError, match="closed"):
        factory.informer(CONFIG_MAPS)
    with pytest.raises(RuntimeError, match="closed"):
        factory.start()
