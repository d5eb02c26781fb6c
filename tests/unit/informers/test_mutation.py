"""The mutation detector: INF-31 and INF-32 of the client-go behaviours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.informers import CachedObject, HandlerFuncs, SharedInformer
from kcpctl.informers.mutation import CacheMutated
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import LiveSource, event, page, raw_object

METADATA = {"labels": {"app": "web"}, "annotations": {"token": "s3cret"}}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.source = LiveSource(
            page(10, raw_object("a", 1, metadata={**METADATA, "ownerReferences": [OWNER]}))
        )
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="root"),
            CONFIG_MAPS,
            dict,
            source=self.source,
            clock=self.clock,
        )
        self.task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.informer.run())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert self.source.open_watches == 0
            assert self.clock.sleepers == 0

    async def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        await settle()

    def cached(self, name: str = "a") -> CachedObject:
        found = self.informer.lister.cached(f"root|default/{name}")
        assert found is not None
        return found


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("KCPCTL_MUTATION_DETECTOR", "1")
    return Rig()


def labels_of(obj: CachedObject) -> MutableMapping[str, str]:
    """As somebody would get at them whose types are not checked."""
    return cast("MutableMapping[str, str]", obj.meta.labels)


async def test_who_changes_a_cached_object_ends_the_informer(rig: Rig) -> None:
    """INF-32: and is told which object of which cluster, and what."""
    async with rig.running() as task:
        labels_of(rig.cached())["app"] = "db"
        labels_of(rig.cached())["new"] = "entry"
        cast("dict[str, str]", rig.cached().meta.annotations).pop("token")
        await rig.step(1)
        message = str(task.exception())
        assert isinstance(task.exception(), CacheMutated)
        assert "metadata.labels['app'], metadata.labels['new'], metadata.annotations" in message
        assert "the cached object root|default/a (cluster root) in the informer of con" in message
        assert "s3cret" not in message
        with pytest.raises(RuntimeError, match="has ended"):
            rig.informer.add_handler(HandlerFuncs())


async def test_an_object_of_an_event_is_watched_too(rig: Rig) -> None:
    """INF-32: also one that a handler changes when it hears of it."""

    def change(obj: CachedObject) -> None:
        if obj.meta.name == "b":
            labels_of(obj).clear()

    rig.informer.add_handler(HandlerFuncs(on_add=change))
    async with rig.running() as task:
        rig.source.send(event("ADDED", raw_object("b", 11, metadata=METADATA)))
        await settle()
        await rig.step(1)
        assert "object root|default/b" in str(task.exception())


async def test_reading_is_no_change_and_an_object_is_watched_for_two_minutes(rig: Rig) -> None:
    """INF-32: what is decoded is the caller's; after two minutes nobody looks."""
    async with rig.running() as task:
        rig.informer.lister.get("root|default/a")["metadata"]["labels"]["app"] = "mine"
        assert rig.cached().decode()["metadata"]["labels"] == {"app": "web"}
        assert rig.cached().meta.labels == {"app": "web"}
        rig.source.send(event("BOOKMARK", 12))
        for _ in range(121):
            await rig.step(1)
        assert rig.informer.resource_version == "12"
        labels_of(rig.cached())["app"] = "db"
        await rig.step(1)
        assert not task.done()


async def test_an_error_of_the_informer_itself_comes_out_as_it_is(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(rig.informer._reflector, "run", fail)
    with pytest.raises(ZeroDivisionError, match="bug"):
        await rig.informer.run()


async def test_without_the_variable_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KCPCTL_MUTATION_DETECTOR", raising=False)
    rig = Rig()
    async with rig.running() as task:
        labels_of(rig.cached())["app"] = "db"
        await rig.step(1)
        assert not task.done()


async def test_all_else_of_a_cached_object_cannot_be_changed(rig: Rig) -> None:
    """INF-31."""
    async with rig.running():
        obj = rig.cached()
        owner = obj.meta.owner_references[0]
        for of, field in ((obj, "raw"), (obj, "uid"), (obj.meta, "labels"), (owner, "name")):
            with pytest.raises(AttributeError):
                setattr(of, field, None)
        assert isinstance(obj.meta.finalizers, tuple)
        assert isinstance(obj.raw, bytes)
        assert msgspec.structs.asdict(owner)["name"] == "p"
