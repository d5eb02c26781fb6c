"""Which resources exist: the built-in table, and the shape that CRDs are brought into too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

__all__ = [
    "ALL_VERBS",
    "BUILT_IN",
    "LOGICAL_CLUSTERS_KEY",
    "READ_VERBS",
    "WORKSPACE_KINDS",
    "CrdVersion",
    "ResourceInfo",
    "built_in_infos",
]

ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)
READ_VERBS: Final = ("get", "list", "watch")
_NO_COLLECTION: Final = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_CREATE_ONLY: Final = ("create",)
LOGICAL_CLUSTERS_KEY: Final = "logicalclusters.core.kcp.io"


@dataclass(frozen=True, slots=True, eq=False)
class CrdVersion:
    """One served version of a CustomResourceDefinition.

    ``schema`` is the openAPIV3Schema (None: everything is preserved), ``columns`` the
    additionalPrinterColumns, ``scale`` the scale subresource's paths.
    """

    crd_name: str
    schema: dict[str, Any] | None
    columns: tuple[dict[str, Any], ...] = ()
    scale: dict[str, Any] | None = None
    selectable_fields: tuple[str, ...] = ()
    deprecated: bool = False
    deprecation_warning: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ResourceInfo:
    """A resource in one version, as served by one or all logical clusters.

    Compared by identity; every version of a resource has the same ``storage_key`` (the group
    resource) and its objects are stored as ``storage_version``. ``virtual`` resources can only be
    created and are never stored. ``crd`` is None for built-in kinds. Resources that come through
    an APIBinding carry the ``identity`` of their APIExport, also in the storage key: what two
    exports call the same is kept apart. ``names_are_paths``: names need only fit into a path.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: frozenset[str] = frozenset()
    crd: CrdVersion | None = None
    storage_key: str = ""
    storage_version: str = ""
    virtual: bool = False
    has_generation: bool = False
    identity: str = ""
    names_are_paths: bool = False

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``deployments.apps``, or ``pods`` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether status is written through its own subresource only."""
        return "status" in self.subresources


def _info(
    group: str,
    version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    short: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = ALL_VERBS,
    sub: str = "",
    storage_key: str = "",
    storage_version: str = "",
    generation: bool = False,
) -> ResourceInfo:
    return ResourceInfo(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        singular=kind.lower(),
        list_kind=f"{kind}List",
        short_names=short,
        categories=categories,
        verbs=verbs,
        subresources=frozenset(sub.split()),
        storage_key=storage_key or (f"{plural}.{group}" if group else plural),
        storage_version=storage_version or (f"{group}/{version}" if group else version),
        virtual=verbs == _CREATE_ONLY,
        has_generation=generation,
    )


_ALL = ("all",)
_RBAC = "rbac.authorization.k8s.io"
_AUTHN = "authentication.k8s.io"
_AUTHZ = "authorization.k8s.io"
_STORAGE = "storage.k8s.io"
_NET = "networking.k8s.io"


def _core() -> list[ResourceInfo]:
    return [
        _info("", "v1", "configmaps", "ConfigMap", short=("cm",)),
        _info("", "v1", "endpoints", "Endpoints", short=("ep",)),
        _info("", "v1", "events", "Event", short=("ev",)),
        _info("", "v1", "limitranges", "LimitRange", short=("limits",)),
        _info(
            "",
            "v1",
            "namespaces",
            "Namespace",
            namespaced=False,
            short=("ns",),
            verbs=_NO_COLLECTION,
            sub="status finalize",
        ),
        _info("", "v1", "nodes", "Node", namespaced=False, short=("no",), sub="status"),
        _info(
            "",
            "v1",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            short=("pvc",),
            sub="status",
        ),
        _info(
            "",
            "v1",
            "persistentvolumes",
            "PersistentVolume",
            namespaced=False,
            short=("pv",),
            sub="status",
        ),
        _info(
            "",
            "v1",
            "pods",
            "Pod",
            short=("po",),
            categories=_ALL,
            sub="status binding eviction log",
            generation=True,
        ),
        _info("", "v1", "podtemplates", "PodTemplate", generation=True),
        _info(
            "",
            "v1",
            "replicationcontrollers",
            "ReplicationController",
            short=("rc",),
            categories=_ALL,
            sub="status scale",
            generation=True,
        ),
        _info("", "v1", "resourcequotas", "ResourceQuota", short=("quota",), sub="status"),
        _info("", "v1", "secrets", "Secret"),
        _info("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",), sub="token"),
        _info("", "v1", "services", "Service", short=("svc",), categories=_ALL, sub="status"),
    ]


def _workloads() -> list[ResourceInfo]:
    def workload(group: str, plural: str, kind: str, short: str, sub: str) -> ResourceInfo:
        return _info(
            group,
            "v1",
            plural,
            kind,
            short=(short,) if short else (),
            categories=_ALL,
            sub=sub,
            generation=True,
        )

    return [
        _info("apps", "v1", "controllerrevisions", "ControllerRevision"),
        workload("apps", "daemonsets", "DaemonSet", "ds", "status"),
        workload("apps", "deployments", "Deployment", "deploy", "status scale"),
        workload("apps", "replicasets", "ReplicaSet", "rs", "status scale"),
        workload("apps", "statefulsets", "StatefulSet", "sts", "status scale"),
        workload("batch", "cronjobs", "CronJob", "cj", "status"),
        workload("batch", "jobs", "Job", "", "status"),
        _info(
            "autoscaling",
            "v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            short=("hpa",),
            categories=_ALL,
            sub="status",
        ),
        _info(
            "policy",
            "v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            short=("pdb",),
            sub="status",
            generation=True,
        ),
    ]


def _security() -> list[ResourceInfo]:
    def rbac(plural: str, kind: str, *, namespaced: bool) -> ResourceInfo:
        return _info(_RBAC, "v1", plural, kind, namespaced=namespaced)

    def review(group: str, plural: str, kind: str, *, namespaced: bool = False) -> ResourceInfo:
        return _info(group, "v1", plural, kind, namespaced=namespaced, verbs=_CREATE_ONLY)

    return [
        rbac("clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        rbac("clusterroles", "ClusterRole", namespaced=False),
        rbac("rolebindings", "RoleBinding", namespaced=True),
        rbac("roles", "Role", namespaced=True),
        review(_AUTHN, "selfsubjectreviews", "SelfSubjectReview"),
        review(_AUTHN, "tokenreviews", "TokenReview"),
        review(_AUTHZ, "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True),
        review(_AUTHZ, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        review(_AUTHZ, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        review(_AUTHZ, "subjectaccessreviews", "SubjectAccessReview"),
        _info(
            "certificates.k8s.io",
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            namespaced=False,
            short=("csr",),
            sub="status approval",
        ),
    ]


def _cluster() -> list[ResourceInfo]:
    return [
        _info("coordination.k8s.io", "v1", "leases", "Lease"),
        _info(
            "events.k8s.io",
            "v1",
            "events",
            "Event",
            short=("ev",),
            storage_key="events",
            storage_version="v1",
        ),
        _info("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True),
        _info(
            _NET,
            "v1",
            "ingressclasses",
            "IngressClass",
            namespaced=False,
            generation=True,
        ),
        _info(_NET, "v1", "ingresses", "Ingress", short=("ing",), sub="status", generation=True),
        _info(_NET, "v1", "networkpolicies", "NetworkPolicy", short=("netpol",), generation=True),
        _info(
            "scheduling.k8s.io",
            "v1",
            "priorityclasses",
            "PriorityClass",
            namespaced=False,
            short=("pc",),
            generation=True,
        ),
        _info(_STORAGE, "v1", "storageclasses", "StorageClass", namespaced=False, short=("sc",)),
        _info(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            namespaced=False,
            short=("crd", "crds"),
            categories=("api-extensions",),
            sub="status",
            generation=True,
        ),
        _info(
            "apiregistration.k8s.io",
            "v1",
            "apiservices",
            "APIService",
            namespaced=False,
            categories=("api-extensions",),
            sub="status",
        ),
    ]


BUILT_IN: Final = (*_core(), *_workloads(), *_security(), *_cluster())
"""What a plain server serves."""

WORKSPACE_KINDS: Final = (
    _info(
        "tenancy.kcp.io",
        "v1alpha1",
        "workspaces",
        "Workspace",
        namespaced=False,
        short=("ws",),
        categories=("kcp",),
        sub="status",
        generation=True,
    ),
    _info(
        "core.kcp.io",
        "v1alpha1",
        "logicalclusters",
        "LogicalCluster",
        namespaced=False,
        categories=("kcp",),
        verbs=("get", "list", "patch", "update", "watch"),
        sub="status",
        generation=True,
    ),
)
"""What a server with workspaces serves besides."""


@lru_cache
def built_in_infos(*, workspaces: bool) -> tuple[ResourceInfo, ...]:
    """Return the built-in resources of a server with or without workspaces."""
    return BUILT_IN + WORKSPACE_KINDS if workspaces else BUILT_IN
