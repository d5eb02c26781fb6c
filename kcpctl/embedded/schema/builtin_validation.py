"""What the real server refuses in objects of built-in kinds, in its words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

from kcpctl.embedded.schema.crd_validation import validate_crd
from kcpctl.embedded.schema.csr_validation import validate_signing_request
from kcpctl.embedded.schema.pod_validation import port_error
from kcpctl.embedded.schema.quantities import amount as value_of
from kcpctl.embedded.schema.workload_validation import (
    WORKLOAD_CHECKS,
    Check,
    Json,
    non_negative,
)
from kcpctl.embedded.status import Cause
from kcpctl.embedded.validation import config_key, label_key

__all__ = ["validate_builtin"]

_IMMUTABLE: Final = "field is immutable"
_FROZEN: Final = "field is immutable when `immutable` is set"
_MAX_DATA_BYTES: Final = 1048576
# A Job's name, 63 characters long, is this plus eleven of its time.
_CRON_JOB_NAME_LENGTH: Final = 52


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
        if value_of(amount) < 0:
            text = "must be greater than or equal to 0"
            yield Cause.invalid(f"spec.hard[{name}]", amount, text)


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
    yield from non_negative(spec, "spec", "leaseTransitions")


def _event(obj: Json, _old: Json | None) -> Iterator[Cause]:
    """Events of either group: they live beside what they are about."""
    namespace = obj["metadata"].get("namespace", "")
    about = (obj.get("involvedObject") or obj.get("regarding") or {}).get("namespace", "")
    if namespace != (about or "default") and (about or namespace):
        text = "does not match event.namespace"
        yield Cause.invalid("involvedObject.namespace", about, text)
    if "involvedObject" in obj:
        return
    if not obj.get("eventTime"):
        yield Cause.required("eventTime")
    else:
        controller = obj.get("reportingController", "")
        problems = label_key(controller) if controller else []
        yield from (Cause.invalid("reportingController", controller, text) for text in problems)
    if obj.get("type", "") not in {"Normal", "Warning"}:
        yield Cause.invalid("type", "", f"has invalid value: {obj.get('type', '')}")


def _crd(obj: Json, old: Json | None) -> Iterator[Cause]:
    yield from validate_crd(obj, old)


_RBAC: Final = "rbac.authorization.k8s.io"
_CHECKS: Final[dict[tuple[str, str], Check]] = {
    **WORKLOAD_CHECKS,
    ("", "ConfigMap"): _config_map,
    ("", "Event"): _event,
    ("", "ResourceQuota"): _quota,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("certificates.k8s.io", "CertificateSigningRequest"): validate_signing_request,
    ("coordination.k8s.io", "Lease"): _lease,
    ("events.k8s.io", "Event"): _event,
    ("networking.k8s.io", "Ingress"): _ingress,
    (_RBAC, "ClusterRole"): _role,
    (_RBAC, "ClusterRoleBinding"): _binding,
    (_RBAC, "Role"): _role,
    (_RBAC, "RoleBinding"): _binding,
}
