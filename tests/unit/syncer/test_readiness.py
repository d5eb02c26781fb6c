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


def test_a_cluster_that_is_not_reached_is_told_even_before_the_work_has_begun() -> None:
    found = syncer_ready(SessionState(unreachable="no route"))
    assert found is not None
    assert (found.status, found.severity, found.reason) == ("False", "Error", "SyncerDisconnected")
    assert found.message == "no route"


def test_a_suspended_one_has_nothing_else_to_say() -> None:
    assert told(SessionState(suspended=True, unreachable="no route")) == "False Info Suspended"


FAILING = {f"syncer-secrets root:demo|shop/{name}": "Forbidden" for name in "edcba"}


def test_objects_that_fail_degrade_and_three_are_named() -> None:
    found = syncer_ready(SessionState(working=True, failing=FAILING))
    assert found is not None
    assert (found.status, found.severity, found.reason) == ("False", "Warning", "SyncFailed")
    assert found.message == (
        "Not synced for more than 30s: secrets shop/a (Forbidden), secrets shop/b (Forbidden), "
        "secrets shop/c (Forbidden) and others; the syncer logs why"
    )


def test_a_collision_comes_first() -> None:
    collision = {"syncer-services root:demo|shop/z": "NamespaceCollision"}
    found = syncer_ready(SessionState(working=True, failing=FAILING | collision))
    assert found is not None
    assert found.reason == "NamespaceCollision"
    assert ": services shop/z (NamespaceCollision), secrets shop/a" in found.message
    assert told(SessionState(unreachable="no route", failing=collision)).startswith("False Error")


def test_a_target_that_is_being_deleted_is_draining_until_nothing_is_left() -> None:
    assert told(SessionState(working=True, drains=True)) == "False Info Draining"
    assert told(SessionState(working=True, drains=True, drained=True)) == "False Info Drained"
