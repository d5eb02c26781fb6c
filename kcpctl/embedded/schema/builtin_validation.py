"""What the real server refuses in objects of built-in kinds, in its words."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from kcpctl.apis.quantity import parse
from kcpctl.embedded.schema.crd_validation import validate_crd
from kcpctl.embedded.schema.pod_validation import (
    port_error,
    validate_pod_spec,
    validate_pod_update,
)
from kcpctl.embedded.status import Cause
from kcpctl.embedded.validation import config_key

__all__ = ["validate_builtin"]

Json = dict[str, Any]
_Check = Callable[[Json, Json | None], Iterator[Cause]]
_IMMUTABLE: Final = "field is immutable"
_FROZEN: Final = "field is immutable when `immutable` is set"
_MAX_DATA_BYTES: Final = 1048576


def validate_builtin(
    group: str,
    version: str,  # noqa: ARG001  # beside group and kind everywhere; no rule differs by it yet
    kind: str,
    obj: Json,
    old: Json | None = None,
) -> list[Cause]:
    """Return what is wrong with a defaulted object; ``old`` is what an update replaces.

    Covers spec and kind-specific rules (required fields, enumerations, immutability, selectors).
    Names, labels, annotations, finalizers and owner references are the registry's.
    """
    check = _CHECKS.get((group, kind))
    return [] if check is None else list(check(obj, old))


def _non_negative(owner: Json, path: str, *fields: str) -> Iterator[Cause]:
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
    if not selector or not _matches(selector, labels or {}):
        text = "`selector` does not match template `labels`"
        yield Cause.invalid("spec.template.metadata.labels", labels, text)
    yield from validate_pod_spec(template.get("spec", {}), "spec.template.spec")
    policy = template.get("spec", {}).get("restartPolicy", "Always")
    if policy in {"Never", "OnFailure"}:
        yield Cause.not_supported("spec.template.spec.restartPolicy", policy, ["Always"])


def _matches(selector: Json, labels: Json) -> bool:
    """Whether a LabelSelector chooses ``labels``."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions") or ())


def _holds(rule: Json, labels: Json) -> bool:
    key, operator, values = rule.get("key", ""), rule.get("operator"), rule.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")


def _same_selector(obj: Json, old: Json | None) -> Iterator[Cause]:
    if old is not None:
        selector, before = obj["spec"].get("selector"), old.get("spec", {}).get("selector")
        if selector != before:
            yield Cause.invalid("spec.selector", selector, _IMMUTABLE)


def _deployment(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from _non_negative(
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
    yield from _non_negative(obj["spec"], "spec", "replicas", "minReadySeconds")
    yield from _selector_and_template(obj["spec"])
    yield from _same_selector(obj, old)


def _daemon_set(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from _non_negative(obj["spec"], "spec", "minReadySeconds", "revisionHistoryLimit")
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
    yield from _non_negative(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _selector_and_template(spec)
    before: Json = old["spec"] if old else spec
    if any(spec.get(k) != before.get(k) for k in (spec.keys() | before.keys()) - _SET_MUTABLE):
        yield Cause.forbidden("spec", _SET_TEXT)


def _job(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from _non_negative(
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
    yield from _non_negative(spec, "spec", *limits)
    yield from _job_template(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")
    name = obj["metadata"].get("name", "")
    if len(name) > 52:
        yield Cause.invalid("metadata.name", name, "must be no more than 52 characters")


def _pod(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from validate_pod_spec(obj["spec"], "spec")
    # A bound pod differs in its node only; that write goes through the binding subresource.
    if old is not None:
        yield from validate_pod_update(obj["spec"], old.get("spec", {}))


def _service(obj: Json, old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    ports = spec.get("ports") or ()
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec["type"] not in kinds:
        yield Cause.not_supported("spec.type", spec["type"], kinds)
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield Cause.required("spec.ports")
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        yield Cause.required("spec.externalName")
    if spec["sessionAffinity"] not in {"ClientIP", "None"}:
        choices = ("ClientIP", "None")
        yield Cause.not_supported("spec.sessionAffinity", spec["sessionAffinity"], choices)
    seen: set[tuple[Any, Any]] = set()
    names: set[str] = set()
    for index, port in enumerate(ports):
        yield from _service_port(port, f"spec.ports[{index}]", single=len(ports) == 1, names=names)
        identity = (port.get("port"), port.get("protocol"))
        if identity in seen:
            yield Cause.duplicate(f"spec.ports[{index}]", _go_port(port))
        seen.add(identity)
    before: Json = old["spec"] if old else {}
    if before.get("type") == spec["type"] == "ClusterIP" and before.get("clusterIP"):
        wanted = spec.get("clusterIP", "")
        if wanted != before["clusterIP"]:
            yield Cause.invalid("spec.clusterIPs[0]", [wanted], "may not change once set")


def _go_port(port: Json) -> Json:
    return {
        "Name": "",
        "Protocol": port.get("protocol"),
        "AppProtocol": port.get("appProtocol"),
        "Port": port.get("port"),
        "TargetPort": 0,
        "NodePort": 0,
    }


def _service_port(port: Json, path: str, *, single: bool, names: set[str]) -> Iterator[Cause]:
    name = port.get("name", "")
    if not name and not single:
        yield Cause.required(f"{path}.name")
    elif name and name in names:
        yield Cause.duplicate(f"{path}.name", name)
    names.add(name)
    number, target = port.get("port", 0), port.get("targetPort")
    if error := port_error(number):
        yield Cause.invalid(f"{path}.port", number, error)
    if port.get("protocol") not in {"SCTP", "TCP", "UDP"}:
        choices = ("SCTP", "TCP", "UDP")
        yield Cause.not_supported(f"{path}.protocol", port.get("protocol"), choices)
    target = number if target is None else target
    if isinstance(target, int) and (error := port_error(target)):
        yield Cause.invalid(f"{path}.targetPort", target, error)


def _data_keys(obj: Json) -> Iterator[Cause]:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or ():
            yield from (Cause.invalid(f"{field}[{key}]", key, text) for text in config_key(key))
    for key in (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys():
        yield Cause.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


def _frozen(obj: Json, old: Json | None, *fields: str) -> Iterator[Cause]:
    if old is None or not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield Cause.forbidden("immutable", _FROZEN)
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            yield Cause.forbidden(field, _FROZEN)


def _config_map(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from _frozen(obj, old, "data", "binaryData")
    yield from _data_keys(obj)
    values = [*(obj.get("data") or {}).values(), *(obj.get("binaryData") or {}).values()]
    if sum(len(value.encode()) for value in values) > _MAX_DATA_BYTES:
        yield Cause.too_long("[]", _MAX_DATA_BYTES)


_SECRET_KEYS: Final = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _secret(obj: Json, old: Json | None) -> Iterator[Cause]:
    kind, data = obj.get("type", ""), obj.get("data") or {}
    if old is not None and old.get("type", "Opaque") != kind:
        yield Cause.invalid("type", kind, _IMMUTABLE)
        return
    yield from _frozen(obj, old, "data")
    yield from _data_keys(obj)
    if sum(len(value) * 3 // 4 for value in data.values()) > _MAX_DATA_BYTES:
        yield Cause.too_long("data", _MAX_DATA_BYTES)
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data:
            yield Cause.required(f"data[{key}]")
        elif key.startswith(".docker"):
            yield from _docker_json(data[key], f"data[{key}]")
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        yield from (Cause.required(f"data[{key}]") for key in ("username", "password"))
    annotation = "kubernetes.io/service-account.name"
    if kind == "kubernetes.io/service-account-token" and not (
        obj["metadata"].get("annotations") or {}
    ).get(annotation):
        yield Cause.required(f"metadata.annotations[{annotation}]")


def _docker_json(value: str, path: str) -> Iterator[Cause]:
    try:
        json.loads(base64.b64decode(value))
    except ValueError:
        first = base64.b64decode(value)[:1].decode(errors="replace")
        text = f"invalid character '{first}' looking for beginning of value"
        yield Cause.invalid(path, "<secret contents redacted>", text)


def _quota(obj: Json, _old: Json | None) -> Iterator[Cause]:
    for name, amount in (obj["spec"].get("hard") or {}).items():
        if parse(amount) < 0:
            text = "must be greater than or equal to 0"
            yield Cause.invalid(f"spec.hard[{name}]", amount, text)


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


def _ingress(obj: Json, _old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    if not spec.get("rules") and "defaultBackend" not in spec:
        text = "either `defaultBackend` or `rules` must be specified"
        yield Cause.invalid("spec", None, text)


def _binding(obj: Json, old: Json | None) -> Iterator[Cause]:
    role = obj["roleRef"]
    for field in ("kind", "name"):
        if not role.get(field):
            yield Cause.required(f"roleRef.{field}")
    if old is not None and old.get("roleRef") != role:
        yield Cause.invalid("roleRef", _go_names(role), "cannot change roleRef")
    for index, subject in enumerate(obj.get("subjects") or ()):
        where = f"subjects[{index}]"
        if not subject.get("name"):
            yield Cause.required(f"{where}.name")
        kinds = ("ServiceAccount", "User", "Group")
        if subject.get("kind") not in kinds:
            yield Cause.not_supported(f"{where}.kind", subject.get("kind", ""), kinds)
        elif subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
            yield Cause.required(f"{where}.namespace")


def _go_names(role: Json) -> Json:
    return {"APIGroup": role.get("apiGroup"), "Kind": role.get("kind"), "Name": role.get("name")}


def _role(obj: Json, _old: Json | None) -> Iterator[Cause]:
    cluster = obj.get("kind") == "ClusterRole"
    for index, rule in enumerate(obj.get("rules") or ()):
        where = f"rules[{index}]"
        if not rule.get("verbs"):
            yield Cause.required(f"{where}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if not cluster:
                text = "namespaced rules cannot apply to non-resource URLs"
                yield Cause.invalid(f"{where}.nonResourceURLs", rule["nonResourceURLs"], text)
            continue
        if not rule.get("apiGroups"):
            text = "resource rules must supply at least one api group"
            yield Cause.required(f"{where}.apiGroups", text)
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            yield Cause.required(f"{where}.resources", text)


def _lease(obj: Json, _old: Json | None) -> Iterator[Cause]:
    spec = obj["spec"]
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield Cause.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from _non_negative(spec, "spec", "leaseTransitions")


def _crd(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from validate_crd(obj, old)


_RBAC: Final = "rbac.authorization.k8s.io"
_CHECKS: Final[dict[tuple[str, str], _Check]] = {
    ("", "ConfigMap"): _config_map,
    ("", "Pod"): _pod,
    ("", "ResourceQuota"): _quota,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("coordination.k8s.io", "Lease"): _lease,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    (_RBAC, "ClusterRole"): _role,
    (_RBAC, "ClusterRoleBinding"): _binding,
    (_RBAC, "Role"): _role,
    (_RBAC, "RoleBinding"): _binding,
}
