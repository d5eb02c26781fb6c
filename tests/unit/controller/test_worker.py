"""The loop of a worker: read-your-writes (CS) and clusters that go (MCR)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Call, Client, Response, Write
from kcpctl.controller import Request, Result
from kcpctl.errors import (
    Conflict,
    CrossWorkspaceAccess,
    DeadlineExceeded,
    KcpctlError,
    TerminalError,
    TransportTimeout,
)
from kcpctl.informers import EventHandler
from kcpctl.runtime import IOLoop, get_logger
from kcpctl.runtime.logging import current_fields
from kcpctl.testing import eventually
from kcpctl.testing.transport import FakeTransport
from kcpctl.workqueue import LOW_PRIORITY

if TYPE_CHECKING:
    from tests.unit.controller.conftest import Bench, FakeRegistration

KEY = "root|default/web"
SKIPS = "controller_stale_sync_skips_total"
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default", "uid": "u1", "resourceVersion": "11"},
}


class FakeCache:
    """An informer that has seen version 10."""

    description = "configmaps of root"
    resource_version = "10"
    spans_clusters = False

    def __init__(self, bench: Bench) -> None:
        self._informer = bench.informer

    def add_handler(
        self, handler: EventHandler, *, resync_seconds: float = 0.0
    ) -> FakeRegistration:
        return self._informer.add_handler(handler, resync_seconds=resync_seconds)

    def cache_of(self, write: Write) -> Self | None:
        return self if write.resource == CONFIG_MAPS else None


@pytest.fixture
def client() -> Iterator[Client]:
    with IOLoop("test-io") as io_loop:
        yield Client(AsyncClient(FakeTransport(OBJECT), cluster_name="root"), io_loop)


@pytest.fixture
def cache(bench: Bench) -> FakeCache:
    cache = FakeCache(bench)
    bench.controller.watches(cache)
    bench.informer.sync()
    return cache


@pytest.fixture
def write(client: Client) -> Callable[[Request], None]:
    def reconcile(request: Request) -> None:
        client.resource(CONFIG_MAPS).update(OBJECT)

    return reconcile


def held(bench: Bench, times: int) -> None:
    """Wait until the key was held so many times in all."""
    eventually(
        lambda: bench.metric(SKIPS) == times and bench.waiting() == {KEY: pytest.approx(0.1)},
        poll_seconds=0.001,
    )


def test_a_key_is_held_until_the_cache_has_seen_what_it_wrote(
    bench: Bench,
    cache: FakeCache,
    write: Callable[[Request], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """CS-08, CS-10: 100 ms at a time, counted, and neither a failure nor a reconcile."""
    bench.start(write, None)
    bench.run(KEY)
    bench.controller.enqueue(KEY)
    for times in (1, 2, 3):
        held(bench, times)
        bench.clock.step(0.1)
    held(bench, 4)
    assert bench.total() == 1
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0
    assert caplog.records == []
    cache.resource_version = "11"
    bench.clock.step(0.1)
    bench.settled(2)
    assert bench.metric(SKIPS) == 4


def test_the_event_that_was_waited_for_lets_the_key_go_at_once(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None]
) -> None:
    bench.start(write, None)
    bench.run(KEY)
    bench.controller.enqueue(KEY)
    held(bench, 1)
    cache.resource_version = "11"
    bench.controller.enqueue(KEY)
    bench.settled(2)
    assert bench.waiting() == {}


@pytest.mark.parametrize("end", [TransportTimeout("later"), Conflict("no")])
def test_what_a_failed_reconcile_wrote_counts_too(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None], end: Exception
) -> None:
    def write_and_fail(request: Request) -> None:
        write(request)
        raise end

    bench.start(write_and_fail, None)
    bench.run(KEY)
    bench.controller.enqueue(KEY)
    held(bench, 1)


def test_other_keys_are_not_held(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None]
) -> None:
    bench.start(write, None)
    bench.run(KEY)
    bench.run("root|default/other")
    assert bench.total() == 2


def test_an_informer_that_is_only_read_is_waited_for_too(
    bench: Bench, write: Callable[[Request], None]
) -> None:
    bench.controller.reads(FakeCache(bench))
    assert bench.informer.handlers == []
    bench.start(write, None)
    bench.run(KEY)
    bench.controller.enqueue(KEY)
    held(bench, 1)


def test_a_key_that_is_held_keeps_its_priority(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None]
) -> None:
    go_on = threading.Event()

    def wait(request: Request) -> None:
        go_on.wait(30)

    bench.start(write, wait, None)
    bench.run(KEY)
    bench.controller.queue.add(KEY, LOW_PRIORITY)
    held(bench, 1)
    bench.controller.enqueue("root|busy")
    eventually(lambda: bench.requests.qsize() == 2, poll_seconds=0.001)
    cache.resource_version = "11"
    bench.clock.step(0.1)
    bench.controller.enqueue("root|urgent")
    go_on.set()
    bench.settled(4)
    assert [bench.next().key for _ in range(4)][2:] == ["root|urgent", KEY]


def test_a_key_that_the_cache_never_shows_goes_on_after_30_seconds(
    bench: Bench,
    cache: FakeCache,
    write: Callable[[Request], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench.start(write, None)
    bench.run(KEY)
    bench.controller.enqueue(KEY)
    held(bench, 1)
    bench.clock.step(30)
    bench.settled(2)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# A time for each reconcile.


@pytest.fixture
def slow() -> Iterator[tuple[Client, FakeTransport]]:
    """A client of a server that never answers."""

    class Silent(FakeTransport):
        async def request(self, call: Call) -> Response:
            self.calls.append(call)
            await asyncio.Event().wait()
            raise AssertionError

    with IOLoop("test-io") as io_loop:
        yield Client(AsyncClient(transport := Silent(), cluster_name="root"), io_loop), transport


def test_a_reconcile_that_runs_out_of_time_fails_and_is_retried(
    bench: Bench, slow: tuple[Client, FakeTransport]
) -> None:
    """CL-14: what it waits for is cancelled, and nothing is sent any more."""
    client, transport = slow
    told: list[type[BaseException]] = []

    def stubborn(request: Request) -> None:
        for _ in range(2):
            try:
                client.resource(CONFIG_MAPS).update(OBJECT)
            except KcpctlError as error:
                told.append(type(error))
        client.resource(CONFIG_MAPS).update(OBJECT)

    bench.controller = bench.new_controller(reconcile_timeout_seconds=9)
    bench.start(stubborn, None)
    bench.controller.enqueue(KEY)
    eventually(lambda: transport.calls and bench.clock.sleepers, poll_seconds=0.001)
    bench.clock.step(8.9)
    assert told == []
    bench.clock.step(0.1)
    bench.settled(1)
    assert told == [DeadlineExceeded] * 2
    assert len(transport.calls) == 1
    assert bench.metric("controller_runtime_reconcile_timeouts_total") == 1
    assert bench.metric("controller_runtime_reconcile_panics_total") == 0
    assert bench.controller.queue.num_requeues(KEY) == 1


def test_an_error_of_another_kind_is_no_timeout(
    bench: Bench, client: Client, write: Callable[[Request], None]
) -> None:
    """CL-14: and each reconcile has the whole time."""

    def late(request: Request) -> None:
        write(request)
        bench.clock.step(8)
        raise TerminalError("never")

    bench.controller = bench.new_controller(reconcile_timeout_seconds=9)
    bench.start(late)
    bench.run(KEY)
    bench.run(KEY)
    assert bench.metric("controller_runtime_reconcile_timeouts_total") == 0
    assert bench.metric("controller_runtime_reconcile_errors_total") == 2


# Priorities, and the fields of logs.


def test_a_result_may_give_the_next_run_another_priority(bench: Bench) -> None:
    """CL-12."""
    first = threading.Event()

    def plan(request: Request) -> Result:
        bench.controller.enqueue("root|other")
        first.wait(30)
        return Result(requeue_after_seconds=0, priority=5)

    bench.start(plan, None)
    bench.controller.enqueue(KEY)
    bench.next()
    first.set()
    assert [bench.next().key, bench.next().key] == [KEY, "root|other"]


def test_the_fields_of_a_reconcile_are_one_and_the_same_wherever_they_are_asked(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """CL-15: also in tasks that took the context along."""
    seen: list[object] = []

    def look(request: Request) -> None:
        seen.append(current_fields()["reconcileID"])
        get_logger("kcpctl.test").warning("Hello", more=1)

    bench.start(look)
    bench.run(KEY)
    fields = caplog.records[0].__dict__["fields"]
    assert fields["reconcileID"] == seen[0]
    assert len(fields) == len(current_fields()) + 6


# Clusters that go.


def test_a_cluster_that_is_removed_leaves_nothing(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None]
) -> None:
    """MCR-04 fixed: ready, waiting and failed keys, and what they wrote; others stay."""
    controller, queue = bench.controller, bench.controller.queue
    go_on = threading.Event()

    def wait(request: Request) -> None:
        go_on.wait(30)

    bench.start(write, write, wait, None)
    bench.run("gone|wrote")
    bench.run("stays|wrote")
    controller.enqueue("stays|busy")
    eventually(lambda: bench.requests.qsize() == 3, poll_seconds=0.001)
    for key in ("gone|ready", "stays|ready"):
        queue.add(key)
        queue.add_rate_limited(key + "-failed")
    controller.remove("gone")
    controller.remove("gone")
    found = queue.snapshot()
    assert list(found.queued) == ["stays|ready"]
    assert list(found.waiting) == ["stays|ready-failed"]
    assert queue.num_requeues("gone|ready-failed") == 0
    go_on.set()
    bench.settled(4)
    bench.run("gone|wrote")
    assert bench.metric(SKIPS) == 0


@pytest.mark.parametrize(
    "end",
    [
        TransportTimeout("later"),
        Conflict("no"),
        ValueError("a bug"),
        Result(requeue_after_seconds=0),
        Result(requeue_after_seconds=9),
    ],
)
def test_nothing_follows_from_a_reconcile_whose_cluster_was_removed_meanwhile(
    bench: Bench, cache: FakeCache, write: Callable[[Request], None], end: Exception | Result
) -> None:
    """MCR-03, MCR-04: and what it made is dropped once more when it ends."""
    go_on = threading.Event()
    removed: list[bool] = []
    bench.controller.on_removal(lambda belongs: removed.append(belongs(KEY)))

    def wait(request: Request) -> Result:
        go_on.wait(30)
        write(request)
        if isinstance(end, Exception):
            raise end
        return end

    bench.start(wait, None)
    bench.controller.enqueue(KEY)
    bench.next()
    bench.controller.enqueue(KEY)
    bench.controller.remove("root")
    assert removed == [True]
    go_on.set()
    bench.settled(1)
    assert bench.waiting() == {}
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert removed == [True, True]
    bench.run(KEY)
    assert bench.metric(SKIPS) == 0


def test_cleaning_up_is_not_short_of_the_reconciles_time(bench: Bench, client: Client) -> None:
    """CL-14."""
    removed: list[object] = []
    bench.controller = bench.new_controller(reconcile_timeout_seconds=9)
    bench.controller.on_removal(
        lambda belongs: removed.append(client.resource(CONFIG_MAPS).get("a", namespace="default"))
    )

    def late(request: Request) -> None:
        bench.controller.remove("root")
        bench.clock.step(10)

    bench.start(late)
    bench.run(KEY)
    assert removed == [OBJECT, OBJECT]


def test_a_worker_outlives_what_cleans_up(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[object] = []

    def broken(belongs: object) -> None:
        calls.append(belongs)
        if len(calls) > 1:
            raise RuntimeError("a bug")

    bench.controller.on_removal(broken)
    bench.start(lambda request: bench.controller.remove("root"), None)
    bench.run(KEY)
    assert "left behind" in caplog.text
    bench.run(KEY)


def test_an_event_after_the_removal_counts(bench: Bench) -> None:
    """MCR-02: a cluster that comes back, while the last reconcile of before still runs."""
    go_on = threading.Event()

    def wait(request: Request) -> None:
        go_on.wait(30)

    bench.start(wait, TransportTimeout("later"))
    bench.controller.enqueue(KEY)
    bench.next()
    bench.controller.remove("root")
    bench.controller.enqueue(KEY)
    go_on.set()
    bench.settled(2)
    assert list(bench.waiting()) == [KEY]


# How many workers a cluster may have.


def limit(bench: Bench, *, spans_clusters: bool, **options: Any) -> int | None:
    cache = FakeCache(bench)
    cache.spans_clusters = spans_clusters
    controller = bench.new_controller(**options).watches(cache)
    return controller._fair._max_per_cluster


def test_one_cluster_of_many_leaves_a_worker_to_the_others(bench: Bench) -> None:
    assert limit(bench, spans_clusters=True, workers=4) == 3
    assert limit(bench, spans_clusters=True, workers=2) == 1
    assert limit(bench, spans_clusters=True, workers=1) is None
    assert limit(bench, spans_clusters=False, workers=4) is None
    assert limit(bench, spans_clusters=True, workers=4, max_per_cluster=2) == 2


def test_a_cluster_whose_reconciles_hang_does_not_stop_the_others(bench: Bench) -> None:
    go_on = threading.Event()
    bench.controller = bench.new_controller(workers=3)
    cache = FakeCache(bench)
    cache.spans_clusters = True
    bench.controller.watches(cache)
    bench.informer.sync()

    def hang(request: Request) -> None:
        if request.cluster == "bad":
            go_on.wait(30)

    bench.start(hang)
    for number in range(10):
        bench.controller.enqueue(f"bad|n{number}")
    eventually(lambda: bench.requests.qsize() == 2, poll_seconds=0.001)
    bench.controller.enqueue("good|n")
    eventually(lambda: bench.total() == 1, poll_seconds=0.001)
    assert bench.requests.qsize() == 3
    go_on.set()


def test_the_limit_of_a_queue_that_is_passed_in_is_its_own(bench: Bench) -> None:
    with pytest.raises(ValueError, match="its queue's own"):
        bench.new_controller(max_per_cluster=1, queue=bench.controller.queue)


# Isolation.


def test_a_reconcile_reaches_the_cluster_of_its_key_and_no_other(bench: Bench) -> None:
    transport = FakeTransport(OBJECT)
    aio = AsyncClient(transport, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
    outcomes: list[str] = []
    with IOLoop("test-io") as io_loop:
        maps = {name: Client(aio.cluster(name), io_loop).resource(CONFIG_MAPS) for name in "ab"}

        def reconcile(request: Request) -> None:
            for name, client in maps.items():
                try:
                    client.get("a", namespace="default")
                except CrossWorkspaceAccess:
                    outcomes.append(f"{request.cluster} may not reach {name}")

        bench.informer.sync()
        bench.start(reconcile)
        bench.run("a|default/web")
        bench.run("b|default/web")
        bench.run("a|default/web")
    assert outcomes == ["a may not reach b", "b may not reach a", "a may not reach b"]
    assert [call.path.split("/")[2] for call in transport.calls] == ["a", "b", "a"]
