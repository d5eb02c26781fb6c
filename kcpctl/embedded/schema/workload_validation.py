"""What the real server refuses in workloads: pods, and what makes pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from kcpctl.apis import label_selector
from kcpctl.embedded.schema.pod_validation import validate_pod_spec, validate_pod_update
from kcpctl.embedded.status import Cause

__all__ = ["WORKLOAD_CHECKS", "Check", "Json", "non_negative"]

Json = dict[str, Any]
Check = Callable[[Json, Json | None], Iterator[Cause]]
"""Yields what is wrong with a defaulted object; the second is what an update replaces."""
_IMMUTABLE: Final = "field is immutable"
# A Job's name, 63 characters long, is this plus eleven of its time.
_CRON_JOB_NAME_LENGTH: Final = 52


def non_negative(owner: Json, path: str, *fields: str) -> Iterator[Cause]:
    """Yield the fields that are below zero."""
    for field in fields:
        value = owner.get(field)
        if isinstance(value, int) and value < 0:
            text = "must be greater than or equal to 0"
            yield Cause.invalid(f"{path}.{field}", value, text)


def _selector_and_template(spec: Json) -> Iterator[Cause]:
    template = spec.get("template") or {}
    labels = template.get("metadata", {}).get("labels")
    selector = spec.get("selector")
    if selector is None:
        yield Cause.required("spec.selector")
    elif not selector:
        text = "empty selector is invalid for deployment"
        yield Cause.invalid("spec.selector", selector, text)
    if not selector or not label_selector.selects(selector, labels or {}):
        text = "`selector` does not match template `labels`"
        yield Cause.invalid("spec.template.metadata.labels", labels, text)
    yield from validate_pod_spec(template.get("spec", {}), "spec.template.spec")
    policy = template.get("spec", {}).get("restartPolicy", "Always")
    if policy in {"Never", "OnFailure"}:
        yield Cause.not_supported("spec.template.spec.restartPolicy", policy, ["Always"])


def _same_selector(obj: Json, old: Json | None) -> Iterator[Cause]:
    if old is not None:
        selector, before = obj["spec"].get("selector"), old.get("spec", {}).get("selector")
        if selector != before:
            labels = (selector or {}).get("matchLabels")
            shown = (
                {**selector, "matchLabels": dict(sorted(labels.items()))} if labels else selector
            )
            yield Cause.invalid("spec.selector", shown, _IMMUTABLE)


def _deployment(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from non_negative(
        spec,
        "spec",
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    )
    deadline = spec.get("progressDeadlineSeconds", 600)
    if 0 <= deadline <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        yield Cause.invalid("spec.progressDeadlineSeconds", deadline, text)
    yield from _selector_and_template(spec)
    yield from _strategy(spec["strategy"])
    yield from _same_selector(obj, old)


def _strategy(strategy: Json) -> Iterator[Cause]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            yield Cause.forbidden("spec.strategy.rollingUpdate", text)
    elif kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": rolling}
        yield Cause.not_supported("spec.strategy", shown, ["Recreate", "RollingUpdate"])
    elif rolling is not None:
        unavailable = rolling.get("maxUnavailable")
        if str(rolling.get("maxSurge")) in {"0", "0%"} and str(unavailable) in {"0", "0%"}:
            text = "may not be 0 when `maxSurge` is 0"
            where = "spec.strategy.rollingUpdate.maxUnavailable"
            yield Cause.invalid(where, unavailable, text)


def _replica_set(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from non_negative(obj["spec"], "spec", "replicas", "minReadySeconds")
    yield from _selector_and_template(obj["spec"])
    yield from _same_selector(obj, old)


def _daemon_set(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from non_negative(obj["spec"], "spec", "minReadySeconds", "revisionHistoryLimit")
    yield from _selector_and_template(obj["spec"])
    yield from _same_selector(obj, old)


_SET_MUTABLE: Final = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "revisionHistoryLimit",
    }
)
_SET_TEXT: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def _stateful_set(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from non_negative(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _selector_and_template(spec)
    before: Json = old["spec"] if old else spec
    if any(spec.get(k) != before.get(k) for k in (spec.keys() | before.keys()) - _SET_MUTABLE):
        yield Cause.forbidden("spec", _SET_TEXT)


def _job(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from non_negative(
        spec, "spec", "parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished"
    )
    yield from _job_template(spec, "spec")
    if old is not None:
        before = old.get("spec", {})
        for field in ("completions", "selector", "template", "completionMode"):
            if field in before and spec.get(field) != before[field]:
                yield Cause.invalid(f"spec.{field}", spec.get(field), _IMMUTABLE)


def _job_template(spec: Json, path: str) -> Iterator[Cause]:
    template = spec["template"]["spec"]
    yield from validate_pod_spec(template, f"{path}.template.spec")
    if template.get("restartPolicy") == "Always":
        where, choices = f"{path}.template.spec.restartPolicy", '"OnFailure", "Never"'
        yield Cause.required(where, f"valid values: {choices}")


def _cron_job(obj: Json, _old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    schedule = spec.get("schedule", "")
    fields = schedule.split()
    if not schedule:
        yield Cause.required("spec.schedule")
    elif "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield Cause.invalid("spec.schedule", schedule, text)
    elif not schedule.startswith("@") and len(fields) != 5:
        text = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
        yield Cause.invalid("spec.schedule", schedule, text)
    policies = ("Allow", "Forbid", "Replace")
    if spec.get("concurrencyPolicy") not in policies:
        where = "spec.concurrencyPolicy"
        yield Cause.not_supported(where, spec.get("concurrencyPolicy"), policies)
    limits = ("successfulJobsHistoryLimit", "failedJobsHistoryLimit", "startingDeadlineSeconds")
    yield from non_negative(spec, "spec", *limits)
    yield from _job_template(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")
    name = obj["metadata"].get("name", "")
    if len(name) > _CRON_JOB_NAME_LENGTH:
        yield Cause.invalid("metadata.name", name, "must be no more than 52 characters")


def _pod(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from validate_pod_spec(obj["spec"], "spec")
    # A bound pod differs in its node only; that write goes through the binding subresource.
    if old is not None:
        yield from validate_pod_update(obj["spec"], old.get("spec", {}))


def _autoscaler(obj: Json, _old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    minimum, maximum = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if minimum < 1:
        yield Cause.invalid("spec.minReplicas", minimum, "must be greater than or equal to 1")
    if maximum < 1:
        yield Cause.invalid("spec.maxReplicas", maximum, "must be greater than 0")
    if maximum < minimum:
        text = "must be greater than or equal to `minReplicas`"
        yield Cause.invalid("spec.maxReplicas", maximum, text)
    target = spec["scaleTargetRef"]
    for field in ("kind", "name"):
        if not target.get(field):
            yield Cause.required(f"spec.scaleTargetRef.{field}")
    version = target.get("apiVersion", "")
    if not version and target.get("kind") != "ReplicationController":
        text = "apiVersion must specify API group"
        yield Cause.invalid("spec.scaleTargetRef.apiVersion", version, text)


def _disruption_budget(obj: Json, _old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        shown = {
            "MinAvailable": spec["minAvailable"],
            "Selector": spec.get("selector"),
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        yield Cause.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")


WORKLOAD_CHECKS: Final[dict[tuple[str, str], Check]] = {
    ("", "Pod"): _pod,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
}
"""Group and kind -> what checks it."""
