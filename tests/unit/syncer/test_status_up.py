from __future__ import annotations

from typing import Any

import pytest

from kcpctl.syncer.fingerprint import Applied
from kcpctl.syncer.status_up import upstream_status

APPLIED = Applied(desired=b"", uid="down", live=b"", generation=7, downstream_generation=3)


def down(generation: int, observed: int | None, **status: Any) -> dict[str, Any]:
    if observed is not None:
        status["observedGeneration"] = observed
    return {"metadata": {"uid": "down", "generation": generation}, "status": status}


def test_row_31_the_whole_status_goes_up() -> None:
    live = {"metadata": {}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    assert upstream_status(live, {}, None) == live["status"]


@pytest.mark.parametrize("status", [None, {}, "x"])
def test_no_status_is_no_report(status: object) -> None:
    assert upstream_status({"metadata": {}, "status": status}, {}, APPLIED) is None


@pytest.mark.parametrize(
    ("name", "live", "applied", "reported"),
    [
        ("the cluster has acted on it", down(3, 3, replicas=2), APPLIED, 7),
        ("others changed it since, and that is done too", down(5, 5, replicas=2), APPLIED, 7),
        ("the cluster has not seen it", down(3, 2, replicas=2), APPLIED, 4),
        ("the cache is older than the apply", down(2, 2, replicas=2), APPLIED, 4),
        ("nothing was applied by this process", down(3, 3, replicas=2), None, 4),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_observed_generation_is_the_upstream_one(
    name: str, live: dict[str, Any], applied: Applied | None, reported: int
) -> None:
    upstream = {"status": {"observedGeneration": 4}}
    status = upstream_status(live, upstream, applied)
    assert status == {"replicas": 2, "observedGeneration": reported}


def test_observed_generation_of_a_predecessor_does_not_count() -> None:
    live = down(3, 3)
    live["metadata"]["uid"] = "another"
    assert upstream_status(live, {}, APPLIED) == {}
