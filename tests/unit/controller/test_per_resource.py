"""Controllers of the resources that come and go: KCP-31."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, SECRETS, Resource
from kcpctl.client import AsyncClient, Transport
from kcpctl.controller import Controller, Request, ResourceControllers
from kcpctl.informers import DiscoveringInformers, SharedInformer
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.listerwatcher import LiveSource, page, raw_object


class Reconciler:
    """Notes what is reconciled; ``gate`` holds the first one."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = threading.Event()

    def reconcile(self, request: Request) -> None:
        self.seen.append(request.key)
        assert self.gate.wait(30)


class Found:
    """In place of :class:`DiscoveringInformers`: the test says what is found."""

    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.subscribers: list[object] = []

    def subscribe(self, subscriber: object) -> None:
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: object) -> None:
        self.subscribers.remove(subscriber)


class Rig:
    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.clock = FakeClock()
        self.reconciler = Reconciler()
        self.found = Found(io_loop)
        self.controllers = ResourceControllers(
            "found", cast(DiscoveringInformers, self.found), self._make, clock=self.clock
        )
        self.controllers.start()
        self.source = LiveSource(
            page(10, *[raw_object("same", 1, cluster=cluster) for cluster in ("one", "two")])
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
            rng=random.Random(1),
        )

    def _make(self, resource: Resource, informer: SharedInformer[Any]) -> Controller | None:
        if resource == SECRETS:
            return None
        made = Controller(resource.plural, self.reconciler, workers=1, clock=self.clock)
        return made.watches(informer)

    def start(self, resource: Resource = CONFIG_MAPS) -> None:
        async def start() -> None:
            self.controllers.on_start(resource, self.informer)

        self.io_loop.run(start())

    def sync(self) -> None:
        async def sync() -> None:
            self._tasks.append(asyncio.create_task(self.informer.run()))
            await self.informer.wait_for_sync()

        self.io_loop.run(sync())
        self.clock.step(1)

    def stop(self, resource: Resource = CONFIG_MAPS) -> None:
        async def stop() -> None:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            self.controllers.on_stop(resource, self.informer)

        self.io_loop.run(stop())


@pytest.fixture
def rig() -> Iterator[Rig]:
    with IOLoop() as io_loop:
        rig = Rig(io_loop)
        yield rig
        rig.reconciler.gate.set()
        rig.stop(SECRETS)
        if rig.controllers.running:
            assert rig.controllers.stop()
        assert rig.found.subscribers == []


def test_a_resource_that_goes_takes_its_keys_and_its_controller_with_it(rig: Rig) -> None:
    """KCP-31: ready and waiting ones, of every cluster; what runs ends and does not come again."""
    rig.start()
    rig.sync()
    eventually(lambda: len(rig.reconciler.seen) == 1)
    (controller,) = rig.controllers.controllers.values()
    controller.enqueue_after("one|default/late", 60)
    controller.enqueue("three|default/other")
    controller.enqueue(rig.reconciler.seen[0])
    rig.stop()
    assert rig.controllers.controllers == {}
    snapshot = controller.queue.snapshot()
    assert (snapshot.queued, snapshot.waiting) == ({}, {})
    rig.reconciler.gate.set()
    eventually(lambda: not controller.running)
    assert len(rig.reconciler.seen) == 1


def test_a_controller_starts_when_what_it_watches_has_synced(rig: Rig) -> None:
    rig.reconciler.gate.set()
    rig.start()
    (controller,) = rig.controllers.controllers.values()
    assert not controller.running
    rig.sync()
    eventually(lambda: sorted(rig.reconciler.seen) == ["one|default/same", "two|default/same"])


def test_a_resource_that_goes_before_the_sync_starts_nothing(rig: Rig) -> None:
    rig.start()
    (controller,) = rig.controllers.controllers.values()
    rig.stop()
    rig.clock.step(1)
    eventually(lambda: controller.queue.shutting_down)
    eventually(lambda: not len(rig.controllers._tasks))
    assert rig.reconciler.seen == []
    assert not controller.running


def test_a_resource_that_is_not_wanted_has_no_controller(rig: Rig) -> None:
    rig.start(SECRETS)
    assert rig.controllers.controllers == {}
    rig.stop(SECRETS)


def test_a_cluster_that_is_gone_leaves_every_controller(rig: Rig) -> None:
    rig.start()
    (controller,) = rig.controllers.controllers.values()
    controller.enqueue("one|default/a")
    controller.enqueue("two|default/a")
    rig.controllers.remove("one")
    assert list(controller.queue.snapshot().queued) == ["two|default/a"]


def test_stopping_ends_every_controller(rig: Rig) -> None:
    rig.reconciler.gate.set()
    rig.start()
    rig.sync()
    (controller,) = rig.controllers.controllers.values()
    eventually(lambda: controller.running)
    assert rig.controllers.stop(5)
    assert not controller.running
    assert not rig.controllers.running
    rig.start(SECRETS)
    rig.start()
    assert rig.controllers.controllers == {}
    with pytest.raises(RuntimeError, match="started or stopped already"):
        rig.controllers.start()


def test_one_that_does_not_stop_in_time_is_told(rig: Rig) -> None:
    """Its thread ends with the reconcile."""
    rig.start()
    rig.sync()
    eventually(lambda: rig.reconciler.seen)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(rig.controllers.stop(0)))
    thread.start()
    thread.join(30)
    assert results == [False]
