"""What is particular about single kinds when they are written or deleted.

Defaults and validation of built-in kinds are the schema package's; here is what happens between
the request and the store: folded fields, allocated values, what status starts with, which
fields an endpoint may write.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from kcpctl.embedded.crds import CRD_KEY, initial_status
from kcpctl.embedded.exports.kinds import APIBINDING_FINALIZER, APIBINDINGS_KEY
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.signing_requests import judged, keep_request, signed
from kcpctl.embedded.validation import NameRule, dns_label, dns_subdomain, path_segment

__all__ = ["Strategy", "strategy_of"]

Json = dict[str, Any]
# Gets the new object and the one it replaces (None on create).
_Prepare = Callable[[Json, Json | None], None]
# Gets the new object, the one it replaces, and the time as objects carry it.
_PrepareStatus = Callable[[Json, Json, str], None]


def _nothing(_obj: Json, _old: Json | None) -> None:
    """Most kinds need no preparation."""


def _as_it_is(_obj: Json) -> None:
    """Most kinds are stored as they come."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one kind is written and deleted.

    Parameters
    ----------
    name_rule: what its names have to obey.
    fold: brings an object into the shape that is stored, before field owners are noted.
    prepare: what the server adds afterwards, before validation; gets the old object on update,
        None on create. (Both may replace top-level fields of the object.)
    prepare_status, prepare_approval: complete what these endpoints write; may raise 422.
    initial_status: what status is on create; None leaves it out.
    keeps_status: status of the request is kept on create (Nodes register themselves with it).
    creates_on_update: a PUT of an object that does not exist creates it.
    returns_object: a finished deletion answers the object, not a Status.
    orphans: without options a deletion orphans the dependents.
    status_resets: metadata fields that a status update cannot change.
    requires_version: a PUT has to name the resourceVersion.
    """

    name_rule: NameRule = dns_subdomain
    fold: Callable[[Json], None] = _as_it_is
    prepare: _Prepare = _nothing
    prepare_status: _PrepareStatus | None = None
    prepare_approval: _PrepareStatus | None = None
    initial_status: Callable[[Json], Json] | None = None
    keeps_status: bool = False
    creates_on_update: bool = False
    returns_object: bool = False
    orphans: bool = False
    status_resets: tuple[str, ...] = ()
    requires_version: bool = False


def _name_label(obj: Json) -> None:
    meta = obj["metadata"]
    if name := meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}


def _namespace(obj: Json, old: Json | None) -> None:
    if old is None:
        spec = dict(obj.get("spec") or {})
        finalizers = list(spec.get("finalizers") or ())
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        obj["spec"] = {**spec, "finalizers": finalizers}
    elif "spec" in old:
        obj["spec"] = old["spec"]  # only /finalize writes it
    else:
        obj.pop("spec", None)


def _fold_secret(obj: Json) -> None:
    fresh = obj.pop("stringData", None)
    if fresh:
        data = dict(obj.get("data") or {})
        for key, value in fresh.items():
            data[key] = base64.b64encode(str(value).encode()).decode()
        obj["data"] = data
    if "data" in obj and not obj["data"]:
        del obj["data"]


def _fold_config_map(obj: Json) -> None:
    for name in ("data", "binaryData"):
        if name in obj and not obj[name]:
            del obj[name]


def _quality(obj: Json) -> str:
    """Return a Pod's QoS class."""
    limits_everywhere = True
    any_resource = False
    for container in (obj.get("spec") or {}).get("containers") or ():
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        relevant = {"cpu", "memory"}
        any_resource = any_resource or bool(relevant & {*requests, *limits})
        for name in relevant:
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                limits_everywhere = False
    if not any_resource:
        return "BestEffort"
    return "Guaranteed" if limits_everywhere else "Burstable"


_TOLERATED: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def _pod(obj: Json, old: Json | None) -> None:
    """The defaults that admission, not the schema, gives to new Pods."""
    if old is not None:
        return
    spec = obj["spec"] = dict(obj.get("spec") or {})
    tolerations = list(spec.get("tolerations") or ())
    for key in _TOLERATED:
        if not any(
            one.get("key", key) == key and one.get("effect", "NoExecute") == "NoExecute"
            for one in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
    spec["tolerations"] = tolerations
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _job(obj: Json, old: Json | None) -> None:
    """A Job that does not choose its selector gets one on its own uid."""
    spec = obj.get("spec") or {}
    if old is not None or spec.get("manualSelector") or spec.get("selector"):
        return
    name, uid = obj["metadata"].get("name", ""), obj["metadata"]["uid"]
    labels = {"controller-uid": uid, "job-name": name}
    labels |= {f"batch.kubernetes.io/{key}": value for key, value in labels.items()}
    template = spec.get("template") or {}
    meta = template.get("metadata") or {}
    meta = {**meta, "labels": {**(meta.get("labels") or {}), **labels}}
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    obj["spec"] = {**spec, "selector": selector, "template": {**template, "metadata": meta}}
    if not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(meta["labels"])


def _protected(finalizer: str) -> _Prepare:
    """Volumes and claims are held by a finalizer while they are in use."""

    def prepare(obj: Json, old: Json | None) -> None:
        finalizers = obj["metadata"].get("finalizers") or []
        if old is None and finalizer not in finalizers:
            obj["metadata"]["finalizers"] = [*finalizers, finalizer]

    return prepare


def _pod_status(obj: Json, old: Json, _now: str) -> None:
    status = dict(obj.get("status") or {})
    before = old.get("status") or {}
    if "qosClass" in before:
        status.setdefault("qosClass", before["qosClass"])
    if status.get("podIP") and not status.get("podIPs"):
        status["podIPs"] = [{"ip": status["podIP"]}]
    obj["status"] = status


def _crd(obj: Json, old: Json | None) -> None:
    if old is None:
        return
    spec = obj.get("spec") or {}
    stored = next((one["name"] for one in spec.get("versions") or () if one.get("storage")), "")
    status = obj.get("status") or {}
    known = list(status.get("storedVersions") or ())
    if stored and stored not in known:
        obj["status"] = {**status, "storedVersions": [*known, stored]}


def _constant(**status: Any) -> Callable[[Json], Json]:
    return lambda _: dict(status)


def _rbac() -> Strategy:
    return Strategy(name_rule=path_segment, creates_on_update=True)


_RBAC: Final = "rbac.authorization.k8s.io"
_STRATEGIES: Final[dict[str, Strategy]] = {
    "namespaces": Strategy(
        name_rule=dns_label,
        fold=_name_label,
        prepare=_namespace,
        initial_status=_constant(phase="Active"),
    ),
    "secrets": Strategy(fold=_fold_secret),
    "configmaps": Strategy(fold=_fold_config_map),
    "services": Strategy(
        name_rule=dns_label, initial_status=_constant(loadBalancer={}), returns_object=True
    ),
    "serviceaccounts": Strategy(returns_object=True),
    "pods": Strategy(
        prepare=_pod,
        initial_status=lambda obj: {"phase": "Pending", "qosClass": _quality(obj)},
        prepare_status=_pod_status,
        returns_object=True,
        status_resets=("ownerReferences",),
    ),
    "podtemplates": Strategy(returns_object=True),
    "nodes": Strategy(keeps_status=True, initial_status=_constant()),
    "events": Strategy(creates_on_update=True),
    "endpoints": Strategy(creates_on_update=True),
    "leases.coordination.k8s.io": Strategy(creates_on_update=True),
    "limitranges": Strategy(creates_on_update=True),
    "resourcequotas": Strategy(initial_status=_constant(), returns_object=True),
    "persistentvolumes": Strategy(
        prepare=_protected("kubernetes.io/pv-protection"),
        initial_status=_constant(phase="Pending"),
        returns_object=True,
    ),
    "persistentvolumeclaims": Strategy(
        prepare=_protected("kubernetes.io/pvc-protection"),
        initial_status=_constant(phase="Pending"),
        returns_object=True,
    ),
    "replicationcontrollers": Strategy(initial_status=_constant(replicas=0), orphans=True),
    "deployments.apps": Strategy(initial_status=_constant(), status_resets=("labels",)),
    "replicasets.apps": Strategy(initial_status=_constant(replicas=0)),
    "statefulsets.apps": Strategy(initial_status=_constant(replicas=0, availableReplicas=0)),
    "daemonsets.apps": Strategy(
        initial_status=_constant(
            currentNumberScheduled=0,
            numberMisscheduled=0,
            desiredNumberScheduled=0,
            numberReady=0,
        )
    ),
    "jobs.batch": Strategy(prepare=_job, initial_status=_constant(), orphans=True),
    "cronjobs.batch": Strategy(initial_status=_constant()),
    "horizontalpodautoscalers.autoscaling": Strategy(
        initial_status=_constant(desiredReplicas=0, currentMetrics=None)
    ),
    "poddisruptionbudgets.policy": Strategy(
        initial_status=_constant(
            disruptionsAllowed=0, currentHealthy=0, desiredHealthy=0, expectedPods=0
        ),
        requires_version=True,
    ),
    "ingresses.networking.k8s.io": Strategy(initial_status=_constant(loadBalancer={})),
    "storageclasses.storage.k8s.io": Strategy(returns_object=True),
    "certificatesigningrequests.certificates.k8s.io": Strategy(
        name_rule=path_segment,
        prepare=keep_request,
        initial_status=_constant(),
        prepare_status=signed,
        prepare_approval=judged,
    ),
    "apiservices.apiregistration.k8s.io": Strategy(initial_status=_constant()),
    CRD_KEY: Strategy(prepare=_crd, initial_status=initial_status),
    f"roles.{_RBAC}": _rbac(),
    f"rolebindings.{_RBAC}": _rbac(),
    f"clusterroles.{_RBAC}": _rbac(),
    f"clusterrolebindings.{_RBAC}": _rbac(),
}
_DEFAULT: Final = Strategy()
# ResetObjectMetaForStatus: a custom resource's status endpoint writes nothing of metadata.
_CUSTOM: Final = Strategy(
    requires_version=True,
    status_resets=("labels", "annotations", "finalizers", "ownerReferences"),
)


_CUSTOM_PATHS: Final = replace(_CUSTOM, name_rule=path_segment)
_APIBINDING: Final = replace(_CUSTOM, prepare=_protected(APIBINDING_FINALIZER))


def strategy_of(info: ResourceInfo) -> Strategy:
    """Return how a kind is written and deleted."""
    if info.storage_key == APIBINDINGS_KEY:
        return _APIBINDING
    if info.crd is not None:
        return _CUSTOM_PATHS if info.names_are_paths else _CUSTOM
    return _STRATEGIES.get(info.storage_key, _DEFAULT)
