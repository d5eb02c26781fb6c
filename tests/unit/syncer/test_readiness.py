from __future__ import annotations

from kcpctl.syncer.readiness import SessionState, syncer_ready


def told(state: SessionState) -> str:
    found = syncer_ready(state)
    return (
        ""
        if found is None
        else " ".join(filter(None, (found.status, found.severity, found.reason)))
    )


def test_nothing_is_said_before_the_work_has_begun() -> None:
    assert told(SessionState()) == ""


def test_a_working_session_is_connected() -> None:
    assert told(SessionState(working=True)) == "True SyncerConnected"


def test_a_suspended_one_says_so() -> None:
    assert told(SessionState(suspended=True)) == "False Info Suspended"


def test_a_target_that_is_being_deleted_is_draining_until_nothing_is_left() -> None:
    assert told(SessionState(working=True, drains=True)) == "False Info Draining"
    assert told(SessionState(working=True, drains=True, drained=True)) == "False Info Drained"
