from __future__ import annotations

from typing import Any

from kcpctl.embedded.controllers.deployment_status import (
    deadline_left,
    rollout_status,
    set_condition,
)

NOW = 1_700_000_000.0


def deployment(replicas: int = 2, status: Any = None, **spec: Any) -> Any:
    return {
        "metadata": {"name": "web", "generation": 3},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 600, **spec},
        "status": status or {},
    }


def replica_set(replicas: int, available: int, name: str = "web-1") -> Any:
    status = {"replicas": replicas, "availableReplicas": available, "readyReplicas": available}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas}, "status": status}


def condition(status: Any, kind: str) -> Any:
    return next(entry for entry in status["conditions"] if entry["type"] == kind)


def test_a_deployment_without_available_pods_says_so() -> None:
    new = replica_set(2, 0)
    status = rollout_status(deployment(), new, [new], NOW)
    assert condition(status, "Available")["reason"] == "MinimumReplicasUnavailable"
    assert status["unavailableReplicas"] == 2
    assert "availableReplicas" not in status


def test_a_rollout_that_does_not_move_times_out_once() -> None:
    new = replica_set(2, 0)
    before = rollout_status(deployment(), new, [new], NOW)
    assert condition(before, "Progressing")["reason"] == "ReplicaSetUpdated"
    assert deadline_left(deployment(status=before), NOW + 100) == 500
    after = rollout_status(deployment(status=before), new, [new], NOW + 601)
    timed_out = condition(after, "Progressing")
    assert (timed_out["status"], timed_out["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert deadline_left(deployment(status=after), NOW + 700) is None
    assert rollout_status(deployment(status=after), new, [new], NOW + 900) == after


def test_progress_moves_the_deadline_but_not_the_transition() -> None:
    new = replica_set(2, 0)
    before = rollout_status(deployment(), new, [new], NOW)
    new = replica_set(2, 1)
    after = rollout_status(deployment(status=before), new, [new], NOW + 60)
    first, second = condition(before, "Progressing"), condition(after, "Progressing")
    assert second["lastTransitionTime"] == first["lastTransitionTime"]
    assert second["lastUpdateTime"] != first["lastUpdateTime"]


def test_a_finished_rollout_has_the_status_of_the_real_controller() -> None:
    new = replica_set(2, 2)
    before = rollout_status(deployment(), replica_set(2, 0), [replica_set(2, 0)], NOW)
    status = rollout_status(deployment(status=before), new, [new], NOW)
    conditions = status.pop("conditions")
    assert status == {
        "observedGeneration": 3,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "terminatingReplicas": 0,
    }
    assert [(entry["type"], entry["status"], entry["reason"]) for entry in conditions] == [
        ("Available", "True", "MinimumReplicasAvailable"),
        ("Progressing", "True", "NewReplicaSetAvailable"),
    ]
    assert conditions[1]["message"] == 'ReplicaSet "web-1" has successfully progressed.'


def test_a_finished_rollout_that_is_scaled_stays_finished() -> None:
    new = replica_set(2, 2)
    done = rollout_status(deployment(), new, [new], NOW)
    grown = replica_set(5, 2)
    status = rollout_status(deployment(5, status=done), grown, [grown], NOW + 60)
    assert condition(status, "Progressing")["reason"] == "NewReplicaSetAvailable"


def test_a_condition_that_says_the_same_is_left_alone() -> None:
    first = set_condition([], "Available", "True", "Good", "m", NOW)
    assert set_condition(first, "Available", "True", "Good", "other", NOW + 9) == first
    moved = set_condition(first, "Available", "True", "Better", "m", NOW + 9)
    assert moved[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    flipped = set_condition(first, "Available", "False", "Bad", "m", NOW + 9)
    assert flipped[0]["lastTransitionTime"] != first[0]["lastTransitionTime"]
