"""The rows of workloads: the cells after the name."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.tables.cells import Json, Row, created, part
from kcpctl.embedded.tables.durations import age, human, parse_time
from kcpctl.embedded.tables.pods import pod_row
from kcpctl.embedded.tables.selectors import containers, images, labels, selector

__all__ = ["WORKLOADS"]


def _pod_template(obj: Json, _now: float) -> list[Any]:
    template = part(obj, "template")
    meta = template.get("metadata") or {}
    return [containers(obj), images(obj), labels(meta.get("labels"))]


def _replicas(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    chosen = spec.get("selector")
    plain = obj.get("kind") == "ReplicationController"
    return [
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        containers(spec),
        images(spec),
        labels(chosen) if plain else selector(chosen),
    ]


def _revision(obj: Json, now: float) -> list[Any]:
    owners = obj["metadata"].get("ownerReferences") or ()
    controller = next((o for o in owners if o.get("controller")), None)
    group = controller.get("apiVersion", "").partition("/")[0] if controller else ""
    kind = f"{controller['kind'].lower()}.{group}" if controller else ""
    shown = f"{kind}/{controller['name']}" if controller else "<none>"
    return [shown, obj.get("revision", 0), created(obj, now)]


def _daemon_set(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    template = (spec.get("template") or {}).get("spec") or {}
    return [
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels(template.get("nodeSelector")),
        created(obj, now),
        containers(spec),
        images(spec),
        selector(spec.get("selector")),
    ]


def _deployment(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        containers(spec),
        images(spec),
        selector(spec.get("selector")),
    ]


def _stateful_set(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [ready, created(obj, now), containers(spec), images(spec)]


def _cron_job(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    template = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        str(spec.get("suspend", False)),
        len(status.get("active") or ()),
        age(last, now) if last else "<none>",
        created(obj, now),
        containers(template),
        images(template),
        selector(template.get("selector")),
    ]


def _job(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    wanted = spec.get("completions")
    done = status.get("succeeded", 0)
    parallel = spec.get("parallelism", 1)
    total = wanted if wanted is not None else f"1 of {parallel}" if parallel > 1 else 1
    start, end = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = "" if start is None else human((end or now) - start)
    return [
        _job_status(obj),
        f"{done}/{total}",
        duration,
        created(obj, now),
        containers(spec),
        images(spec),
        selector(spec.get("selector")),
    ]


def _job_status(obj: Json) -> str:
    conditions = part(obj, "status").get("conditions") or ()
    true = {c.get("type") for c in conditions if c.get("status") == "True"}
    names = {"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended"}
    names |= {"FailureTarget": "FailureTarget", "SuccessCriteriaMet": "SuccessCriteriaMet"}
    found = next((shown for name, shown in names.items() if name in true), "")
    if not found and obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return found or "Running"


def _autoscaler(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    target = spec.get("scaleTargetRef") or {}
    return [
        f"{target.get('kind')}/{target.get('name')}",
        ", ".join(_metric(metric) for metric in spec.get("metrics") or ()) or "<none>",
        str(spec.get("minReplicas", "<unset>")),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        created(obj, now),
    ]


def _metric(metric: Json) -> str:
    resource = metric.get("resource")
    if not resource:
        return "<unknown>"
    target = resource.get("target") or {}
    wanted = target.get("averageValue") or f"{target.get('averageUtilization')}%"
    return f"{resource.get('name')}: <unknown>/{wanted}"


def _disruption_budget(obj: Json, now: float) -> list[Any]:
    spec = part(obj, "spec")
    return [
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        part(obj, "status").get("disruptionsAllowed", 0),
        created(obj, now),
    ]


WORKLOADS: Final[dict[tuple[str, str], tuple[str, Row]]] = {
    ("", "Pod"): (
        "Name Ready Status Restarts Age IP* Node* Nominated_Node* Readiness_Gates*",
        pod_row,
    ),
    ("", "PodTemplate"): ("Name Containers Images Pod_Labels", _pod_template),
    ("", "ReplicationController"): (
        "Name Desired:i Current:i Ready:i Age Containers* Images* Selector*",
        _replicas,
    ),
    ("apps", "ControllerRevision"): ("Name Controller Revision Age", _revision),
    ("apps", "DaemonSet"): (
        (
            "Name Desired:i Current:i Ready:i Up-to-date:i Available:i Node_Selector Age "
            "Containers* Images* Selector*"
        ),
        _daemon_set,
    ),
    ("apps", "Deployment"): (
        "Name Ready Up-to-date Available Age Containers* Images* Selector*",
        _deployment,
    ),
    ("apps", "ReplicaSet"): (
        "Name Desired:i Current:i Ready:i Age Containers* Images* Selector*",
        _replicas,
    ),
    ("apps", "StatefulSet"): ("Name Ready Age Containers* Images*", _stateful_set),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        "Name Reference Targets MinPods MaxPods Replicas Age",
        _autoscaler,
    ),
    ("batch", "CronJob"): (
        "Name Schedule Timezone Suspend:b Active:i Last_Schedule Age Containers* Images* Selector*",
        _cron_job,
    ),
    ("batch", "Job"): (
        "Name Status Completions Duration Age Containers* Images* Selector*",
        _job,
    ),
    ("policy", "PodDisruptionBudget"): (
        "Name Min_Available Max_Unavailable Allowed_Disruptions:i Age",
        _disruption_budget,
    ),
}
"""Columns and rows of workloads, in the form of :data:`kcpctl.embedded.tables.rows.ROWS`."""
