"""Reading the state anew because somebody asks for it: KCP-16."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.informers import CachedObject, HandlerFuncs, SharedInformer
from kcpctl.informers.initial import InitialStates
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import (
    HANG,
    LiveSource,
    StreamingSource,
    end_of_state,
    event,
    page,
    raw_object,
)

ONE = raw_object("a", 1, cluster="one")
TWO = raw_object("a", 2, cluster="two")


class Rig:
    def __init__(self, source: Any) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.states = InitialStates(1)
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=source,
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
            initial_states=self.states,
        )
        self.deleted: list[str] = []
        self.informer.add_handler(HandlerFuncs(on_delete=self._deleted))
        self._task: asyncio.Task[None] | None = None

    def _deleted(self, obj: CachedObject) -> None:
        self.deleted.append(obj.key)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.informer.run())
        await self.settle()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    async def settle(self, seconds: float = 0) -> None:
        for _ in range(3):
            for _ in range(30):
                await asyncio.sleep(0)
            self.clock.step(seconds / 3)
        for _ in range(30):
            await asyncio.sleep(0)


async def test_the_watch_ends_and_the_newest_state_is_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """KCP-16: with no version, so that no cache answers; without a word in the log."""
    source = LiveSource(page(10, ONE, TWO))
    rig = Rig(source)
    await rig.start()
    source.state = page(20, TWO)
    rig.informer.relist()
    await rig.settle(3)
    assert source.list_versions == ["0", ""]
    assert source.open_watches == 1
    assert rig.deleted == ["one|default/a"]
    assert rig.informer.last_error is None
    assert caplog.records == []
    labels = {"name": "", "resource": "configmaps", "scope": "", "cause": "requested"}
    assert rig.metrics.registry.get_sample_value("reflector_relists_total", labels) == 1
    await rig.stop()


async def test_it_is_once_and_the_next_list_is_an_ordinary_one() -> None:
    """KCP-16."""
    source = LiveSource(page(10, ONE))
    rig = Rig(source)
    await rig.start()
    rig.informer.relist()
    rig.informer.relist()
    await rig.settle(3)
    source.send(RuntimeError("broken"))
    await rig.settle(6)
    assert source.list_versions == ["0", "", "10"]
    await rig.stop()


async def test_a_handler_and_another_thread_may_ask() -> None:
    """KCP-16."""
    source = LiveSource(page(10, ONE))
    rig = Rig(source)
    rig.informer.add_handler(HandlerFuncs(on_update=lambda old, new: rig.informer.relist()))
    await rig.start()
    source.send(event("MODIFIED", raw_object("a", 11, cluster="one")))
    source.state = page(20, raw_object("a", 11, cluster="one"))
    await rig.settle(3)
    assert source.list_versions == ["0", ""]
    await asyncio.to_thread(rig.informer.relist)
    await rig.settle(6)
    assert source.list_versions == ["0", "", ""]
    await rig.stop()


async def test_a_state_is_streamed_anew() -> None:
    """KCP-16: not older than nothing is the newest (WL-01)."""
    source = StreamingSource()
    state = [event("ADDED", ONE), end_of_state(10), HANG]
    source.streams.extend([state, state])
    rig = Rig(source)
    await rig.start()
    rig.informer.relist()
    await rig.settle(3)
    assert source.stream_versions == ["", ""]
    assert source.open_watches == 1
    await rig.stop()


async def test_one_that_is_asked_for_while_a_state_is_awaited_comes_after_it() -> None:
    """KCP-16: the answer under way may be of a cache."""
    source = LiveSource(page(10, ONE))
    rig = Rig(source)
    async with rig.states.turn():
        await rig.start()
        rig.informer.relist()
        await rig.settle()
    await rig.settle(3)
    assert source.list_versions == ["0", ""]
    await rig.stop()


async def test_nothing_happens_before_the_start_and_after_the_end() -> None:
    """KCP-16."""
    source = LiveSource(page(10, ONE))
    rig = Rig(source)
    rig.informer.relist()
    await rig.start()
    assert source.list_versions == ["0"]
    await rig.stop()
    rig.informer.relist()
    await rig.settle(3)
    assert source.list_versions == ["0"]
