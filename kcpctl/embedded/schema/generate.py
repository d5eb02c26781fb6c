"""Makes the data file of the built-in kinds' structure (names and types, no sentences).

The format: ``kinds`` maps ``group/version/Kind`` to a type; ``types`` maps a type to its fields, a
required one with a ``!`` behind its name. A field's type is another type's name or ``s`` string,
``i`` integer, ``n`` number, ``b`` boolean, ``d`` bytes, ``t`` time, ``x`` integer or string, ``o``
anything; ``[X`` is a list of X, ``{X`` a map from strings to X.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kcpctl.embedded.schema.models import Field, package_version, read_model

__all__ = ["DATA_FILE", "render"]

DATA_FILE: Final = Path(__file__).with_name("builtin.json")

_KINDS: Final = {
    "/v1": "Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume "
    "PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service "
    "ServiceAccount",
    "admissionregistration.k8s.io/v1": "MutatingWebhookConfiguration ValidatingAdmissionPolicy "
    "ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication.k8s.io/v1": "SelfSubjectReview TokenRequest TokenReview",
    "authorization.k8s.io/v1": "LocalSubjectAccessReview SelfSubjectAccessReview "
    "SelfSubjectRulesReview SubjectAccessReview",
    "autoscaling/v1": "HorizontalPodAutoscaler Scale",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "batch/v1": "CronJob Job",
    "certificates.k8s.io/v1": "CertificateSigningRequest",
    "coordination.k8s.io/v1": "Lease",
    "discovery.k8s.io/v1": "EndpointSlice",
    "events.k8s.io/v1": "Event",
    "networking.k8s.io/v1": "Ingress IngressClass NetworkPolicy",
    "node.k8s.io/v1": "RuntimeClass",
    "policy/v1": "Eviction PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "scheduling.k8s.io/v1": "PriorityClass",
    "storage.k8s.io/v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment",
}
_AMBIGUOUS: Final = {
    "/v1/Event": "CoreV1Event",
    "events.k8s.io/v1/Event": "EventsV1Event",
    "authentication.k8s.io/v1/TokenRequest": "AuthenticationV1TokenRequest",
}
_SCALARS: Final = {
    "str": "s",
    "int": "i",
    "float": "n",
    "bool": "b",
    "bytes": "d",
    "bytearray": "d",
    "datetime": "t",
    "object": "o",
}


def _kinds() -> dict[str, str]:
    pairs = {}
    for group_version, kinds in _KINDS.items():
        version = group_version.rpartition("/")[2]
        for kind in kinds.split():
            key = f"{group_version}/{kind}"
            pairs[key] = _AMBIGUOUS.get(key, version.capitalize() + kind)
    return pairs


def _code(field: Field, type_name: str) -> str:
    if field.int_or_string and type_name == "object":
        return "x"
    if match := re.fullmatch(r"(?:list|List)\[(.*)\]", type_name):
        return "[" + _code(field, match[1])
    if match := re.fullmatch(r"(?:dict\(|Dict\[)str, (.*)[)\]]", type_name):
        return "{" + _code(field, match[1])
    return _SCALARS.get(type_name, type_name)


def _types(roots: Iterable[str]) -> dict[str, dict[str, str]]:
    waiting = sorted(set(roots), reverse=True)
    types: dict[str, dict[str, str]] = {}
    while waiting:
        name = waiting.pop()
        if name in types:
            continue
        fields = {
            field.name + ("!" if field.required else ""): _code(field, field.type)
            for field in read_model(name).fields.values()
        }
        types[name] = fields
        waiting += [code.lstrip("[{") for code in fields.values() if len(code.lstrip("[{")) > 1]
    return dict(sorted(types.items()))


def render() -> str:
    """Return the content of the data file for the installed ``kubernetes`` package."""
    kinds = _kinds()
    types = _types(kinds.values())
    lines = ['{"package":' + json.dumps(package_version()) + ',"kinds":' + _compact(kinds)]
    rows = [f"{json.dumps(name)}:{_compact(fields)}" for name, fields in types.items()]
    return ",\n".join([*lines, '"types":{\n' + ",\n".join(rows) + "\n}}\n"])


def _compact(value: dict[str, str]) -> str:
    return json.dumps(value, separators=(",", ":"))
