"""The objects that a syncer consists of: pure functions from inputs to manifests.

Both routes, the controller's own and a person's ``kubectl apply``, are to render the same.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    MANAGED_BY_LABEL,
    SYNCTARGET_NAME_LABEL,
    SYNCTARGET_UID_LABEL,
)
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from kcpctl.apis.signing import certificate_rights, syncer_user
from kcpctl.apis.synctarget_deployment import Deployment
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.reconcilers.synctarget.rollout import CONFIG_HASH_ANNOTATION

__all__ = [
    "CLUSTER_UID_ANNOTATION",
    "FIELD_MANAGER",
    "KUBECONFIG_KEY",
    "SYNCED_RESOURCES",
    "TOKEN_RENEW_ANNOTATION",
    "TOKEN_SECRET_ANNOTATION",
    "SyncerInputs",
    "config_hash",
    "downstream_objects",
    "secret_object",
    "syncer_arguments",
    "syncer_labels",
    "syncer_replicas",
    "upstream_objects",
]

FIELD_MANAGER: Final = "kcpctl-synctarget"
"""Decision 13."""
KUBECONFIG_KEY: Final = "kubeconfig"
CLUSTER_UID_ANNOTATION: Final = "workload.kcp.io/cluster-uid"
"""On the syncer's ServiceAccount in the workspace: the cluster that its tokens were given to."""
TOKEN_RENEW_ANNOTATION: Final = "workload.kcp.io/token-renew-at"
"""On the Secret downstream, so that a restarted controller need not ask for another token."""
TOKEN_SECRET_ANNOTATION: Final = "workload.kcp.io/token-secret-uid"
"""There, too: the uid of the Secret in the workspace that the token is from, if from any."""
SYNCED_RESOURCES: Final = (DEPLOYMENTS, CONFIG_MAPS, SECRETS, SERVICES)
"""What the syncer carries, and so what it needs rights for on both sides."""

_HEALTH_PORT: Final = 8081
_MOUNT: Final = "/kcp"
_USER_ID: Final = 1001
_RBAC_GROUP: Final = CLUSTER_ROLES.group
_REQUESTS: Final = {"cpu": "100m", "memory": "128Mi"}
_LIMITS: Final = {"cpu": "500m", "memory": "512Mi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncerInputs:
    """What the manifests of one syncer depend on.

    ``id`` names everything; ``server`` is the upstream URL, with ``/clusters/<name>`` where the
    server has logical clusters; ``token`` is "" wherever it must not matter; ``cluster_uid`` is of
    the physical cluster, where it is known. With
    ``external_secret`` somebody else keeps the Secret, and it is not rendered. With
    ``certificate`` the token may do nothing but ask for a client certificate, which the syncer
    does and then works as.
    """

    id: str
    name: str
    uid: str
    cluster: str
    namespace: str
    image: str
    server: str
    ca: bytes = b""
    insecure: bool = False
    server_name: str = ""
    token: str = field(default="", repr=False)
    token_renew_at: str = ""
    token_secret_uid: str = ""
    external_secret: bool = False
    certificate: bool = False
    cluster_uid: str = ""
    deployment: Deployment = field(default_factory=Deployment)
    arguments: Sequence[str] = ()


def syncer_labels(name: str, uid: str) -> dict[str, str]:
    """Return the labels by which everything that belongs to a syncer is found again."""
    return {
        MANAGED_BY_LABEL: "kcpctl",
        SYNCTARGET_NAME_LABEL: name,
        SYNCTARGET_UID_LABEL: uid,
    }


def config_hash(inputs: SyncerInputs) -> str:
    """Return a hash of everything but the token: another token is no other configuration."""
    objects = _without_hash(replace(inputs, token="", token_renew_at="", token_secret_uid=""))
    return hashlib.sha256(msgspec.json.encode(objects, order="deterministic")).hexdigest()[:32]


def downstream_objects(inputs: SyncerInputs) -> list[Unstructured]:
    """Return the objects for the physical cluster, in the order in which they are applied.

    The Deployment is last and carries the hash: where it is, the others have been applied.
    """
    objects = _without_hash(inputs)
    deployment = objects[-1]
    digest = {CONFIG_HASH_ANNOTATION: config_hash(inputs)}
    deployment["metadata"]["annotations"] = digest
    # A running syncer reads a new token, but not a new server or CA: those need a new Pod.
    deployment["spec"]["template"]["metadata"]["annotations"] = dict(digest)
    return objects


def _without_hash(inputs: SyncerInputs) -> list[Unstructured]:
    return [
        _object(NAMESPACES, inputs.namespace, "", inputs),
        _object(SERVICE_ACCOUNTS, inputs.id, inputs.namespace, inputs),
        _object(CLUSTER_ROLES, inputs.id, "", inputs, rules=_downstream_rules(inputs)),
        _bound(inputs, inputs.id, _account(inputs.id, inputs.namespace)),
        *([] if inputs.external_secret else [secret_object(inputs)]),
        # Made here, so that its syncers need no right to create any, and it is found again.
        *([_object(LEASES, inputs.id, inputs.namespace, inputs)] if _elects(inputs) else []),
        _object(DEPLOYMENTS, inputs.id, inputs.namespace, inputs, spec=_deployment_spec(inputs)),
    ]


def upstream_objects(
    inputs: SyncerInputs, namespace: str, owner: Mapping[str, Any]
) -> list[Unstructured]:
    """Return the syncer's identity in the workspace; garbage collection takes it with ``owner``."""
    objects = [
        _object(SERVICE_ACCOUNTS, inputs.id, namespace, inputs),
        _object(CLUSTER_ROLES, inputs.id, "", inputs, rules=_upstream_rules(inputs.name)),
        *_upstream_bindings(inputs, namespace),
    ]
    if inputs.cluster_uid:
        objects[0]["metadata"]["annotations"] = {CLUSTER_UID_ANNOTATION: inputs.cluster_uid}
    for obj in objects:
        obj["metadata"]["ownerReferences"] = [dict(owner)]
    return objects


def _object(
    resource: Resource, name: str, namespace: str, inputs: SyncerInputs, **content: Any
) -> Unstructured:
    metadata: Unstructured = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = syncer_labels(inputs.name, inputs.uid)
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        **content,
    }


def _rule(group: str, resources: Sequence[str], verbs: str, **more: Any) -> Unstructured:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs.split(), **more}


def _by_group() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for resource in SYNCED_RESOURCES:
        groups.setdefault(resource.group, []).append(resource.plural)
    return {group: sorted(plurals) for group, plurals in sorted(groups.items())}


def syncer_replicas(inputs: SyncerInputs) -> int:
    """Return how many Pods are wanted: one if nobody says."""
    return 1 if inputs.deployment.replicas is None else inputs.deployment.replicas


def _elects(inputs: SyncerInputs) -> bool:
    """Whether there are several syncers, of which one works and the others stand by."""
    return syncer_replicas(inputs) > 1


def _downstream_rules(inputs: SyncerInputs) -> list[Unstructured]:
    """Nodes, namespaces and the synced types; their status is read as part of the objects."""
    verbs = "get list watch create patch delete"
    rules = [_rule("", ["nodes"], "list watch"), _rule("", ["namespaces"], verbs)]
    rules += [_rule(group, plurals, verbs) for group, plurals in _by_group().items()]
    if _elects(inputs):
        lease = {"resourceNames": [inputs.id]}
        rules.append(_rule(LEASES.group, [LEASES.plural], "get watch update", **lease))
    return rules


def _upstream_rules(name: str) -> list[Unstructured]:
    """Decision 11: its SyncTarget, the synced types with their status, namespaces; no more."""
    verbs = "get list watch patch"
    rules = [
        # list and watch of one name need the field selector metadata.name, which a syncer sets.
        _rule(SYNCTARGETS.group, [SYNCTARGETS.plural], "get list watch", resourceNames=[name]),
        _rule(SYNCTARGETS.group, [f"{SYNCTARGETS.plural}/status"], "patch", resourceNames=[name]),
        _rule("", ["namespaces"], verbs),
    ]
    for group, plurals in _by_group().items():
        rules.append(_rule(group, plurals, verbs))
        with_status = [f"{one}/status" for one in plurals if one in {"deployments", "services"}]
        rules.append(_rule(group, with_status, "patch"))
    return rules


def _certificate_rules(syncer: str) -> list[Unstructured]:
    """What it takes to ask for a certificate; RBAC cannot limit a creation by name."""
    group, plural = CERTIFICATE_SIGNING_REQUESTS.group, CERTIFICATE_SIGNING_REQUESTS.plural
    return [
        _rule(group, [plural], "create"),
        _rule(group, [plural], "get list watch delete", resourceNames=[syncer]),
    ]


def _upstream_bindings(inputs: SyncerInputs, namespace: str) -> list[Unstructured]:
    """With certificates the service account may ask for one; the work is the certificate's."""
    account = _account(inputs.id, namespace)
    if not inputs.certificate:
        return [_bound(inputs, inputs.id, account)]
    user = {"apiGroup": _RBAC_GROUP, "kind": "User", "name": syncer_user(inputs.uid)}
    rights = certificate_rights(inputs.id)
    return [
        _bound(inputs, inputs.id, user),
        _object(CLUSTER_ROLES, rights, "", inputs, rules=_certificate_rules(inputs.id)),
        _bound(inputs, rights, account, user),
    ]


def _account(name: str, namespace: str) -> Unstructured:
    return {"kind": SERVICE_ACCOUNTS.kind, "name": name, "namespace": namespace}


def _bound(inputs: SyncerInputs, role: str, *subjects: Unstructured) -> Unstructured:
    """Return the binding of a role, under the role's name."""
    return _object(
        CLUSTER_ROLE_BINDINGS,
        role,
        "",
        inputs,
        roleRef={"apiGroup": _RBAC_GROUP, "kind": CLUSTER_ROLES.kind, "name": role},
        subjects=list(subjects),
    )


def secret_object(inputs: SyncerInputs) -> Unstructured:
    """Return the Secret with the syncer's kubeconfig for the upstream server."""
    data = base64.b64encode(_kubeconfig(inputs)).decode()
    secret = _object(
        SECRETS, inputs.id, inputs.namespace, inputs, type="Opaque", data={KUBECONFIG_KEY: data}
    )
    marks = {
        TOKEN_RENEW_ANNOTATION: inputs.token_renew_at,
        TOKEN_SECRET_ANNOTATION: inputs.token_secret_uid,
    }
    if annotations := {name: value for name, value in marks.items() if value}:
        secret["metadata"]["annotations"] = annotations
    return secret


def _kubeconfig(inputs: SyncerInputs) -> bytes:
    cluster: Unstructured = {"server": inputs.server}
    if inputs.ca:
        cluster["certificate-authority-data"] = base64.b64encode(inputs.ca).decode()
    if inputs.insecure:
        cluster["insecure-skip-tls-verify"] = True
    if inputs.server_name:
        cluster["tls-server-name"] = inputs.server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "upstream", "cluster": cluster}],
        "users": [{"name": "syncer", "user": {"token": inputs.token}}],
        "contexts": [{"name": "upstream", "context": {"cluster": "upstream", "user": "syncer"}}],
        "current-context": "upstream",
    }
    # JSON is YAML, and forty times as quick to write; this runs at every reconcile.
    return msgspec.json.format(msgspec.json.encode(config))


def syncer_arguments(inputs: SyncerInputs) -> list[str]:
    """Return the container's arguments."""
    return [
        "syncer",
        f"--sync-target-name={inputs.name}",
        f"--sync-target-uid={inputs.uid}",
        f"--from-cluster={inputs.cluster}",
        f"--from-kubeconfig={_MOUNT}/{KUBECONFIG_KEY}",
        f"--health-probe-bind-address=$(POD_IP):{_HEALTH_PORT}",
        *(["--from-auth=certificate"] if inputs.certificate else []),
        *(["--leader-elect"] if _elects(inputs) else []),
        *inputs.arguments,
    ]


def _deployment_spec(inputs: SyncerInputs) -> Unstructured:
    labels = {"app": inputs.id}
    return {
        "replicas": syncer_replicas(inputs),
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": {**labels, **syncer_labels(inputs.name, inputs.uid)}},
            "spec": _pod_spec(inputs),
        },
    }


def _pod_spec(inputs: SyncerInputs) -> Unstructured:
    wanted = inputs.deployment
    spec: Unstructured = {
        "serviceAccountName": inputs.id,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(inputs)],
        "volumes": [
            {"name": "kubeconfig", "secret": {"secretName": inputs.id}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if wanted.priority_class_name:
        spec["priorityClassName"] = wanted.priority_class_name
    if wanted.node_selector:
        spec["nodeSelector"] = dict(wanted.node_selector)
    if wanted.tolerations:
        spec["tolerations"] = msgspec.to_builtins(wanted.tolerations)
    if wanted.image_pull_secrets:
        spec["imagePullSecrets"] = msgspec.to_builtins(wanted.image_pull_secrets)
    return spec


def _container(inputs: SyncerInputs) -> Unstructured:
    resources = inputs.deployment.resources
    requests = dict(resources.requests) if resources else {}
    limits = dict(resources.limits) if resources else {}
    return {
        "name": "kcp-syncer",
        "image": inputs.image,
        "imagePullPolicy": "IfNotPresent",
        "args": syncer_arguments(inputs),
        "env": [
            _from_field("NAMESPACE", "metadata.namespace"),
            _from_field("POD_NAME", "metadata.name"),
            _from_field("POD_IP", "status.podIP"),
        ],
        "ports": [{"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"}],
        "livenessProbe": _probe("/healthz", delay=30, period=30, timeout=10),
        # Often, so that a fresh target is Ready soon; the answer costs the syncer nothing.
        "readinessProbe": _probe("/readyz", delay=0, period=2, timeout=5),
        "resources": {"requests": {**_REQUESTS, **requests}, "limits": {**_LIMITS, **limits}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "kubeconfig", "mountPath": _MOUNT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _from_field(name: str, path: str) -> Unstructured:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _probe(path: str, *, delay: int, period: int, timeout: int) -> Unstructured:
    return {
        "httpGet": {"path": path, "port": _HEALTH_PORT},
        "initialDelaySeconds": delay,
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": 3,
    }
