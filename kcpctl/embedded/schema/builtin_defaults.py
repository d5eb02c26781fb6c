"""The defaults that the real server gives to objects of built-in kinds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from kcpctl.embedded.schema.builtin import PRESENT, Schema, schema_for
from kcpctl.embedded.schema.pod_defaults import (
    default_pod,
    default_template,
    fill,
)

__all__ = ["default_builtin"]

Json = dict[str, Any]
_RBAC_GROUP: Final = "rbac.authorization.k8s.io"
_NODE_INFO: Final = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def default_builtin(group: str, version: str, kind: str, obj: Json) -> Json:
    """Return ``obj`` with defaults (a new dict; ``obj`` and its parts are not changed).

    A Job gets its selector only when ``metadata.uid`` is there already.
    """
    result = copy.deepcopy(obj)
    schema = schema_for(group, version, kind)
    if schema is not None:
        _fill_structs(result, schema)
    default = _DEFAULTS.get((group, kind))
    if default is not None:
        default(result)
    return result


def _fill_structs(value: Any, schema: Schema) -> None:
    """Put in the structs that Go has by value: they are in every object the server sends."""
    if isinstance(value, list):
        for item in value:
            _fill_structs(item, schema.get("items", {}))
    if not isinstance(value, dict):
        return
    for key in schema.get(PRESENT, ()):
        value.setdefault(key, {})
    properties = schema.get("properties", {})
    for key, item in value.items():
        if isinstance(item, (dict, list)) and key in properties:
            _fill_structs(item, properties[key])


def _deployment(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec["strategy"]
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    default_template(spec)


def _replica_set(obj: Json) -> None:
    fill(obj["spec"], replicas=1)
    fill(obj["status"], replicas=0)
    default_template(obj["spec"])


def _replication_controller(obj: Json) -> None:
    spec = obj["spec"]
    template = spec.get("template") or {}
    labels = template.get("metadata", {}).get("labels")
    if labels:
        fill(spec, selector=dict(labels))
        fill(obj["metadata"], labels=dict(labels))
    _replica_set(obj)


def _stateful_set(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = spec["updateStrategy"]
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], partition=0)
    fill(spec, persistentVolumeClaimRetentionPolicy={})
    fill(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates") or ():
        fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)
    fill(obj["status"], replicas=0, availableReplicas=0)
    default_template(spec)


def _daemon_set(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, revisionHistoryLimit=10)
    strategy = spec["updateStrategy"]
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy, rollingUpdate={})
        fill(strategy["rollingUpdate"], maxUnavailable=1, maxSurge=0)
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault("deprecated.daemonset.template.generation", "1")
    names = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    )
    fill(obj["status"], **dict.fromkeys(names, 0))
    default_template(spec)


def _job(obj: Json) -> None:
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    fill(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed",
    )
    uid = obj["metadata"].get("uid")
    template = spec["template"]
    if uid and not spec["manualSelector"] and "selector" not in spec:
        own = {"controller-uid": uid, "job-name": obj["metadata"].get("name", "")}
        labels = {**own, **{f"batch.kubernetes.io/{key}": value for key, value in own.items()}}
        template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), **labels}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = template["metadata"].get("labels")
    if labels:
        # An object that has labels of its own keeps them.
        fill(obj["metadata"], labels=dict(labels))
    default_template(spec)


def _cron_job(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, concurrencyPolicy="Allow", suspend=False)
    fill(spec, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    default_template(spec["jobTemplate"]["spec"])


def _service(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["sessionAffinity"] == "ClientIP":
        fill(spec, sessionAffinityConfig={})
        fill(spec["sessionAffinityConfig"], clientIP={})
        fill(spec["sessionAffinityConfig"]["clientIP"], timeoutSeconds=10800)
    for port in spec.get("ports") or ():
        fill(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]
    if spec["type"] != "ExternalName":
        fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        fill(spec, allocateLoadBalancerNodePorts=True)


def _secret(obj: Json) -> None:
    if not obj.get("type"):
        obj["type"] = "Opaque"


def _endpoints(obj: Json) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            fill(port, protocol="TCP")


def _endpoint_slice(obj: Json) -> None:
    fill(obj, endpoints=None, ports=None)
    for port in obj["ports"] or ():
        fill(port, name="", protocol="TCP")


def _claim(obj: Json) -> None:
    fill(obj["spec"], volumeMode="Filesystem")
    fill(obj["status"], phase="Pending")


def _volume(obj: Json) -> None:
    fill(obj["spec"], persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    fill(obj["status"], phase="Pending")
    if "hostPath" in obj["spec"]:
        fill(obj["spec"]["hostPath"], type="")


def _node(obj: Json) -> None:
    spec, status = obj["spec"], obj["status"]
    if spec.get("podCIDR"):
        fill(spec, podCIDRs=[spec["podCIDR"]])
    fill(status["daemonEndpoints"]["kubeletEndpoint"], Port=0)
    fill(status["nodeInfo"], **dict.fromkeys(_NODE_INFO, ""))


def _role(obj: Json) -> None:
    fill(obj, rules=None)


def _binding(obj: Json) -> None:
    if not obj["roleRef"].get("apiGroup"):
        obj["roleRef"]["apiGroup"] = _RBAC_GROUP
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in {"User", "Group"}:
            fill(subject, apiGroup=_RBAC_GROUP)


def _network_policy(obj: Json) -> None:
    spec = obj["spec"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            fill(port, protocol="TCP")
    fill(spec, policyTypes=["Ingress", "Egress"] if "egress" in spec else ["Ingress"])


def _autoscaler(obj: Json) -> None:
    spec = obj["spec"]
    fill(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    status = obj["status"]
    fill(status, desiredReplicas=0, currentMetrics=None)


def _disruption_budget(obj: Json) -> None:
    names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    fill(obj["status"], **dict.fromkeys(names, 0))


def _priority_class(obj: Json) -> None:
    fill(obj, preemptionPolicy="PreemptLowerPriority")
    if "value" not in obj:
        obj["value"] = 0


def _storage_class(obj: Json) -> None:
    fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _limit_range(obj: Json) -> None:
    for item in obj["spec"].get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = {**item.get("max", {}), **item.get("default", {})}
        requests = {**item.get("min", {}), **limits, **item.get("min", {})}
        requests |= item.get("default", {}) | item.get("defaultRequest", {})
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


def _core_event(obj: Json) -> None:
    fill(obj, eventTime=None, firstTimestamp=None, lastTimestamp=None)
    fill(obj, reportingComponent="", reportingInstance="")


def _event(obj: Json) -> None:
    fill(obj, eventTime=None, deprecatedFirstTimestamp=None, deprecatedLastTimestamp=None)


def _crd(obj: Json) -> None:
    spec = obj["spec"]
    names = spec["names"]
    if names.get("kind"):
        fill(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
    fill(spec, conversion={"strategy": "None"})
    status = obj["status"]
    fill(status, conditions=None)
    fill(status["acceptedNames"], plural="", kind="")
    if "storedVersions" not in status:
        stored = [v.get("name") for v in spec.get("versions") or () if v.get("storage")]
        status["storedVersions"] = stored or None


_DEFAULTS: Final[dict[tuple[str, str], Callable[[Json], None]]] = {
    ("", "Endpoints"): _endpoints,
    ("", "Event"): _core_event,
    ("", "LimitRange"): _limit_range,
    ("", "Node"): _node,
    ("", "PersistentVolume"): _volume,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): default_pod,
    ("", "PodTemplate"): default_template,
    ("", "ReplicationController"): _replication_controller,
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
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("events.k8s.io", "Event"): _event,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    (_RBAC_GROUP, "ClusterRole"): _role,
    (_RBAC_GROUP, "ClusterRoleBinding"): _binding,
    (_RBAC_GROUP, "Role"): _role,
    (_RBAC_GROUP, "RoleBinding"): _binding,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    ("storage.k8s.io", "StorageClass"): _storage_class,
}
