from __future__ import annotations

import pytest

from kcpctl.controller import Request, Result
from kcpctl.errors import ServiceUnavailable
from kcpctl.runtime import SYSTEM_CLOCK, Clock
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.progress import SETTLED, Pass, Progress, Tracked
from kcpctl.testing import FakeClock

REQUEST = Request.from_key("root|shop/web")


class Scripted:
    """A step that does what it is told, one thing after the other."""

    def __init__(self, *script: Pass | Exception) -> None:
        self._script = list(script)

    def sync(self, request: Request) -> Pass:
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


def tracked(*script: Pass | Exception, clock: Clock = SYSTEM_CLOCK) -> tuple[Tracked, Progress]:
    progress = Progress(clock)
    return Tracked("syncer-x", Scripted(*script), progress), progress


def test_a_write_is_unsettled_until_the_next_pass() -> None:
    reconciler, progress = tracked(Pass(settled=False), SETTLED)
    reconciler.reconcile(REQUEST)
    assert progress.unsettled == ["syncer-x root|shop/web"]
    assert not progress.take_complete()
    reconciler.reconcile(REQUEST)
    assert progress.unsettled == []
    assert progress.take_complete()
    assert not progress.take_complete()


def test_a_failure_is_a_problem_until_it_passes_and_goes_on_to_the_controller() -> None:
    reconciler, progress = tracked(ServiceUnavailable("later"), SETTLED)
    with pytest.raises(ServiceUnavailable):
        reconciler.reconcile(REQUEST)
    assert progress.problems == {"syncer-x root|shop/web": "later"}
    reconciler.reconcile(REQUEST)
    assert progress.problems == {}


def test_a_problem_is_logged_when_it_changes_only(caplog: pytest.LogCaptureFixture) -> None:
    refused = Pass(problem="not ours", again_in_seconds=60)
    reconciler, _ = tracked(refused, refused, Pass(problem="another"))
    assert reconciler.reconcile(REQUEST) == Result(requeue_after_seconds=60)
    reconciler.reconcile(REQUEST)
    assert caplog.text.count("Not synced") == 1
    reconciler.reconcile(REQUEST)
    assert caplog.text.count("Not synced") == 2


def test_a_closed_gate_is_no_failure() -> None:
    reconciler, progress = tracked(GateClosed("gone"))
    assert reconciler.reconcile(REQUEST) == Result(requeue_after_seconds=5)
    assert progress.problems == {}


def test_nothing_done_is_no_complete_pass() -> None:
    assert not Progress().take_complete()


def test_a_problem_lasts_from_its_first_failure_until_it_passes() -> None:
    clock = FakeClock()
    refused = Pass(problem="theirs", reason="NotOurs")
    reconciler, progress = tracked(refused, ServiceUnavailable("later"), SETTLED, clock=clock)
    reconciler.reconcile(REQUEST)
    clock.step(29)
    assert progress.lasting(30) == {}
    with pytest.raises(ServiceUnavailable):
        reconciler.reconcile(REQUEST)
    clock.step(1)
    assert progress.lasting(30) == {"syncer-x root|shop/web": "ServiceUnavailable"}
    reconciler.reconcile(REQUEST)
    assert progress.lasting(0) == {}
