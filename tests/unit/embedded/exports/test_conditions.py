from __future__ import annotations

from typing import Any

from kcpctl.embedded.exports.conditions import condition, mark_false, mark_true, summarize

Json = dict[str, Any]


def test_ready_is_first_and_the_others_follow_by_name() -> None:
    status: Json = {}
    for kind in ("Ready", "Zebra", "Apple"):
        mark_true(status, kind, "t1")
    assert [one["type"] for one in status["conditions"]] == ["Ready", "Apple", "Zebra"]


def test_the_time_moves_with_anything_in_the_condition() -> None:
    status: Json = {}
    mark_false(status, "Valid", "Missing", "a is missing", "t1")
    mark_false(status, "Valid", "Missing", "a is missing", "t2")
    assert status["conditions"][0]["lastTransitionTime"] == "t1"
    mark_false(status, "Valid", "Missing", "b is missing", "t3")
    assert status["conditions"] == [
        {
            "type": "Valid",
            "status": "False",
            "severity": "Error",
            "reason": "Missing",
            "message": "b is missing",
            "lastTransitionTime": "t3",
        }
    ]


def test_a_status_that_others_hold_is_left_as_it_is() -> None:
    old: Json = {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "t1"}]}
    status = dict(old)
    mark_false(status, "A", "Why", "because", "t2")
    mark_true(status, "B", "t2")
    assert old["conditions"] == [{"type": "A", "status": "True", "lastTransitionTime": "t1"}]


def test_ready_says_what_one_condition_says() -> None:
    status: Json = {}
    mark_false(status, "Completed", "Waiting", "for names", "t1", severity="Info")
    mark_true(status, "Other", "t1")
    summarize(status, "Completed", "t2")
    ready = condition(status, "Ready")
    assert ready is not None
    assert (ready["status"], ready["severity"], ready["reason"]) == ("False", "Info", "Waiting")
