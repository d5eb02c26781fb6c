from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from kcpctl.embedded.http.lists import Selection
from kcpctl.embedded.http.negotiation import Representation
from kcpctl.embedded.http.request import parse_path
from kcpctl.embedded.http.watches import Watch
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import TaskSet
from kcpctl.testing.clock import FakeClock

Json = dict[str, Any]


class Watcher:
    """Runs watches on the ConfigMaps of a registry and collects what they send."""

    def __init__(self, registry: Registry, clock: FakeClock, tasks: TaskSet) -> None:
        self.registry = registry
        self.clock = clock
        self.tasks = tasks
        self.info = registry.info("root", "", "v1", "configmaps")

    def add(self, name: str, namespace: str = "default", **labels: str) -> int:
        body = {"metadata": {"name": name, "labels": labels}}
        made = self.registry.create(self.info, "root", namespace, body)
        return int(made["metadata"]["resourceVersion"])

    def label(self, name: str, **labels: str | None) -> None:
        body = {"metadata": {"labels": labels}}
        self.registry.patch(self.info, "root", "default", name, body)

    def open(self, representation: Representation | None = None, **query: Any) -> Watch:
        values = {key: [str(value)] for key, value in {"watch": 1, **query}.items()}
        request = parse_path("GET", "/api/v1/namespaces/default/configmaps", values)
        return Watch(
            self.registry,
            self.info,
            request,
            Selection.of(request, self.info, "root"),
            representation or Representation(),
            clock=self.clock,
            rng=random.Random(1),
        )

    def start(self, representation: Representation | None = None, **query: Any) -> _Run:
        watch = self.open(representation, **{"timeoutSeconds": 10, **query})
        return _Run(self, watch)


class _Run:
    def __init__(self, watcher: Watcher, watch: Watch) -> None:
        self._watcher = watcher
        self.events: list[Json] = []
        self.done = watcher.tasks.spawn(self._collect(watch), name="collect")

    async def _collect(self, watch: Watch) -> None:
        async for chunk in watch.lines(self._watcher.tasks):
            self.events += [msgspec.json.decode(line) for line in chunk.splitlines()]

    async def settle(self) -> list[tuple[str, str]]:
        for _ in range(10):
            await asyncio.sleep(0)
        return [(one["type"], one["object"]["metadata"].get("name", "")) for one in self.events]

    async def finish(self) -> list[tuple[str, str]]:
        await self.settle()
        while not self.done.done():
            self._watcher.clock.step(1)
            await self.settle()
        return await self.settle()


@pytest.fixture
async def watcher(plain: Registry, clock: FakeClock) -> AsyncIterator[Watcher]:
    tasks = TaskSet("test")
    yield Watcher(plain, clock, tasks)
    await tasks.close()


async def test_a_watch_from_a_version_sends_what_came_after(watcher: Watcher) -> None:
    start = watcher.add("a")
    watcher.add("b")
    run = watcher.start(resourceVersion=start)
    assert await run.settle() == [("ADDED", "b")]
    watcher.label("b", x="1")
    watcher.registry.delete(watcher.info, "root", "default", "b")
    assert await run.settle() == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_a_watch_without_a_version_starts_with_what_there_is(
    watcher: Watcher, query: Json
) -> None:
    watcher.add("a")
    run = watcher.start(**query)
    await run.settle()
    watcher.add("b")
    assert await run.settle() == [("ADDED", "a"), ("ADDED", "b")]


async def test_initial_events_can_be_turned_off(watcher: Watcher) -> None:
    watcher.add("a")
    query: Json = {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    run = watcher.start(**query, allowWatchBookmarks="true", timeoutSeconds=1)
    assert await run.finish() == []


async def test_initial_events_end_with_a_marked_bookmark(watcher: Watcher) -> None:
    watcher.add("a")
    run = watcher.start(allowWatchBookmarks="true")
    assert await run.settle() == [("ADDED", "a"), ("BOOKMARK", "")]
    meta = run.events[-1]["object"]["metadata"]
    assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert meta["resourceVersion"] == str(watcher.registry.store.revision)


async def test_without_bookmarks_there_is_no_mark(watcher: Watcher) -> None:
    run = watcher.start(sendInitialEvents="true", resourceVersionMatch="NotOlderThan")
    assert await run.settle() == []


async def test_entering_and_leaving_a_selector(watcher: Watcher) -> None:
    start = watcher.add("a", l="in")
    run = watcher.start(resourceVersion=start, labelSelector="l=in")
    watcher.label("a", l="out")
    await run.settle()
    left = run.events[0]
    assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"l": "in"})
    assert left["object"]["metadata"]["resourceVersion"] == str(watcher.registry.store.revision)
    watcher.label("a", other="1")
    watcher.label("a", l="in")
    watcher.label("a", other="2")
    assert await run.settle() == [("DELETED", "a"), ("ADDED", "a"), ("MODIFIED", "a")]


async def test_other_namespaces_are_not_seen(watcher: Watcher) -> None:
    run = watcher.start(resourceVersion=watcher.registry.store.revision)
    watcher.add("x", "kube-system")
    assert await run.settle() == []


async def test_it_ends_after_its_timeout(watcher: Watcher) -> None:
    run = watcher.start(timeoutSeconds=5)
    await run.settle()
    watcher.clock.step(3)
    await run.settle()
    watcher.clock.step(1.9)
    await run.settle()
    assert not run.done.done()
    watcher.clock.step(0.2)
    await run.settle()
    assert run.done.done()


async def test_a_bookmark_comes_before_the_end_when_something_was_written_anywhere(
    watcher: Watcher,
) -> None:
    start = watcher.add("a")
    run = watcher.start(resourceVersion=start, allowWatchBookmarks="true", timeoutSeconds=5)
    await run.settle()
    watcher.add("elsewhere", "kube-system")
    assert await run.finish() == [("BOOKMARK", "")]
    version = run.events[0]["object"]["metadata"]["resourceVersion"]
    assert version == str(watcher.registry.store.revision)


async def test_a_quiet_watch_shows_each_minute_that_it_is_alive(watcher: Watcher) -> None:
    start = watcher.add("a")
    run = watcher.start(resourceVersion=start, allowWatchBookmarks="true", timeoutSeconds=200)
    assert await run.finish() == [("BOOKMARK", "")] * 4  # the last just before the end


async def test_a_bookmark_skips_nothing_that_comes_while_others_are_sent(watcher: Watcher) -> None:
    start = watcher.add("a")
    watch = watcher.open(resourceVersion=start, allowWatchBookmarks="true", timeoutSeconds=200)
    lines = watch.lines(watcher.tasks)
    watcher.add("b")
    assert b'"b"' in await anext(lines)
    watcher.clock.step(61)
    watcher.add("c")
    assert b'"c"' in await anext(lines)
    assert b"BOOKMARK" in await anext(lines)
    await lines.aclose()


async def test_a_forgotten_version_is_an_error_event(watcher: Watcher) -> None:
    start = watcher.add("a")
    watcher.add("b")
    watcher.registry.store.compact()
    run = watcher.start(resourceVersion=start)
    await run.settle()
    assert run.events[0]["type"] == "ERROR"
    assert (run.events[0]["object"]["code"], run.events[0]["object"]["reason"]) == (410, "Expired")
    assert run.done.done()


async def test_a_version_from_before_a_restart_is_too_old_after_a_while(watcher: Watcher) -> None:
    run = watcher.start(resourceVersion=watcher.registry.store.revision + 1000)
    await run.settle()
    assert run.events == []
    watcher.clock.step(3)
    await run.settle()
    assert run.events[0]["object"]["code"] == 410


async def test_the_end_of_the_resource_ends_the_watch(watcher: Watcher) -> None:
    run = watcher.start()
    await run.settle()
    watcher.registry.store.end_watches("configmaps", "root")
    await run.settle()
    assert run.done.done()


async def test_a_watch_leaves_no_cursor_and_no_timer(watcher: Watcher) -> None:
    run = watcher.start(timeoutSeconds=1)
    await run.finish()
    assert len(watcher.tasks) == 0
    collection = watcher.registry.store._collection("configmaps")
    assert collection.cursors == {}


async def test_columns_are_sent_once(watcher: Watcher) -> None:
    watcher.add("a")
    watcher.add("b")
    run = watcher.start(Representation(transform="Table"))
    await run.settle()
    tables = [event["object"] for event in run.events]
    assert tables[0]["columnDefinitions"]
    assert tables[1]["columnDefinitions"] is None
    assert tables[1]["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_metadata_only(watcher: Watcher) -> None:
    watcher.add("a")
    run = watcher.start(Representation(transform="PartialObjectMetadata"))
    await run.settle()
    assert set(run.events[0]["object"]) == {"kind", "apiVersion", "metadata"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersion": "abc"}, 500),
        ({"timeoutSeconds": "abc"}, 400),
        ({"sendInitialEvents": "true"}, 422),
        ({"resourceVersionMatch": "NotOlderThan"}, 422),
    ],
)
async def test_bad_parameters_are_refused_before_the_stream(
    watcher: Watcher, query: Json, code: int
) -> None:
    with pytest.raises(StatusError) as caught:
        watcher.open(**query)
    assert caught.value.code == code
