"""What a scheduler's Binding makes of a Pod."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.status import StatusError, bad_request

__all__ = ["bound_pod"]

Json = dict[str, Any]


def bound_pod(pod: Json, binding: Json, now: str) -> Json:
    """Return a Pod on the node that its scheduler has chosen; raises 400, and 409 if it has one."""
    node = (binding.get("target") or {}).get("name")
    if not node:
        raise bad_request("the Binding has no target.name")
    if (pod.get("spec") or {}).get("nodeName"):
        name = pod["metadata"]["name"]
        raise StatusError(
            409,
            "Conflict",
            f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already '
            f'assigned to node "{pod["spec"]["nodeName"]}"',
            {"name": name, "kind": "pods/binding"},
        )
    condition = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    status = pod.get("status") or {}
    others = [one for one in status.get("conditions") or () if one["type"] != "PodScheduled"]
    return {
        **pod,
        "metadata": dict(pod["metadata"]),
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**status, "conditions": [*others, condition]},
    }
