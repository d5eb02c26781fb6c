"""What an informer leaves out: KCP-15."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.informers import CachedObject, EventHandler, Ignore, SharedInformer
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import LiveSource, event, page, raw_object


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.key}")

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.key}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}" + (" unknown" if final_state_unknown else ""))


def hidden(obj: CachedObject) -> bool:
    if obj.meta.labels.get("hidden") == "boom":
        raise ValueError("not this one")
    return "hidden" in obj.meta.labels


def labelled(version: int, cluster: str, *, value: str = "yes") -> Any:
    return raw_object("a", version, cluster=cluster, metadata={"labels": {"hidden": value}})


class Rig:
    def __init__(self, source: LiveSource, ignore: Ignore = hidden) -> None:
        self.source = source
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.heard = Recorder()
        self.version = ""
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True),
            CONFIG_MAPS,
            dict,
            source=source,
            clock=self.clock,
            metrics=self.metrics,
            ignore=ignore,
        )
        self.informer.add_handler(self.heard)

    async def run(self, *sent: Any) -> None:
        """Run until what is sent has been taken in."""
        task = asyncio.create_task(self.informer.run())
        self.source.send(*sent)
        for _ in range(50):
            await asyncio.sleep(0)
        self.clock.step(1)
        for _ in range(50):
            await asyncio.sleep(0)
        self.version = self.informer.resource_version
        task.cancel()
        await asyncio.wait({task})


async def test_what_is_ignored_is_in_neither_store_nor_handlers() -> None:
    """KCP-15: of a full state, and of the objects that come later."""
    rig = Rig(LiveSource(page(10, labelled(1, "one"), raw_object("a", 2, cluster="two"))))
    await rig.run(event("MODIFIED", labelled(11, "one")), event("DELETED", labelled(12, "one")))
    assert rig.heard.calls == ["add two|default/a"]
    assert rig.informer.lister.keys() == ["two|default/a"]
    assert rig.version == "12"


async def test_a_filter_of_clusters_is_before_store_and_handlers() -> None:
    """MCR-06."""
    everything = page(10, *(raw_object("a", 1, cluster=name) for name in ("one", "two")))
    rig = Rig(LiveSource(everything), ignore=lambda obj: obj.cluster == "one")
    await rig.run(event("ADDED", raw_object("b", 11, cluster="one")))
    assert rig.heard.calls == ["add two|default/a"]
    assert rig.informer.lister.keys() == ["two|default/a"]


async def test_an_object_that_begins_to_be_ignored_is_deleted() -> None:
    """KCP-15: and comes back as an add when it is not any more."""
    both = [raw_object("a", 1, cluster="one"), raw_object("a", 2, cluster="two")]
    rig = Rig(LiveSource(page(10, *both)))
    await rig.run(
        event("MODIFIED", labelled(11, "one")),
        event("MODIFIED", raw_object("a", 12, cluster="one")),
    )
    assert rig.heard.calls[2:] == ["delete one|default/a", "add one|default/a"]


async def test_a_new_state_in_which_an_object_is_ignored_deletes_it() -> None:
    """KCP-15, inside an atomic replacement."""
    rig = Rig(LiveSource(page(10, raw_object("a", 1, cluster="one"))))
    task = asyncio.create_task(rig.informer.run())
    for _ in range(50):
        await asyncio.sleep(0)
    rig.source.state = page(20, labelled(15, "one"))
    rig.informer.relist()
    for _ in range(50):
        await asyncio.sleep(0)
    rig.clock.step(1)
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert rig.heard.calls[1:] == ["delete one|default/a unknown"]
    assert len(rig.informer.lister) == 0


async def test_a_function_that_raises_ignores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """KCP-15."""
    bad = labelled(1, "one", value="boom")
    rig = Rig(LiveSource(page(10, bad, raw_object("a", 2, cluster="two"))))
    await rig.run()
    assert len(rig.informer.lister) == 2
    assert [record.getMessage() for record in caplog.records] == ["Ignore function failed"]
    labels = {"name": "", "resource": "configmaps", "scope": ""}
    failed = rig.metrics.registry.get_sample_value("informer_ignore_errors_total", labels)
    assert failed == 1
