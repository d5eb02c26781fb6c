"""``workload.kcp.io/v1alpha1``: SyncTarget, a cluster that workloads are synced to."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Self

import msgspec

from kcpctl.apis.common import (
    DNS_SUBDOMAIN,
    DURATION,
    LABEL_VALUE,
    PATH_PATTERN,
    TIME,
    LabelSelector,
    Quantity,
    ResourceList,
    Taint,
)
from kcpctl.apis.meta import ApiObject, ApiStruct
from kcpctl.apis.resource import Resource
from kcpctl.apis.schema import doc
from kcpctl.apis.synctarget_connection import Connection, Credentials
from kcpctl.apis.synctarget_deployment import Deployment, Syncer
from kcpctl.apis.synctarget_status import SyncTargetStatus

__all__ = [
    "DELETE",
    "EXTERNAL",
    "MANAGED",
    "ORPHAN",
    "SYNCTARGETS",
    "APIExportReference",
    "ClusterReference",
    "Maintenance",
    "ResourceQuotas",
    "SyncTarget",
    "SyncTargetSelector",
    "SyncTargetSpec",
    "SyncTargetStatus",
    "deployment_mode",
    "names_a_cluster",
]

SYNCTARGETS: Final = Resource(
    "workload.kcp.io", "v1alpha1", "synctargets", "SyncTarget", namespaced=False
)
MANAGED: Final = "Managed"
EXTERNAL: Final = "External"
DELETE: Final = "Delete"
ORPHAN: Final = "Orphan"


class ClusterReference(ApiStruct):
    """Names the physical cluster by its ClusterRegistration."""

    name: Annotated[
        str,
        doc("Name of the ClusterRegistration.", {"minLength": 1, "maxLength": 253}),
    ]
    workspace: Annotated[
        str,
        doc(
            "Path or logical cluster name of the workspace that holds the ClusterRegistration. "
            "Defaults to the SyncTarget's own workspace, which needs the verb use on one "
            "elsewhere, and get on its Secrets.",
            {"maxLength": 253, "pattern": f"^$|{PATH_PATTERN}"},
        ),
    ] = ""


class APIExportReference(ApiStruct):
    """Names an APIExport whose resources this SyncTarget can run."""

    export: Annotated[str, doc("Name of the APIExport.", {"minLength": 1, "maxLength": 253})]
    path: Annotated[
        str,
        doc(
            "Path of the workspace that holds the APIExport. Empty means the SyncTarget's own.",
            {"maxLength": 253, "pattern": f"^$|{PATH_PATTERN}", "default": ""},
        ),
    ] = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that people write as ``export`` or ``path:export``.

        Raises ValueError when a part is empty.
        """
        path, colon, export = text.strip().rpartition(":")
        if not export or (colon and not path):
            raise ValueError(f"{text!r} is not an APIExport: write export or path:export")
        return cls(export=export, path=path)


class ResourceQuotas(ApiStruct):
    """Upper bounds for what may be assigned to a SyncTarget."""

    cpu: Annotated[Quantity | None, doc("CPU in cores.")] = None
    memory: Annotated[Quantity | None, doc("Memory in bytes.")] = None
    storage: Annotated[Quantity | None, doc("Persistent storage in bytes.")] = None
    pods: Annotated[Quantity | None, doc("Number of Pods.")] = None
    custom: Annotated[ResourceList, doc("Bounds for other resources, by name.")] = {}


class SyncTargetSelector(LabelSelector):
    """Restricts which objects may be synced to a SyncTarget; empty allows all."""

    namespace_selector: Annotated[
        LabelSelector | None, doc("Only objects in namespaces that this chooses.")
    ] = None
    locations: Annotated[
        list[str],
        doc(
            "Only objects that ask for one of these locations. Schedulers look at it; the syncer "
            "does not, as objects ask it for nothing.",
            {"maxItems": 100, "x-kubernetes-list-type": "set"},
        ),
    ] = []


class Maintenance(ApiStruct):
    """Switches for the time in which people work on the cluster."""

    suspend: Annotated[bool, doc("Stop syncing in both directions without removing anything.")] = (
        False
    )


class SyncTargetSpec(ApiStruct):
    """What the owner of a SyncTarget wants."""

    cluster: Annotated[
        str,
        doc(
            "The physical cluster that workloads run on: the name of a ClusterRegistration, or "
            "else of a connection whose kubeconfig is stored in the Secret <cluster>-kubeconfig. "
            "The short form of clusterRef; path:name is one of another workspace.",
            {
                "maxLength": 253,
                "pattern": f"^$|{DNS_SUBDOMAIN}|{PATH_PATTERN}",
            },
        ),
    ] = ""
    cluster_ref: Annotated[
        ClusterReference | None,
        doc(
            "The physical cluster, as a reference to its ClusterRegistration. Cannot be changed "
            "once set, and not be combined with cluster."
        ),
    ] = None
    kcp_cluster: Annotated[
        str,
        doc(
            "The upstream workspace that is served: a path or the name of a logical cluster. "
            "Defaults to the SyncTarget's own workspace, which is the only one that can be served "
            "yet; the condition Valid tells when this names another. Cannot be changed once set.",
            {"maxLength": 253, "pattern": f"^$|{PATH_PATTERN}"},
        ),
    ] = ""
    supported_api_exports: Annotated[
        list[APIExportReference],
        doc(
            "The APIExports whose resources may be synced to this target. Defaults to kubernetes "
            "of root:compute.",
            {
                "maxItems": 100,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["path", "export"],
            },
        ),
    ] = msgspec.field(default_factory=list, name="supportedAPIExports")
    supported_resource_types: Annotated[
        list[
            Annotated[
                str,
                doc(
                    "resource.group or resource.version.group; of the core group resource or "
                    "resource.version.",
                    {"maxLength": 253, "pattern": DNS_SUBDOMAIN},
                ),
            ]
        ],
        doc(
            "The resource types that may be synced, such as deployments.apps, "
            "deployments.v1.apps, configmaps or configmaps.v1. Empty means all that the syncer "
            "knows. What is not among them counts as not assigned.",
            {"maxItems": 200, "x-kubernetes-list-type": "set"},
        ),
    ] = []
    cells: Annotated[
        dict[str, Annotated[str, doc("A label value.", {"maxLength": 63, "pattern": LABEL_VALUE})]],
        doc(
            "Labels that say where in the physical world the cluster is. SyncTargets with the "
            "same cells share one cluster. A target that names a cluster needs at least one."
        ),
    ] = {}
    taints: Annotated[
        list[Taint],
        doc(
            "Taints that keep workloads away.",
            {
                "maxItems": 50,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["key", "effect"],
            },
        ),
    ] = []
    location: Annotated[
        str, doc("Where the cluster is, for people; printed by kubectl get.", {"maxLength": 63})
    ] = ""
    unschedulable: Annotated[
        bool, doc("Keep new workloads away. What is assigned already stays.")
    ] = False
    evict_after: Annotated[
        str | None,
        doc(
            "When workloads are moved away from this target. A time in the past means now. Has "
            "an effect together with unschedulable only.",
            TIME,
        ),
    ] = None
    eviction_grace_period: Annotated[
        str,
        doc(
            "How long the target may be Unhealthy before workloads are moved away: nothing new is "
            "placed there from then on, and where this is set, what is assigned is asked to leave. "
            "5m by default; 0s means never. Has no effect together with unschedulable.",
            DURATION,
        ),
    ] = ""
    capacity: Annotated[
        ResourceList,
        doc(
            "What the cluster offers, by resource name (cpu, memory, pods, ...). Overrides what "
            "the syncer finds. No figure may be negative."
        ),
    ] = {}
    resource_quotas: Annotated[
        ResourceQuotas | None, doc("Upper bounds for what may be assigned to this target.")
    ] = None
    selector: Annotated[
        SyncTargetSelector | None,
        doc(
            "Restricts which objects may be synced to this target; empty allows all. What it does "
            "not choose counts as not assigned, whatever its own labels say."
        ),
    ] = None
    connection: Annotated[
        Connection | None,
        doc("How the controller reaches the physical cluster, when no registration says it."),
    ] = None
    credentials: Annotated[
        Credentials | None, doc("How the controller authenticates itself to connection.server.")
    ] = None
    deployment: Annotated[
        Deployment | None, doc("Who runs the syncer on the physical cluster, and how.")
    ] = None
    syncer: Annotated[Syncer | None, doc("How the syncer works.")] = None
    maintenance: Annotated[
        Maintenance | None,
        doc("Switches for the time in which people work on the cluster."),
    ] = None
    deletion_policy: Annotated[
        str,
        doc(
            "What happens to the workloads on the physical cluster when the SyncTarget is "
            "deleted: Delete (the default) removes them, Orphan leaves them running.",
            {"enum": [DELETE, ORPHAN]},
        ),
    ] = ""

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "!(has(self.cluster) && self.cluster != '' && has(self.clusterRef))",
                "message": "cluster and clusterRef are two forms of the same; set one of them",
            },
        ]
    }


def _immutable(field: str) -> dict[str, str]:
    """Return the rule that a field of spec, once set, keeps its value."""
    had, has = f"has(oldSelf.spec.{field})", f"has(self.spec) && has(self.spec.{field})"
    return {
        "rule": f"!has(oldSelf.spec) || !{had} || "
        f"({has} && self.spec.{field} == oldSelf.spec.{field})",
        "message": f"spec.{field} cannot be changed once it is set",
    }


class SyncTarget(ApiObject):
    """A cluster that the workloads of a workspace are synced to.

    The controller deploys a syncer onto the cluster (or waits for one that somebody else runs) and
    reports in the status whether workloads can be placed there.
    """

    api_version: str = SYNCTARGETS.api_version
    kind: str = SYNCTARGETS.kind
    spec: Annotated[SyncTargetSpec, doc("What the owner of the SyncTarget wants.")] = msgspec.field(
        default_factory=SyncTargetSpec
    )
    status: Annotated[SyncTargetStatus, doc("What the controller and the syncer observed.")] = (
        msgspec.field(default_factory=SyncTargetStatus)
    )

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "self.metadata.name.size() >= 3 && self.metadata.name.size() <= 63 && "
                "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                "message": "the name must be a DNS-1123 label of 3 to 63 characters, because it "
                "becomes part of label values and namespace names",
            },
            _immutable("clusterRef"),
            _immutable("kcpCluster"),
        ]
    }


def names_a_cluster(spec: SyncTargetSpec) -> bool:
    """Whether the spec says which physical cluster it stands for."""
    return bool(spec.cluster) or spec.cluster_ref is not None or spec.connection is not None


def deployment_mode(spec: SyncTargetSpec) -> str:
    """Return Managed or External: as stated, else Managed when a physical cluster is named."""
    if spec.deployment is not None and spec.deployment.mode:
        return spec.deployment.mode
    return MANAGED if names_a_cluster(spec) else EXTERNAL
