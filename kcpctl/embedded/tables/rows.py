"""The rows of built-in kinds: the cells after the name."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.tables.cells import Json, Row, created, part
from kcpctl.embedded.tables.durations import age, human
from kcpctl.embedded.tables.selectors import labels, selector
from kcpctl.embedded.tables.workloads import WORKLOADS

__all__ = ["ROWS"]


def _only_age(obj: Json, now: float) -> list[Any]:
    return [created(obj, now)]


def _config_map(obj: Json, now: float) -> list[Any]:
    return [len(part(obj, "data")) + len(part(obj, "binaryData")), created(obj, now)]


def _secret(obj: Json, now: float) -> list[Any]:
    return [obj.get("type", ""), len(part(obj, "data")), created(obj, now)]


def _phase(obj: Json, now: float) -> list[Any]:
    return [part(obj, "status").get("phase", ""), created(obj, now)]


def _endpoints(obj: Json, now: float) -> list[Any]:
    shown: list[str] = []
    for subset in obj.get("subsets") or ():
        ports = [f":{port.get('port')}" for port in subset.get("ports") or ()] or [""]
        shown += [
            f"{address.get('ip')}{port}"
            for port in ports
            for address in subset.get("addresses", ())
        ]
    return [_limited(shown, 3), created(obj, now)]


def _limited(items: list[str], limit: int) -> str:
    more = f" + {len(items) - limit} more..." if len(items) > limit else ""
    return (",".join(items[:limit]) + more) or "<none>"


def _node(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    ready = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    if spec.get("unschedulable"):
        ready += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    names = obj["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(prefix) for key in names if key.startswith(prefix))
    info = status.get("nodeInfo") or {}
    addresses = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
    return [
        ready,
        ",".join(roles) or "<none>",
        created(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or "<none>",
        addresses.get("ExternalIP") or "<none>",
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _modes(spec: Json) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX"}
    short["ReadWriteOncePod"] = "RWOP"
    return ",".join(short.get(mode, mode) for mode in spec.get("accessModes") or ())


def _claim(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return [
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        created(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _volume(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    claim = spec.get("claimRef") or {}
    return [
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        created(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _quota(obj: Json, now: float) -> list[Any]:
    status = part(obj, "status")
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        shown = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits.") else requests).append(shown)
    return [", ".join(requests), ", ".join(limits), created(obj, now)]


def _service(obj: Json, now: float) -> list[Any]:
    spec = part(obj, "spec")
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    ports = [_service_port(port) for port in spec.get("ports") or ()]
    return [
        spec.get("type", ""),
        addresses[0] or "<none>",
        _external(obj),
        ",".join(ports) or "<none>",
        created(obj, now),
        labels(spec.get("selector")),
    ]


def _service_port(port: Json) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _external(obj: Json) -> str:
    spec = part(obj, "spec")
    kind, external = spec.get("type"), list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return spec.get("externalName") or "<none>"
    if kind == "LoadBalancer":
        ingress = (part(obj, "status").get("loadBalancer") or {}).get("ingress") or ()
        external = [one.get("ip") or one.get("hostname") or "" for one in ingress] + external
        return ",".join(external) or "<pending>"
    return ",".join(external) or "<none>"


def _binding(obj: Json, now: float) -> list[Any]:
    role = part(obj, "roleRef")
    named: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace"):
            name = f"{subject['namespace']}/{name}"
        named.setdefault(subject.get("kind", ""), []).append(name)
    who = [", ".join(named[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [f"{role.get('kind')}/{role.get('name')}", created(obj, now), *who]


def _signing_request(obj: Json, now: float) -> list[Any]:
    spec = part(obj, "spec")
    conditions = [c.get("type") for c in part(obj, "status").get("conditions") or ()]
    verdicts = (one for one in ("Denied", "Approved") if one in conditions)
    shown = [next(verdicts, "Pending"), *(["Failed"] if "Failed" in conditions else [])]
    if part(obj, "status").get("certificate"):
        shown.append("Issued")
    seconds = spec.get("expirationSeconds")
    return [
        created(obj, now),
        spec.get("signerName") or "<none>",
        spec.get("username", ""),
        human(seconds) if seconds is not None else "<none>",
        ",".join(shown),
    ]


def _scale(obj: Json, now: float) -> list[Any]:
    wanted, found = part(obj, "spec").get("replicas", 0), part(obj, "status").get("replicas", 0)
    return [wanted, found, created(obj, now)]


def _lease(obj: Json, now: float) -> list[Any]:
    return [part(obj, "spec").get("holderIdentity", ""), created(obj, now)]


def _event(obj: Json, now: float) -> list[Any]:
    target = part(obj, "involvedObject") or part(obj, "regarding")
    source = part(obj, "source") or part(obj, "deprecatedSource")
    series = part(obj, "series")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    first = first or obj.get("eventTime")
    last = series.get("lastObservedTime") or last or first
    parts = [source.get("component"), source.get("host")]
    component = ", ".join(part for part in parts if part)
    controller = obj.get("reportingComponent") or obj.get("reportingController") or ""
    count = series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}",
        target.get("fieldPath", ""),
        component or controller,
        str(obj.get("message") or obj.get("note") or "").strip(),
        age(first, now),
        count,
        obj["metadata"].get("name", ""),
    ]


def _endpoint_slice(obj: Json, now: float) -> list[Any]:
    ports = [str(port.get("port")) for port in obj.get("ports") or ()]
    addresses = [a for one in obj.get("endpoints") or () for a in one.get("addresses") or ()]
    shown = [_limited(ports, 3), _limited(addresses, 3)]
    empty = "<unset>"
    return [
        obj.get("addressType", ""),
        shown[0] if ports else empty,
        shown[1] if addresses else empty,
        created(obj, now),
    ]


def _ingress_class(obj: Json, now: float) -> list[Any]:
    spec = part(obj, "spec")
    reference = spec.get("parameters")
    shown = "<none>"
    if reference:
        group = f".{reference['apiGroup']}" if reference.get("apiGroup") else ""
        shown = f"{reference.get('kind')}{group}/{reference.get('name')}"
    return [spec.get("controller", ""), shown, created(obj, now)]


def _ingress(obj: Json, now: float) -> list[Any]:
    spec = part(obj, "spec")
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    ingress = (part(obj, "status").get("loadBalancer") or {}).get("ingress") or ()
    addresses = [one.get("ip") or one.get("hostname") or "" for one in ingress]
    return [
        spec.get("ingressClassName") or "<none>",
        _limited(hosts, 3) if hosts else "*",
        ",".join(addresses),
        "80, 443" if spec.get("tls") else "80",
        created(obj, now),
    ]


def _network_policy(obj: Json, now: float) -> list[Any]:
    return [selector(part(obj, "spec").get("podSelector")), created(obj, now)]


def _priority_class(obj: Json, now: float) -> list[Any]:
    default, policy = obj.get("globalDefault", False), obj.get("preemptionPolicy", "")
    return [obj.get("value", 0), default, created(obj, now), policy]


def _storage_class(obj: Json, now: float) -> list[Any]:
    return [
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        obj.get("allowVolumeExpansion", False),
        created(obj, now),
    ]


def _api_service(obj: Json, now: float) -> list[Any]:
    service = part(obj, "spec").get("service")
    shown = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    conditions = part(obj, "status").get("conditions") or ()
    found = next((c for c in conditions if c.get("type") == "Available"), None)
    available = "Unknown" if found is None else found.get("status", "Unknown")
    if found is not None and available != "True":
        available = f"{available} ({found.get('reason')})"
    return [shown, available, created(obj, now)]


def _workspace(obj: Json, now: float) -> list[Any]:
    spec, status = part(obj, "spec"), part(obj, "status")
    kind = (spec.get("type") or {}).get("name", "")
    url = spec.get("URL") or status.get("URL") or ""
    return [kind, status.get("phase", ""), url, created(obj, now)]


def _logical_cluster(obj: Json, now: float) -> list[Any]:
    status = part(obj, "status")
    return [status.get("phase", ""), status.get("URL", ""), created(obj, now)]


_RBAC: Final = "rbac.authorization.k8s.io"
ROWS: Final[dict[tuple[str, str], tuple[str, Row]]] = {
    **WORKLOADS,
    ("", "ConfigMap"): ("Name Data Age", _config_map),
    ("", "Endpoints"): ("Name Endpoints Age", _endpoints),
    ("", "Namespace"): ("Name Status Age", _phase),
    ("", "Node"): (
        (
            "Name Status Roles Age Version Internal-IP* External-IP* OS-Image* Kernel-Version* "
            "Container-Runtime*"
        ),
        _node,
    ),
    ("", "PersistentVolume"): (
        (
            "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass "
            "VolumeAttributesClass Reason Age VolumeMode*"
        ),
        _volume,
    ),
    ("", "PersistentVolumeClaim"): (
        (
            "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age "
            "VolumeMode*"
        ),
        _claim,
    ),
    ("", "ResourceQuota"): ("Name Request Limit Age", _quota),
    ("", "Secret"): ("Name Type Data Age", _secret),
    ("", "Service"): ("Name Type Cluster-IP External-IP Port(s) Age Selector*", _service),
    ("", "ServiceAccount"): ("Name Age", _only_age),
    ("apiregistration.k8s.io", "APIService"): ("Name Service Available Age", _api_service),
    ("autoscaling", "Scale"): ("Name Desired:i Available:i Age", _scale),
    ("certificates.k8s.io", "CertificateSigningRequest"): (
        "Name Age SignerName Requestor RequestedDuration Condition",
        _signing_request,
    ),
    ("coordination.k8s.io", "Lease"): ("Name Holder Age", _lease),
    ("core.kcp.io", "LogicalCluster"): ("Name Phase URL Age", _logical_cluster),
    ("discovery.k8s.io", "EndpointSlice"): (
        "Name AddressType Ports Endpoints Age",
        _endpoint_slice,
    ),
    **dict.fromkeys(
        (("", "Event"), ("events.k8s.io", "Event")),
        (
            "Last_Seen Type Reason Object Subobject* Source* Message First_Seen* Count* Name*",
            _event,
        ),
    ),
    ("networking.k8s.io", "Ingress"): ("Name Class Hosts Address Ports Age", _ingress),
    ("networking.k8s.io", "IngressClass"): ("Name Controller Parameters Age", _ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): ("Name Pod-Selector Age", _network_policy),
    (_RBAC, "ClusterRoleBinding"): ("Name Role Age Users* Groups* ServiceAccounts*", _binding),
    (_RBAC, "RoleBinding"): ("Name Role Age Users* Groups* ServiceAccounts*", _binding),
    ("scheduling.k8s.io", "PriorityClass"): (
        "Name Value:i Global-Default:b Age PreemptionPolicy",
        _priority_class,
    ),
    ("storage.k8s.io", "StorageClass"): (
        "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
        _storage_class,
    ),
    ("tenancy.kcp.io", "Workspace"): ("Name Type Phase URL Age", _workspace),
}
"""Columns and row function of a kind. ``_`` is a blank in a column's name, ``*`` marks a column
of ``-o wide``, ``:i`` and ``:b`` integers and booleans. Events alone have a cell for every column,
the name included. Other built-in kinds have the columns Name and Created At."""
