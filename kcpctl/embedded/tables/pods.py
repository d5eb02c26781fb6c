"""The row of a Pod: its status in one word, ready containers, restarts."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.tables.durations import age, human, parse_time

__all__ = ["pod_row"]

Json = dict[str, Any]


def pod_row(pod: Json, now: float) -> list[Any]:
    """Return the cells after the name."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    initializing = _init_reason(status.get("initContainerStatuses") or [], spec)
    reason = initializing or _reason(statuses, status)
    if pod["metadata"].get("deletionTimestamp"):
        finished = status.get("phase") in {"Succeeded", "Failed"}
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif not finished:
            reason = "Terminating"
    ready = 0 if initializing else sum(_is_ready(container) for container in statuses)
    total = len(spec.get("containers") or ())
    addresses = [address.get("ip", "") for address in status.get("podIPs") or ()]
    return [
        f"{ready}/{total}",
        reason,
        _restarts(statuses, now),
        age(pod["metadata"].get("creationTimestamp"), now),
        (addresses[0] if addresses else status.get("podIP")) or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _state(container: Json) -> Json:
    state: Json = container.get("state") or {}
    return state


def _is_ready(container: Json) -> bool:
    return container.get("ready") is True and "running" in _state(container)


def _init_reason(statuses: list[Json], spec: Json) -> str:
    for index, container in enumerate(statuses):
        state = _state(container)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None:
            if terminated.get("exitCode") == 0:
                continue
            return f"Init:{terminated.get('reason') or _exit(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(spec.get('initContainers') or ())}"
    return ""


def _exit(terminated: Json) -> str:
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _reason(statuses: list[Json], status: Json) -> str:
    reason = str(status.get("reason") or status.get("phase") or "")
    running = False
    # The first container has the last word.
    for container in reversed(statuses):
        state = _state(container)
        terminated = state.get("terminated")
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif terminated is not None:
            reason = terminated.get("reason") or _exit(terminated)
        elif _is_ready(container):
            running = True
    if reason == "Completed" and running:
        reason = "Running" if _condition(status, "Ready") else "NotReady"
    return reason


def _condition(status: Json, kind: str) -> bool:
    return any(
        condition.get("type") == kind and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def _restarts(statuses: list[Json], now: float) -> str:
    count = sum(container.get("restartCount", 0) for container in statuses)
    ends = [
        parse_time(((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
        for container in statuses
    ]
    last = max((end for end in ends if end is not None), default=None)
    return f"{count} ({human(now - last)} ago)" if count and last is not None else str(count)


def _gates(spec: Json, status: Json) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    passed = sum(_condition(status, gate.get("conditionType", "")) for gate in gates)
    return f"{passed}/{len(gates)}"
