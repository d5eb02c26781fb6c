"""The run loop: CL-01 to CL-15 of the behaviours page, with the hazards mended."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from kcpctl.controller import Controller, GenerationChanged, LabelChanged, Request, Result
from kcpctl.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    NotConnected,
    NotLeading,
    TerminalError,
    TooManyRequests,
    TransportTimeout,
)
from kcpctl.testing import eventually
from kcpctl.workqueue.keys import cluster_of_key

if TYPE_CHECKING:
    from tests.unit.controller.conftest import Bench

KEY = "root|default/web"
DISCONNECTED = NotConnected("east", state="Disconnected", since=0.0)


class Bystander:
    def reconcile(self, request: Request) -> None: ...


# Failures.


@pytest.mark.parametrize(
    "error", [TransportTimeout("no answer"), AlreadyExists("exists"), ValueError("a bug")]
)
def test_an_error_is_counted_and_retried_with_back_off(bench: Bench, error: Exception) -> None:
    """CL-06."""
    bench.start(error)
    bench.run(KEY)
    assert bench.controller.queue.num_requeues(KEY) == 1
    assert KEY in bench.waiting()
    assert bench.metric("controller_runtime_reconcile_errors_total") == 1
    assert bench.metric("controller_runtime_reconcile_total", result="error") == 1
    bench.clock.step(60)
    bench.settled(2)


def test_failures_count_up_until_a_success_whatever_comes_in_between(bench: Bench) -> None:
    """CL-09."""
    bench.start(OSError("1"), OSError("2"), OSError("3"), None)
    for failures in (1, 2, 3, 0):
        bench.run(KEY)
        assert bench.controller.queue.num_requeues(KEY) == failures


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(3), KeyboardInterrupt()])
def test_a_bug_costs_neither_the_worker_nor_the_key(
    bench: Bench, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """CL-13: recovered, counted, retried; ``done`` ran, or the key would never come again."""
    bench.start(error, None)
    bench.run(KEY)
    assert bench.metric("controller_runtime_reconcile_panics_total") == 1
    assert bench.metric("controller_runtime_active_workers") == 0
    assert caplog.records[-1].levelno == logging.ERROR
    assert caplog.records[-1].exc_info is not None
    bench.clock.step(60)
    bench.settled(2)
    assert bench.metric("controller_runtime_reconcile_total", result="success") == 1


def test_an_expected_error_is_a_warning_and_no_panic(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start(TransportTimeout("no answer"))
    bench.run(KEY)
    assert bench.metric("controller_runtime_reconcile_panics_total") == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_failure_that_repeats_is_a_warning_once_and_one_that_changes_another(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    denied, lost = Forbidden("the claim is not accepted"), TransportTimeout("no answer")
    bench.start(denied, denied, lost, denied, None, denied)
    levels = []
    for _ in range(6):
        caplog.clear()
        bench.run(KEY)
        levels.append([one.levelno for one in caplog.records if one.levelno >= logging.WARNING])
    news, nothing = [logging.WARNING], list[int]()
    assert levels == [news, nothing, news, news, nothing, news]


def test_what_a_removed_cluster_failed_with_is_dropped(bench: Bench) -> None:
    bench.start(Forbidden("the claim is not accepted"))
    bench.run(KEY)
    assert bench.controller._repeats.get(KEY)
    bench.controller.remove(cluster_of_key(KEY))
    assert len(bench.controller._repeats) == 0


def test_a_terminal_error_waits_for_a_change_and_forgets(bench: Bench) -> None:
    """CL-10, and CL-11 mended: the next ordinary error starts at the shortest delay."""
    bench.start(OSError(), OSError(), TerminalError("spec is invalid"))
    for _ in range(3):
        bench.run(KEY)
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert bench.waiting() == {}
    assert bench.metric("controller_runtime_terminal_reconcile_errors_total") == 1


def test_a_conflict_comes_again_soon_and_is_no_failure(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """CL-06: of which this is none."""
    bench.start(Conflict("the object has been modified"), None)
    bench.run(KEY)
    assert bench.waiting() == {KEY: pytest.approx(0.1)}
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0
    assert bench.metric("controller_runtime_reconcile_total", result="requeue") == 1
    assert caplog.records == []


def test_a_conflict_with_another_field_manager_backs_off(bench: Bench) -> None:
    """A newer version does not end it, so the short delay would be a hot loop."""
    causes = [{"reason": "FieldManagerConflict", "field": ".spec.replicas"}]
    bench.start(Conflict("Apply failed with 1 conflict", details={"causes": causes}))
    bench.run(KEY)
    assert bench.controller.queue.num_requeues(KEY) == 1


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(7.0, 7.0), (3600.0, 30.0), (None, 1.0), (0.0, 1.0)]
)
def test_a_server_that_asks_to_slow_down_is_obeyed_up_to_30_seconds(
    bench: Bench, retry_after: float | None, wait: float
) -> None:
    bench.start(TooManyRequests("slow down", retry_after_seconds=retry_after))
    bench.run(KEY)
    assert bench.waiting() == {KEY: pytest.approx(wait)}
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0


def test_a_cluster_that_is_not_connected_parks_the_key_quietly(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """MCR-03, decision 15: not an error; the pool's notification wakes the key, or 30 s."""
    bench.start(DISCONNECTED, None)
    bench.run(KEY)
    assert bench.waiting() == {KEY: pytest.approx(30.0)}
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0
    assert caplog.records == []
    bench.controller.enqueue(KEY)
    bench.settled(2)
    assert bench.waiting() == {}


def test_a_key_whose_write_was_refused_for_want_of_the_lease_is_left_to_the_next_leader(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start(NotLeading("not sent"))
    bench.run(KEY)
    assert bench.waiting() == {}
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0
    assert caplog.records == []


@pytest.mark.parametrize("key", ["a|b|c", "root|x/y/z", "|web", "root|"])
def test_a_malformed_key_is_dropped_and_told(
    bench: Bench, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start()
    bench.run(key)
    assert bench.requests.empty()
    assert bench.waiting() == {}
    assert "Dropped a malformed key" in caplog.text


def test_a_value_error_of_the_reconciler_is_not_taken_for_a_malformed_key(bench: Bench) -> None:
    bench.start(ValueError("a bug"))
    bench.run(KEY)
    assert KEY in bench.waiting()


# Results.


def test_success_forgets_and_plans_nothing(bench: Bench) -> None:
    bench.start(OSError(), None)
    bench.run(KEY)
    bench.run(KEY)
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert bench.waiting() == {}


def test_requeue_after_forgets_and_comes_back_then(bench: Bench) -> None:
    """CL-07, KCP-34 fixed."""
    bench.start(OSError(), Result(requeue_after_seconds=40), None)
    bench.run(KEY)
    bench.run(KEY)
    assert bench.waiting() == {KEY: pytest.approx(40)}
    assert bench.controller.queue.num_requeues(KEY) == 0
    assert bench.metric("controller_runtime_reconcile_total", result="requeue_after") == 1
    bench.clock.step(39)
    assert bench.total() == 2
    bench.clock.step(1.1)
    bench.settled(3)


def test_an_event_cancels_the_planned_run(bench: Bench) -> None:
    bench.start(Result(requeue_after_seconds=40), None)
    bench.run(KEY)
    bench.run(KEY)
    assert bench.waiting() == {}


def test_the_request_is_the_key_taken_apart(bench: Bench) -> None:
    """MCR-01."""
    bench.start()
    bench.controller.enqueue(KEY)
    bench.controller.enqueue("abc|node-1")
    assert [bench.next(), bench.next()] == [
        Request(KEY, Request.from_key(KEY).cluster, "default", "web"),
        Request("abc|node-1", Request.from_key("abc|x").cluster, "", "node-1"),
    ]


def test_each_reconcile_logs_its_id_and_its_object(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """CL-15."""
    bench.start(TransportTimeout("no answer"), TransportTimeout("still none"))
    bench.run(KEY)
    bench.run(KEY)
    first, second = (record.__dict__["fields"] for record in caplog.records)
    assert (first["controller"], first["cluster"]) == ("test", "root")
    assert (first["namespace"], first["name"]) == ("default", "web")
    assert first["reconcileID"] != second["reconcileID"]


def test_a_cluster_scoped_object_has_no_namespace_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start(TransportTimeout("no answer"))
    bench.run("root|east")
    fields = caplog.records[0].__dict__["fields"]
    assert "namespace" not in fields
    assert fields["name"] == "east"


# Starting.


def test_a_controller_has_four_workers() -> None:
    """CL-04."""
    assert Controller("test", Bystander()).workers == 4


def test_what_comes_before_the_start_waits_in_the_queue(bench: Bench) -> None:
    """CL-16: a process that stands by has its caches and queues filled."""
    bench.controller.watches(bench.informer)
    bench.informer.sync(bench.cached("web", namespace="default"))
    assert bench.controller.synced
    assert bench.requests.empty()
    bench.start()
    assert bench.next().key == KEY


def test_workers_do_not_start_before_every_informer_has_synced(bench: Bench) -> None:
    """CL-01."""
    bench.controller.watches(bench.informer)
    assert bench.controller.waiting_for == ["deployments.apps of root"]
    with pytest.raises(RuntimeError, match=r"have synced: deployments\.apps of root"):
        bench.controller.start()
    bench.informer.sync()
    assert bench.controller.synced
    bench.controller.start()
    assert bench.controller.running


def test_starting_twice_is_an_error(bench: Bench) -> None:
    """CL-05."""
    bench.start()
    with pytest.raises(RuntimeError, match="started already"):
        bench.controller.start()


def test_watching_after_the_start_is_an_error(bench: Bench) -> None:
    bench.start()
    with pytest.raises(RuntimeError, match="before starting it"):
        bench.controller.watches(bench.informer)


def test_a_controller_without_workers_is_an_error(bench: Bench) -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        bench.new_controller("none", workers=0)


def test_a_key_is_never_reconciled_twice_at_once(bench: Bench) -> None:
    """WQ-01 through the whole loop: an event during a reconcile gives exactly one more."""
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    running: set[str] = set()
    clashes: list[str] = []

    def slow(request: Request) -> None:
        if request.key in running:
            clashes.append(request.key)
        running.add(request.key)
        begun.release()
        assert go_on.acquire(timeout=30)
        running.discard(request.key)

    controller = bench.controller = bench.new_controller("many", workers=4)
    bench.start(slow)
    controller.enqueue(KEY)
    assert begun.acquire(timeout=30)
    for _ in range(10):
        controller.enqueue(KEY)
    assert not begun.acquire(timeout=0.05)
    go_on.release()
    assert begun.acquire(timeout=30)
    go_on.release()
    eventually(lambda: not controller.queue.snapshot().processing, poll_seconds=0.001)
    assert bench.requests.qsize() == 2
    assert clashes == []


def test_workers_run_side_by_side(bench: Bench) -> None:
    together = threading.Barrier(4, timeout=5)

    def meet(request: Request) -> None:
        together.wait()

    bench.controller = bench.new_controller("test", workers=4)
    bench.start(meet)
    for number in range(4):
        bench.controller.enqueue(f"root|n{number}")
    bench.settled(4)
    assert bench.metric("controller_runtime_max_concurrent_reconciles") == 4
    assert bench.metric("controller_runtime_reconcile_errors_total") == 0


# Stopping.


def test_stop_finishes_what_is_queued(bench: Bench) -> None:
    """CL-22 mended."""
    bench.start()
    for number in range(100):
        bench.controller.enqueue(f"root|n{number}")
    assert bench.controller.stop(5)
    assert bench.requests.qsize() == 100
    assert not bench.controller.running


def test_stop_takes_no_more_events_and_no_more_keys(bench: Bench) -> None:
    bench.controller.watches(bench.informer)
    bench.informer.sync()
    bench.start()
    bench.controller.stop(5)
    assert bench.informer.registrations[0].removed
    bench.controller.enqueue(KEY)
    assert len(bench.controller.queue) == 0


def test_a_reconcile_that_does_not_end_is_named_and_left_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    def hang(request: Request) -> None:
        go_on.wait(30)

    bench.start(hang)
    bench.controller.enqueue(KEY)
    bench.next()
    assert not bench.controller.stop(0)
    fields = caplog.records[-1].__dict__["fields"]
    assert fields["keys"] == KEY
    go_on.set()
    assert bench.controller.stop(5)


def test_after_a_stop_in_vain_nothing_more_is_begun_or_complained_about(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """What the reconciles need is closed by then."""
    go_on = threading.Event()

    def hang(request: Request) -> None:
        go_on.wait(30)
        raise RuntimeError("the I/O loop is closed")

    bench.start(hang)
    bench.controller.enqueue(KEY)
    bench.next()
    bench.controller.enqueue("root|default/next")
    assert not bench.controller.stop(0)
    caplog.clear()
    go_on.set()
    assert bench.controller.stop(5)
    assert bench.requests.empty()
    assert [one for one in caplog.records if one.levelno >= logging.INFO] == []


def test_stopping_twice_or_before_the_start_is_fine(bench: Bench) -> None:
    assert bench.controller.stop(1)
    assert bench.controller.stop(1)
    with pytest.raises(RuntimeError):
        bench.controller.start()


def test_no_thread_is_left(bench: Bench) -> None:
    bench.start()
    bench.controller.stop(5)
    assert "test-0" not in [thread.name for thread in threading.enumerate()]


# Events.


def test_events_enqueue_the_objects_own_key(bench: Bench) -> None:
    bench.controller.watches(bench.informer)
    obj = bench.cached("web", namespace="default")
    bench.informer.sync(obj)
    assert list(bench.controller.queue.snapshot().queued) == [KEY]


def test_an_object_that_is_gone_is_reconciled_too(bench: Bench) -> None:
    bench.controller.watches(bench.informer)
    bench.informer.delete(bench.cached("web", namespace="default"))
    assert list(bench.controller.queue.snapshot().queued) == [KEY]


def test_events_that_a_predicate_holds_back_enqueue_nothing(bench: Bench) -> None:
    bench.controller.watches(bench.informer, predicates=[GenerationChanged(), LabelChanged()])
    old, new = bench.cached(generation=1), bench.cached(generation=2)
    bench.informer.update(old, new)
    assert bench.controller.queue.snapshot().queued == {}
    bench.informer.update(old, bench.cached(generation=2, labels={"a": "b"}))
    assert list(bench.controller.queue.snapshot().queued) == ["root|web"]


def test_a_mapping_gives_other_keys_and_each_once(bench: Bench) -> None:
    bench.controller.watches(bench.informer, map_to=lambda obj: ["root|a", "root|b", "root|a"])
    bench.informer.sync(bench.cached())
    assert list(bench.controller.queue.snapshot().queued) == ["root|a", "root|b"]


def test_an_object_that_changes_its_owner_concerns_both(bench: Bench) -> None:
    bench.controller.watches(bench.informer, map_to=lambda obj: [f"root|{obj.meta.labels['of']}"])
    bench.informer.update(bench.cached(labels={"of": "a"}), bench.cached(labels={"of": "b"}))
    assert list(bench.controller.queue.snapshot().queued) == ["root|a", "root|b"]


def test_a_new_generation_starts_the_back_off_over(bench: Bench) -> None:
    """Pitfall 11: a mended spec does not wait for the failures of the broken one."""
    bench.controller.watches(bench.informer)
    queue = bench.controller.queue
    for _ in range(20):
        queue.add_rate_limited("root|web")
    bench.informer.update(bench.cached(generation=1), bench.cached(generation=1))
    assert queue.num_requeues("root|web") == 20
    bench.informer.update(bench.cached(generation=1), bench.cached(generation=2))
    assert queue.num_requeues("root|web") == 0
    assert queue.snapshot().waiting == {}


def test_watches_can_be_chained(bench: Bench) -> None:
    controller = bench.controller.watches(bench.informer).watches(bench.informer)
    assert controller is bench.controller
    assert not controller.synced
    bench.informer.sync()
    assert controller.synced


def test_a_watch_may_ask_for_resyncs(bench: Bench) -> None:
    """CL-18, INF-38, RF-42: without being asked there are none."""
    bench.controller.watches(bench.informer)
    assert bench.informer.resync_seconds == 0
    bench.controller.watches(bench.informer, resync_seconds=600)
    assert bench.informer.resync_seconds == 600
