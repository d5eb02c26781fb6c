"""What an upstream object looks like downstream: pure functions, deterministic by design.

A pod template that came out differently on each pass would be rolled out on each pass, so nothing
here depends on time, order of insertion or chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonpatch
import jsonpointer
import msgspec

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import CLUSTER_LABEL
from kcpctl.errors import TerminalError
from kcpctl.syncer.assignment import SERVICE_ACCOUNT_TOKEN
from kcpctl.syncer.target import Target

__all__ = ["same_apart_from_status", "transform"]

# Written by an upstream Deployment controller or by kubectl, about the upstream object.
_UPSTREAM_ANNOTATIONS: Final = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)
_TOKEN_ANNOTATIONS: Final = frozenset(
    {"kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"}
)
# 3.5: chosen by the cluster that runs the Service.
_ALLOCATED_BY_CLUSTER: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies")
_HEADLESS: Final = "None"


def transform(obj: Mapping[str, Any], target: Target, namespace: str) -> Unstructured:
    """Return what is applied downstream, in ``namespace``, for the upstream ``obj`` (3.5).

    Status, what the upstream server wrote into metadata, and every label and annotation of the
    domain kcp.io stay behind: the latter mean something to syncers, and a tenant must not be able
    to name another owner. Raises TerminalError for a spec-diff that cannot be applied.
    """
    kind = str(obj.get("kind", ""))
    left_behind = {"metadata", "status", "apiVersion", "kind"}
    content = {key: _copy(value) for key, value in obj.items() if key not in left_behind}
    result: Unstructured = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": kind,
        "metadata": _metadata(obj.get("metadata") or {}, target, namespace),
        **content,
    }
    diff = (obj.get("metadata") or {}).get("annotations", {}).get(target.spec_diff_annotation)
    if diff is not None and "spec" in result:
        result["spec"] = _patched(result["spec"], diff, target)
    if (mutate := _MUTATORS.get(kind)) is not None:
        mutate(result)
    return result


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _metadata(metadata: Mapping[str, Any], target: Target, namespace: str) -> Unstructured:
    """What is not copied - uid, owners, finalizers, times - belongs to the upstream cluster."""
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not _is_ours(key) and key not in _UPSTREAM_ANNOTATIONS
    }
    labels = {
        key: value for key, value in (metadata.get("labels") or {}).items() if not _is_ours(key)
    }
    result: Unstructured = {
        "name": metadata.get("name", ""),
        "namespace": namespace,
        "labels": {**labels, CLUSTER_LABEL: target.key},
    }
    if annotations:
        result["annotations"] = annotations
    return result


def _is_ours(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    # Two old names have no slash: the domain is the whole key (synctarget.md 1.8).
    return domain == "kcp.io" or domain.endswith(".kcp.io") if slash else key.endswith(".kcp.io")


def _patched(spec: Any, diff: str, target: Target) -> Any:
    """Row 25: the target's JSON Patch, rooted at spec."""
    try:
        return jsonpatch.apply_patch(spec, diff)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, ValueError) as error:
        raise TerminalError(
            f"annotation {target.spec_diff_annotation} is not a JSON Patch that fits the spec: "
            f"{error}"
        ) from None
    except (TypeError, KeyError, AttributeError) as error:
        raise TerminalError(
            f"annotation {target.spec_diff_annotation} is not a JSON Patch: {error!r}"
        ) from None


def _mutate_secret(obj: Unstructured) -> None:
    """A ServiceAccount's token is plain data downstream: no account of that name exists there."""
    if obj.get("type") != SERVICE_ACCOUNT_TOKEN:
        return
    obj["type"] = "Opaque"
    annotations = obj["metadata"].get("annotations", {})
    kept = {key: value for key, value in annotations.items() if key not in _TOKEN_ANNOTATIONS}
    obj["metadata"].pop("annotations", None)
    if kept:
        obj["metadata"]["annotations"] = kept


def _mutate_deployment(obj: Unstructured) -> None:
    """Its Pods get no credentials of the downstream API: accounts are the upstream's."""
    template = obj.get("spec", {}).get("template")
    if not isinstance(template, dict):
        return
    spec = template.setdefault("spec", {})
    spec.pop("serviceAccountName", None)
    spec.pop("serviceAccount", None)
    spec["automountServiceAccountToken"] = False
    (template.get("metadata") or {}).pop("creationTimestamp", None)


def _mutate_service(obj: Unstructured) -> None:
    """Addresses and node ports are left to the downstream cluster; headless stays headless."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    headless = spec.get("clusterIP") == _HEADLESS
    for field in _ALLOCATED_BY_CLUSTER:
        spec.pop(field, None)
    if headless:
        spec["clusterIP"] = _HEADLESS
    for port in spec.get("ports") or ():
        port.pop("nodePort", None)


_MUTATORS: Final[dict[str, Callable[[Unstructured], None]]] = {
    "Secret": _mutate_secret,
    "Deployment": _mutate_deployment,
    "Service": _mutate_service,
}

# Metadata that changes with every write, of the status too.
_VOLATILE: Final = ("resourceVersion", "managedFields", "generation")
_STATUS_ANNOTATION_PREFIX: Final = "experimental.status.workload.kcp.io/"


def same_apart_from_status(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two versions of an object differ in nothing that matters below (row 30).

    Status, and the annotations that hold a target's status, are the syncer's own writing.
    """
    return _without_status(old) == _without_status(new)


def _without_status(obj: Mapping[str, Any]) -> Unstructured:
    metadata = dict(obj.get("metadata") or {})
    for field in _VOLATILE:
        metadata.pop(field, None)
    annotations = {
        key: value
        for key, value in (metadata.pop("annotations", None) or {}).items()
        if not key.startswith(_STATUS_ANNOTATION_PREFIX)
    }
    rest = {key: value for key, value in obj.items() if key not in {"metadata", "status"}}
    return {**rest, "metadata": {**metadata, "annotations": annotations}}
