"""The status of a Deployment: counts and conditions. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kcpctl.embedded.controllers.rollout import bounds, desired
from kcpctl.runtime import format_time, parse_time

__all__ = ["REPLICA_FAILURE", "counts", "deadline_left", "rollout_status", "set_condition"]

Json = dict[str, Any]
REPLICA_FAILURE: Final = "ReplicaFailure"


def counts(deployment: Json, new: Json | None, everything: Sequence[Json]) -> Json:
    """Return a status without conditions."""

    def total(field: str, sets: Sequence[Json]) -> int:
        return sum(int((entry.get("status") or {}).get(field) or 0) for entry in sets)

    available = total("availableReplicas", everything)
    status: Json = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": total("replicas", everything),
        "updatedReplicas": total("replicas", [new] if new else []),
        "readyReplicas": total("readyReplicas", everything),
        "availableReplicas": available,
        "unavailableReplicas": max(sum(desired(entry) for entry in everything) - available, 0),
    }
    status = {key: value for key, value in status.items() if value}
    status["terminatingReplicas"] = total("terminatingReplicas", everything)
    if (deployment.get("status") or {}).get("collisionCount"):
        status["collisionCount"] = deployment["status"]["collisionCount"]
    return status


def set_condition(
    conditions: Sequence[Json], kind: str, status: str, reason: str, message: str, now: float
) -> list[Json]:
    """Return the conditions with one set; it goes to the end unless status and reason hold."""
    old = next((entry for entry in conditions if entry["type"] == kind), None)
    if old is not None and old["status"] == status and old.get("reason") == reason:
        return list(conditions)
    stamp = format_time(now)
    moved = old["lastTransitionTime"] if old is not None and old["status"] == status else stamp
    condition = {
        "type": kind,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": moved,
        "reason": reason,
        "message": message,
    }
    return [entry for entry in conditions if entry["type"] != kind] + [condition]


def rollout_status(
    deployment: Json, new: Json | None, everything: Sequence[Json], now: float
) -> Json:
    """Return the whole status as the real controller would write it now."""
    old = deployment.get("status") or {}
    status = counts(deployment, new, everything)
    conditions = _failures(old.get("conditions") or (), new, everything, now)
    _, unavailable = bounds(deployment)
    if status.get("availableReplicas", 0) >= desired(deployment) - unavailable:
        conditions = set_condition(
            conditions,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    else:
        conditions = set_condition(
            conditions,
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    progress = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    finished = (
        status.get("replicas") == status.get("updatedReplicas")
        and progress is not None
        and progress["reason"] == "NewReplicaSetAvailable"
    )
    if not finished:
        conditions = _progress(deployment, status, conditions, progress, new, now)
    status["conditions"] = conditions
    return status


def _failures(
    conditions: Sequence[Json], new: Json | None, everything: Sequence[Json], now: float
) -> list[Json]:
    """Return the conditions with ReplicaFailure as the ReplicaSets have it, the new one first."""
    sets = [*([new] if new else ()), *everything]
    found = [
        condition
        for entry in sets
        for condition in (entry.get("status") or {}).get("conditions") or ()
        if condition["type"] == REPLICA_FAILURE
    ]
    if not found:
        return [entry for entry in conditions if entry["type"] != REPLICA_FAILURE]
    reason, message = found[0]["reason"], found[0]["message"]
    return set_condition(conditions, REPLICA_FAILURE, "True", reason, message, now)


def _progress(
    deployment: Json,
    status: Json,
    conditions: list[Json],
    current: Json | None,
    new: Json | None,
    now: float,
) -> list[Json]:
    name = new["metadata"]["name"] if new else deployment["metadata"]["name"]
    if _complete(deployment, status):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return set_condition(
            conditions, "Progressing", "True", "NewReplicaSetAvailable", message, now
        )
    if _moved(deployment.get("status") or {}, status):
        # Set anew even when nothing but the time changes: the deadline counts from here.
        kept = [entry for entry in conditions if entry["type"] != "Progressing"]
        message = f'ReplicaSet "{name}" is progressing.'
        conditions = set_condition(kept, "Progressing", "True", "ReplicaSetUpdated", message, now)
        if current is not None and current["status"] == "True":
            conditions[-1]["lastTransitionTime"] = current["lastTransitionTime"]
        return conditions
    left = deadline_left({**deployment, "status": {"conditions": conditions}}, now)
    if left is not None and left <= 0:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return set_condition(
            conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, now
        )
    return conditions


def _complete(deployment: Json, status: Json) -> bool:
    wanted = desired(deployment)
    return all(
        status.get(field, 0) == wanted
        for field in ("replicas", "updatedReplicas", "availableReplicas")
    )


def _moved(old: Json, new: Json) -> bool:
    def outdated(status: Json) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(new) < outdated(old) or any(
        new.get(field, 0) > old.get(field, 0) for field in grown
    )


def deadline_left(deployment: Json, now: float) -> float | None:
    """Return the seconds until progressDeadlineSeconds is over; None when nothing is waited for."""
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    progress = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    if deadline is None or progress is None:
        return None
    if progress["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    return parse_time(progress["lastUpdateTime"]) + float(deadline) - now
