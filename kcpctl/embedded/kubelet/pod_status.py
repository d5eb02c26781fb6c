"""The status of a Pod. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcpctl.runtime import format_time

__all__ = ["fake_container_status", "pod_status", "scheduled_condition"]

Json = dict[str, Any]


def scheduled_condition(old: Json, *, why_not: str, now: float) -> Json:
    """Return the PodScheduled condition; ``why_not`` is "" for a Pod that is scheduled."""
    condition: Json = {"type": "PodScheduled", "status": "False" if why_not else "True"}
    if why_not:
        condition["reason"] = "Unschedulable"
        condition["message"] = f"0/1 nodes are available: 1 {why_not}."
    return _with_time(old, condition, now)


def _with_time(old: Json, condition: Json, now: float) -> Json:
    before = next(
        (entry for entry in old.get("conditions") or () if entry["type"] == condition["type"]), None
    )
    same = before is not None and before["status"] == condition["status"]
    moved = before["lastTransitionTime"] if before is not None and same else format_time(now)
    return {
        "type": condition["type"],
        "status": condition["status"],
        "lastProbeTime": None,
        "lastTransitionTime": moved,
        **{key: condition[key] for key in ("reason", "message") if key in condition},
    }


def fake_container_status(container: Json, old: Json, now: float, *, init: bool) -> Json:
    """Return the status of a container that is only said to run (or, ``init``, to have run)."""
    field = "initContainerStatuses" if init else "containerStatuses"
    for before in old.get(field) or ():
        if before["name"] == container["name"]:
            return {**before}
    stamp = format_time(now)
    ended = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": stamp,
        "finishedAt": stamp,
    }
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": True,
        "started": not init,
        "restartCount": 0,
        "state": {"terminated": ended} if init else {"running": {"startedAt": stamp}},
        "lastState": {},
    }


def pod_status(
    pod: Json,
    address: str,
    containers: Sequence[Json],
    now: float,
    *,
    init_containers: Sequence[Json] = (),
    exit_codes: Sequence[int | None] = (),
) -> Json:
    """Return the whole status for the containers' statuses.

    ``exit_codes`` has one entry per container: its exit code when it is finished for good.
    """
    old = pod.get("status") or {}
    finished = bool(exit_codes) and all(code is not None for code in exit_codes)
    phase = "Pending"
    if finished:
        phase = "Succeeded" if not any(exit_codes) else "Failed"
    elif any("waiting" not in entry["state"] or entry["restartCount"] for entry in containers):
        phase = "Running"
    unready = [entry["name"] for entry in containers if not entry["ready"]]
    ready: Json = {"status": "True"}
    if finished:
        ready = {"status": "False", "reason": "PodCompleted"}
    elif unready:
        names = " ".join(unready)
        message = f"containers with unready status: [{names}]"
        ready = {"status": "False", "reason": "ContainersNotReady", "message": message}
    wanted = [
        {"type": "PodReadyToStartContainers", "status": "True"},
        {"type": "Initialized", "status": "True"},
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
        {"type": "PodScheduled", "status": "True"},
    ]
    status = {
        **old,
        "phase": phase,
        "conditions": [_with_time(old, condition, now) for condition in wanted],
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": old.get("startTime") or format_time(now),
        "containerStatuses": list(containers),
    }
    if init_containers:
        status["initContainerStatuses"] = list(init_containers)
    return status
