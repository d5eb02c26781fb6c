"""The scale subresource: autoscaling/v1 Scale of a workload or a custom resource."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import Cause, invalid

__all__ = ["SCALE_INFO", "scale_of", "with_replicas"]

Json = dict[str, Any]

SCALE_INFO = ResourceInfo(
    group="autoscaling", version="v1", plural="scales", kind="Scale", storage_key="scales"
)


def _path(text: str) -> list[str]:
    return [part for part in text.split(".") if part]


def _get(obj: Json, path: list[str]) -> Any:
    found: Any = obj
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _set(obj: Json, path: list[str], value: Any) -> Json:
    head, *rest = path
    if not rest:
        return {**obj, head: value}
    return {**obj, head: _set(obj.get(head) or {}, rest, value)}


def _requirement(expression: Json) -> str:
    key, operator = expression.get("key", ""), expression.get("operator", "")
    values = ",".join(sorted(expression.get("values") or ()))
    texts: dict[str, str] = {"Exists": key, "DoesNotExist": f"!{key}"}
    return texts.get(operator, f"{key} {operator.lower()} ({values})")


def _selector_text(selector: Any) -> str:
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, dict):
        return ""
    labels = selector.get("matchLabels")
    expressions = selector.get("matchExpressions") or ()
    if labels is None and not expressions:
        labels = {key: value for key, value in selector.items() if isinstance(value, str)}
    parts = [f"{key}={value}" for key, value in (labels or {}).items()]
    return ",".join(sorted(parts + [_requirement(one) for one in expressions]))


def _paths(info: ResourceInfo) -> tuple[list[str], list[str], list[str]]:
    """Return the paths of the wanted and the present number of replicas, and of the selector."""
    custom = info.crd.scale if info.crd is not None else None
    if custom is None:
        return ["spec", "replicas"], ["status", "replicas"], ["spec", "selector"]
    return (
        _path(custom.get("specReplicasPath", "")),
        _path(custom.get("statusReplicasPath", "")),
        _path(custom.get("labelSelectorPath", "")),
    )


def scale_of(info: ResourceInfo, obj: Json) -> Json:
    """Return the Scale of an object."""
    meta = obj["metadata"]
    wanted, present, selector = _paths(info)
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": _get(obj, present) or 0}
    text = _selector_text(_get(obj, selector)) if selector else ""
    if text:
        status["selector"] = text
    replicas = _get(obj, wanted) or 0
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in fields if name in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def with_replicas(info: ResourceInfo, obj: Json, scale: Json) -> Json:
    """Return ``obj`` with the replicas of a Scale; raises 422 for a negative number."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    name = obj["metadata"]["name"]
    if replicas < 0:
        detail = "must be greater than or equal to 0"
        cause = Cause.invalid("spec.replicas", replicas, detail)
        raise invalid("Scale", "autoscaling", name, [cause])
    changed = _set(obj, _paths(info)[0], replicas)
    wanted = (scale.get("metadata") or {}).get("resourceVersion")
    meta = dict(obj["metadata"])
    meta.pop("resourceVersion", None)
    if wanted:
        meta["resourceVersion"] = wanted
    return {**changed, "metadata": meta}
