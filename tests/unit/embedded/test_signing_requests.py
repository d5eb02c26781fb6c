from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.signing_requests import judged, keep_request, signed
from kcpctl.embedded.status import StatusError

Json = dict[str, Any]
APPROVED: Json = {
    "type": "Approved",
    "status": "True",
    "reason": "Known",
    "lastUpdateTime": "t1",
    "lastTransitionTime": "t1",
}


def request(**status: Any) -> Json:
    return {"metadata": {"name": "r"}, "spec": {"request": "x"}, "status": status}


def test_what_was_asked_for_stays() -> None:
    obj = {**request(), "spec": {"request": "y"}}
    keep_request(obj, request())
    assert obj["spec"] == {"request": "x"}


def test_approval_writes_the_conditions_alone() -> None:
    obj = request(conditions=[{"type": "Approved", "status": "True"}], certificate="mine")
    judged(obj, request(certificate="theirs"), "t2")
    times = {"lastUpdateTime": "t2", "lastTransitionTime": "t2"}
    condition = {"type": "Approved", "status": "True", **times}
    assert obj["status"] == {"certificate": "theirs", "conditions": [condition]}


def test_a_condition_that_was_there_keeps_the_time_of_its_transition() -> None:
    obj = request(conditions=[{"type": "Approved", "status": "True"}])
    judged(obj, request(conditions=[APPROVED]), "t2")
    (condition,) = obj["status"]["conditions"]
    assert (condition["lastUpdateTime"], condition["lastTransitionTime"]) == ("t2", "t1")


def test_a_signer_cannot_change_a_verdict() -> None:
    failed = {"type": "Failed", "status": "True", "lastUpdateTime": "t1"}
    obj = request(conditions=[{**APPROVED, "reason": "Forged"}, failed], certificate="c")
    signed(obj, request(conditions=[APPROVED]), "t2")
    assert obj["status"]["certificate"] == "c"
    assert obj["status"]["conditions"] == [APPROVED, {**failed, "lastTransitionTime": "t2"}]


def test_a_signer_cannot_give_a_verdict() -> None:
    with pytest.raises(StatusError, match='may not add a condition of type "Approved"') as refused:
        signed(request(conditions=[APPROVED]), request(), "t2")
    assert refused.value.code == 422
