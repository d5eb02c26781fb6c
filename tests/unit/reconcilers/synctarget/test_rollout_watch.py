"""The watch on a syncer's Deployment, against a scripted list and watch."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest

from kcpctl.client import AsyncClient, Call, Client, Response
from kcpctl.errors import NotFound
from kcpctl.reconcilers.synctarget.rollout import CONFIG_HASH_ANNOTATION
from kcpctl.reconcilers.synctarget.rollout_watch import RolloutWatch
from kcpctl.runtime import SYSTEM_CLOCK, IOLoop
from kcpctl.testing import eventually

KEY = "root|east"


def deployment(version: int, *, generation: int = 1, hash_: str = "h") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "syncer",
            "namespace": "ns",
            "uid": "u",
            "generation": generation,
            "resourceVersion": str(version),
            "annotations": {CONFIG_HASH_ANNOTATION: hash_},
        },
        "spec": {"replicas": 1},
        "status": {},
    }


class Cluster:
    """A transport: one list, then events that a test sends."""

    server = "https://east"

    def __init__(self, items: list[dict[str, Any]], *, answers: bool = True) -> None:
        self.items = items
        self.answers = answers
        self.calls: list[str] = []
        self.streams = 0
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def request(self, call: Call) -> Response:
        self.calls.append(call.path)
        if call.path.endswith("/syncer"):
            if not self.items:
                raise NotFound("no Deployment")
            return Response(200, {}, json.dumps(self.items[0]).encode())
        if not self.answers:
            await asyncio.Event().wait()
        body = {
            "kind": "DeploymentList",
            "apiVersion": "apps/v1",
            "metadata": {"resourceVersion": "10"},
            "items": self.items,
        }
        return Response(200, {}, json.dumps(body).encode())

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        assert call.query["fieldSelector"] == "metadata.name=syncer"
        self.streams += 1
        try:
            while True:
                yield await self.events.get()
        finally:
            self.streams -= 1

    async def close(self) -> None:
        pass

    def send(self, io_loop: IOLoop, type_: str, obj: dict[str, Any]) -> None:
        line = json.dumps({"type": type_, "object": obj}).encode() + b"\n"
        io_loop.call(lambda: self.events.put_nowait(line))


class Notes:
    """Counts notifications and waits for them."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, key: str) -> None:
        with self._changed:
            self.keys.append(key)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.keys) >= count, 5), self.keys


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def watch(io_loop: IOLoop, notes: Notes) -> Iterator[RolloutWatch]:
    watch = RolloutWatch(io_loop, notes, clock=SYSTEM_CLOCK)
    yield watch
    watch.close()


@pytest.fixture
def client_of(io_loop: IOLoop) -> Callable[[Cluster], Client]:
    return lambda cluster: Client(AsyncClient(cluster, cluster_name="root"), io_loop)


def test_until_the_first_list_the_deployment_is_read(
    watch: RolloutWatch, client_of: Callable[[Cluster], Client]
) -> None:
    cluster = Cluster([deployment(5)], answers=False)
    found = watch.observe(KEY, client_of(cluster), "ns", "syncer")
    assert found is not None
    assert found.config_hash == "h"
    assert watch.observe(KEY, client_of(Cluster([])), "ns", "syncer") is None


def test_afterwards_news_come_by_themselves_and_cost_no_request(
    io_loop: IOLoop,
    watch: RolloutWatch,
    notes: Notes,
    client_of: Callable[[Cluster], Client],
) -> None:
    cluster = Cluster([deployment(5)])
    client = client_of(cluster)
    watch.observe(KEY, client, "ns", "syncer")
    notes.wait(1)
    cluster.send(io_loop, "MODIFIED", deployment(11, generation=2, hash_="other"))
    notes.wait(2)
    before = len(cluster.calls)
    found = watch.observe(KEY, client, "ns", "syncer")
    assert found is not None
    assert (found.generation, found.config_hash) == (2, "other")
    cluster.send(io_loop, "DELETED", deployment(12, generation=2))
    notes.wait(3)
    assert watch.observe(KEY, client, "ns", "syncer") is None
    assert len(cluster.calls) == before


def test_reads_follow_ones_own_writes(
    io_loop: IOLoop,
    watch: RolloutWatch,
    notes: Notes,
    client_of: Callable[[Cluster], Client],
) -> None:
    cluster = Cluster([deployment(5)])
    client = client_of(cluster)
    watch.observe(KEY, client, "ns", "syncer")
    notes.wait(1)
    watch.applied(KEY, deployment(20, generation=2, hash_="new"))
    found = watch.observe(KEY, client, "ns", "syncer")
    assert found is not None
    assert found.config_hash == "new"
    # An older event does not undo it; the write's own event takes over.
    cluster.send(io_loop, "MODIFIED", {**deployment(15), "status": {"availableReplicas": 1}})
    notes.wait(2)
    assert watch.observe(KEY, client, "ns", "syncer") == found
    cluster.send(io_loop, "MODIFIED", deployment(21, generation=3, hash_="newest"))
    notes.wait(3)
    found = watch.observe(KEY, client, "ns", "syncer")
    assert found is not None
    assert found.config_hash == "newest"


def test_a_write_that_the_watch_has_seen_already_is_not_kept(
    io_loop: IOLoop,
    watch: RolloutWatch,
    notes: Notes,
    client_of: Callable[[Cluster], Client],
) -> None:
    cluster = Cluster([deployment(5, generation=2, hash_="seen")])
    client = client_of(cluster)
    watch.observe(KEY, client, "ns", "syncer")
    notes.wait(1)
    watch.applied(KEY, deployment(4, generation=2, hash_="late"))
    found = watch.observe(KEY, client, "ns", "syncer")
    assert found is not None
    assert found.config_hash == "seen"


def test_another_client_replaces_the_watch_and_there_is_one_at_most(
    io_loop: IOLoop,
    watch: RolloutWatch,
    notes: Notes,
    client_of: Callable[[Cluster], Client],
) -> None:
    """Row 82: no duplicate informers after a reconnect."""
    first, second = Cluster([deployment(5)]), Cluster([deployment(5)])
    watch.observe(KEY, client_of(first), "ns", "syncer")
    notes.wait(1)
    watch.observe(KEY, client_of(second), "ns", "syncer")
    notes.wait(2)
    assert first.streams == 0
    assert len(watch) == 1


def test_stopping_ends_the_watch_and_may_be_done_twice(
    io_loop: IOLoop,
    watch: RolloutWatch,
    notes: Notes,
    client_of: Callable[[Cluster], Client],
) -> None:
    cluster = Cluster([deployment(5)])
    watch.observe(KEY, client_of(cluster), "ns", "syncer")
    notes.wait(1)
    watch.stop(KEY)
    watch.stop(KEY)
    assert cluster.streams == 0
    assert len(watch) == 0


def test_a_cluster_that_is_removed_takes_its_watches_along(
    watch: RolloutWatch, notes: Notes, client_of: Callable[[Cluster], Client]
) -> None:
    gone, stays = Cluster([deployment(5)]), Cluster([deployment(5)])
    watch.observe("gone|east", client_of(gone), "ns", "syncer")
    watch.observe("stays|east", client_of(stays), "ns", "syncer")
    notes.wait(2)
    eventually(lambda: (gone.streams, stays.streams) == (1, 1))
    watch.remove(lambda key: key.startswith("gone|"))
    eventually(lambda: (gone.streams, stays.streams) == (0, 1))
    assert len(watch) == 1
