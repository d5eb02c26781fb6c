"""The status of a SyncTarget. Every field has one writer."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from kcpctl.apis.common import TIME, ResourceList
from kcpctl.apis.conditions import Condition
from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.schema import doc

__all__ = [
    "CLUSTER_CONNECTED",
    "DEPLOYING",
    "DRAINED",
    "DRAINING",
    "FAILED",
    "NOT_READY",
    "PENDING",
    "PHASES",
    "PHASE_READY",
    "SUSPENDED",
    "SYNCER_DISCONNECTED",
    "SYNCER_READY",
    "TERMINATING",
    "Capabilities",
    "Health",
    "HealthCheck",
    "SyncTargetStatus",
    "SyncedResource",
    "TunnelWorkspace",
    "VirtualWorkspace",
]

PENDING: Final = "Pending"
DEPLOYING: Final = "Deploying"
PHASE_READY: Final = "Ready"
NOT_READY: Final = "NotReady"
FAILED: Final = "Failed"
TERMINATING: Final = "Terminating"
PHASES: Final = (PENDING, DEPLOYING, PHASE_READY, NOT_READY, FAILED, TERMINATING)

CLUSTER_CONNECTED: Final = "ClusterConnected"
"""The condition of the connection: the controller's in Managed mode, the syncer's in External."""
SYNCER_READY: Final = "SyncerReady"
"""The condition that the syncer sums itself up in."""
SYNCER_DISCONNECTED: Final = "SyncerDisconnected"
"""Its reason while the syncer cannot work with its cluster."""
SUSPENDED: Final = "Suspended"
"""Its reason while the SyncTarget is suspended."""
DRAINING: Final = "Draining"
"""Its reason while what is assigned leaves, since the SyncTarget is being deleted."""
DRAINED: Final = "Drained"
"""Its reason once nothing is left on the cluster of a SyncTarget that is being deleted."""


class SyncedResource(ApiStruct, kw_only=True):
    """A resource type that the syncer carries, and whether both sides serve it."""

    group: Annotated[str, doc("API group; empty for the core group.", {"default": ""})] = ""
    resource: Annotated[str, doc("Plural name of the resource.", {"minLength": 1})]
    versions: Annotated[
        list[str],
        doc("Versions that are synced.", {"minItems": 1, "x-kubernetes-list-type": "set"}),
    ]
    identity_hash: Annotated[str, doc("Identity of the APIExport that it comes from.")] = ""
    state: Annotated[
        str,
        doc(
            "Accepted: both sides serve it. Pending: the workspace does not, so far. "
            "Incompatible: the cluster does not.",
            {"enum": ["Pending", "Accepted", "Incompatible"], "default": "Pending"},
        ),
    ] = "Pending"


class VirtualWorkspace(ApiStruct):
    """Where the syncer finds the upstream objects."""

    url: Annotated[str, doc("URL of the virtual workspace.")] = ""
    name: Annotated[str, doc("Name of the virtual workspace.")] = ""
    syncer_url: Annotated[str, doc("URL for syncing down.")] = msgspec.field(
        default="", name="syncerURL"
    )
    upsyncer_url: Annotated[str, doc("URL for syncing up.")] = msgspec.field(
        default="", name="upsyncerURL"
    )


class TunnelWorkspace(ApiStruct):
    """Where the syncer opens its tunnel."""

    url: Annotated[str, doc("URL of the tunnel.")]


class Capabilities(ApiStruct):
    """What the physical cluster can do."""

    compute: Annotated[str, doc("Whether it runs workloads.")] = ""
    storage: Annotated[str, doc("Whether it offers persistent storage.")] = ""
    network: Annotated[str, doc("Whether it offers load balancers and ingresses.")] = ""
    features: Annotated[
        list[str], doc("Other features, by name.", {"x-kubernetes-list-type": "set"})
    ] = []


class HealthCheck(ApiStruct):
    """One check that the health is made of."""

    name: Annotated[str, doc("Name of the check.")]
    healthy: Annotated[bool, doc("Whether it passed.")]
    message: Annotated[str, doc("The reason why it did not.")] = ""


class Health(ApiStruct):
    """How well the SyncTarget is, as one figure and the checks behind it."""

    score: Annotated[int, doc("0 to 100.", {"format": "int32", "minimum": 0, "maximum": 100})] = 0
    checks: Annotated[
        list[HealthCheck],
        doc(
            "The checks behind it.",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []


class SyncTargetStatus(ApiStruct):
    """What the controller and the syncer observed."""

    observed_generation: Annotated[
        int, doc("The metadata.generation that the controller last looked at.", {"minimum": 0})
    ] = 0
    phase: Annotated[
        str,
        doc(
            "A summary in one word. Pending: not looked at, or no heartbeat yet. Deploying: the "
            "syncer is on its way. Ready: workloads can be placed. NotReady: they could be "
            "before. Failed: needs a person. Terminating: being deleted.",
            {"enum": [*PHASES]},
        ),
    ] = ""
    conditions: Annotated[
        list[Condition],
        doc(
            "Observations one by one; Ready sums them up.",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    capacity: Annotated[ResourceList, doc("What the cluster has, or what spec.capacity says.")] = {}
    allocatable: Annotated[ResourceList, doc("What of the capacity workloads may use.")] = {}
    allocated: Annotated[ResourceList, doc("What assigned workloads ask for.")] = {}
    available: Annotated[ResourceList, doc("What is left for more workloads.")] = {}
    last_syncer_heartbeat_time: Annotated[
        str | None, doc("When the syncer last reported that it is alive.", TIME)
    ] = None
    last_heartbeat_time: Annotated[
        str | None, doc("The same as lastSyncerHeartbeatTime, under another name.", TIME)
    ] = None
    last_sync_time: Annotated[
        str | None, doc("When the syncer last finished a whole pass without errors.", TIME)
    ] = None
    synced_resources: Annotated[
        list[SyncedResource],
        doc(
            "The resource types that the syncer carries.",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["group", "resource"]},
        ),
    ] = []
    resource_count: Annotated[int, doc("Objects that the syncer keeps in sync.")] = 0
    workload_count: Annotated[int, doc("Workloads among them.")] = 0
    virtual_workspaces: Annotated[
        list[VirtualWorkspace],
        doc(
            "Where the syncer finds the upstream objects: on a kcp the endpoint of the APIExport "
            "that serves this workspace; empty on other servers.",
            {"x-kubernetes-list-type": "atomic"},
        ),
    ] = []
    tunnel_workspaces: Annotated[
        list[TunnelWorkspace],
        doc(
            "Where the syncer opens its tunnel. For a controller that serves tunnels to write; "
            "kcpctl has none and leaves it alone.",
            {"x-kubernetes-list-type": "atomic"},
        ),
    ] = []
    syncer_identity: Annotated[str, doc("Which syncer is at work: its Pod and instance.")] = ""
    syncer_version: Annotated[str, doc("Version of the syncer.")] = ""
    kubernetes_version: Annotated[str, doc("Version of the physical cluster.")] = ""
    node_count: Annotated[int, doc("Nodes of the physical cluster.", {"format": "int32"})] = 0
    capabilities: Annotated[
        Capabilities | None,
        doc("What the physical cluster can do, for whoever finds out; kcpctl does not."),
    ] = None
    supported_resource_versions: Annotated[
        dict[str, str],
        doc(
            "Versions that the physical cluster serves, by resource type; the one it prefers first."
        ),
    ] = {}
    health: Annotated[
        Health | None, doc("How well the target is, as one figure and the checks behind it.")
    ] = None
