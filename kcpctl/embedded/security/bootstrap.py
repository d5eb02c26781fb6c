"""The roles and bindings that every logical cluster starts with, as on a real server."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.rbac import RBAC_GROUP
from kcpctl.embedded.user import MASTERS

__all__ = ["bootstrap_rbac"]

_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS: Final = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_PUBLIC_PATHS: Final = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY_PATHS: Final = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]


def _rule(groups: str, resources: str, verbs: list[str]) -> dict[str, Any]:
    """Return a rule; ``groups`` and ``resources`` separated by blanks, "core" is the core group."""
    return {
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "verbs": verbs,
    }


_VIEW: Final = [
    _rule(
        "core",
        "bindings configmaps endpoints limitranges namespaces namespaces/status "
        "persistentvolumeclaims persistentvolumeclaims/status pods pods/log pods/status "
        "replicationcontrollers replicationcontrollers/scale replicationcontrollers/status "
        "resourcequotas resourcequotas/status serviceaccounts services services/status",
        _READ,
    ),
    _rule("core events.k8s.io", "events", _READ),
    _rule("discovery.k8s.io", "endpointslices", _READ),
    _rule(
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
        "deployments/status replicasets replicasets/scale replicasets/status statefulsets "
        "statefulsets/scale statefulsets/status",
        _READ,
    ),
    _rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
    _rule("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
    _rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
    _rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
]
_EDIT: Final = [
    *_VIEW,
    _rule(
        "core",
        "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        _READ,
    ),
    _rule("core", "serviceaccounts", ["impersonate"]),
    _rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", _WRITE),
    _rule("core", "pods/eviction serviceaccounts/token", ["create"]),
    _rule(
        "core",
        "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale "
        "secrets serviceaccounts services services/proxy",
        _WRITE,
    ),
    _rule("core events.k8s.io", "events", _WRITE),
    _rule(
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets "
        "replicasets/scale statefulsets statefulsets/scale",
        _WRITE,
    ),
    _rule("autoscaling", "horizontalpodautoscalers", _WRITE),
    _rule("batch", "cronjobs jobs", _WRITE),
    _rule("policy", "poddisruptionbudgets", _WRITE),
    _rule("networking.k8s.io", "ingresses networkpolicies", _WRITE),
    _rule("coordination.k8s.io", "leases", [*_READ, *_WRITE]),
]
_ADMIN: Final = [
    *_EDIT,
    _rule("authorization.k8s.io", "localsubjectaccessreviews", ["create"]),
    _rule(RBAC_GROUP, "rolebindings roles", [*_READ, *_WRITE]),
]

_ROLES: Final[dict[str, list[dict[str, Any]]]] = {
    "cluster-admin": [
        _rule("*", "*", ["*"]),
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ],
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:basic-user": [
        _rule(
            "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]
        ),
        _rule("authentication.k8s.io", "selfsubjectreviews", ["create"]),
    ],
    "system:discovery": [{"nonResourceURLs": _DISCOVERY_PATHS, "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _PUBLIC_PATHS, "verbs": ["get"]}],
}
# Whoever it is bound to may use the virtual workspaces of the exports here, if the rest allows it.
_WORKSPACE_ROLES: Final[dict[str, list[dict[str, Any]]]] = {
    "system:kcp:workspace:access": [{"nonResourceURLs": ["/"], "verbs": ["access"]}]
}
_BINDINGS: Final = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": ("system:authenticated",),
    "system:discovery": ("system:authenticated",),
    "system:public-info-viewer": ("system:authenticated", "system:unauthenticated"),
}


def bootstrap_rbac(registry: Registry, cluster: str) -> None:
    """Create in ``cluster`` whatever of the default roles and bindings it does not have."""
    roles = registry.info(cluster, RBAC_GROUP, "v1", "clusterroles")
    wanted = _ROLES | _WORKSPACE_ROLES if registry.workspaces else _ROLES
    for name, rules in wanted.items():
        if registry.find(roles, cluster, "", name) is None:
            role = {**_object("ClusterRole", name), "rules": rules}
            registry.create(roles, cluster, "", role)
    bindings = registry.info(cluster, RBAC_GROUP, "v1", "clusterrolebindings")
    for name, groups in _BINDINGS.items():
        if registry.find(bindings, cluster, "", name) is None:
            ref = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name}
            subjects = [
                {"apiGroup": RBAC_GROUP, "kind": "Group", "name": group} for group in groups
            ]
            binding = {
                **_object("ClusterRoleBinding", name),
                "roleRef": ref,
                "subjects": subjects,
            }
            registry.create(bindings, cluster, "", binding)


def _object(kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": dict(_LABELS),
            "annotations": dict(_ANNOTATIONS),
        },
    }
