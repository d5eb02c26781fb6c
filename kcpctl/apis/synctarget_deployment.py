"""The parts of a SyncTarget's spec that say how its syncer is deployed and how it works."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from kcpctl.apis.common import DNS_LABEL, DURATION, ResourceList
from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.schema import doc

__all__ = [
    "DEFAULT_BURST",
    "DEFAULT_QPS",
    "Deployment",
    "LocalReference",
    "ResourceRequirements",
    "RetryBackoff",
    "Syncer",
    "Toleration",
]

DEFAULT_QPS: Final = 20
DEFAULT_BURST: Final = 30


class ResourceRequirements(ApiStruct):
    """Compute resources of the syncer's container."""

    requests: Annotated[ResourceList, doc("What is set aside; 100m CPU and 128Mi by default.")] = {}
    limits: Annotated[ResourceList, doc("What is allowed; 500m CPU and 512Mi by default.")] = {}


class Toleration(ApiStruct):
    """Lets the syncer's Pod run on Nodes with a matching taint."""

    key: Annotated[str, doc("Key of the taint; empty with Exists means every taint.")] = ""
    operator: Annotated[
        str, doc("How the value is compared; Equal by default.", {"enum": ["Equal", "Exists"]})
    ] = ""
    value: Annotated[str, doc("Value of the taint, for Equal.")] = ""
    effect: Annotated[
        str,
        doc(
            "Effect of the taint; empty means every effect.",
            {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        ),
    ] = ""
    toleration_seconds: Annotated[
        int | None, doc("For how long a NoExecute taint is tolerated; forever when not set.")
    ] = None


class LocalReference(ApiStruct):
    """A reference to an object in the same namespace."""

    name: Annotated[str, doc("Name of the object.", {"minLength": 1, "maxLength": 253})]


class Deployment(ApiStruct):
    """Who runs the syncer on the physical cluster, and how."""

    mode: Annotated[
        str,
        doc(
            "Managed: the controller deploys the syncer. External: somebody else does, and the "
            "controller only waits for its heartbeat. Defaults to Managed when cluster, "
            "clusterRef or connection is set.",
            {"enum": ["Managed", "External"]},
        ),
    ] = ""
    image: Annotated[
        str,
        doc(
            "Container image of the syncer. Defaults to the controller's --syncer-image.",
            {"maxLength": 1024},
        ),
    ] = ""
    replicas: Annotated[
        int | None,
        doc(
            "Number of syncer Pods; 0 stops it. Defaults to 1. Of several one works, the others "
            "stand by.",
            {"format": "int32", "minimum": 0},
        ),
    ] = None
    namespace: Annotated[
        str,
        doc(
            "Namespace of the syncer on the physical cluster. Defaults to a name made of the "
            "SyncTarget's name and uid.",
            {"maxLength": 63, "pattern": f"^$|{DNS_LABEL}"},
        ),
    ] = ""
    resources: Annotated[
        ResourceRequirements | None, doc("Compute resources of the syncer's container.")
    ] = None
    priority_class_name: Annotated[str, doc("PriorityClass of the syncer's Pod.")] = ""
    node_selector: Annotated[dict[str, str], doc("Labels of the Nodes that may run it.")] = {}
    tolerations: Annotated[
        list[Toleration],
        doc("Taints that its Pod tolerates.", {"x-kubernetes-list-type": "atomic"}),
    ] = []
    image_pull_secrets: Annotated[
        list[LocalReference],
        doc(
            "Secrets in the syncer's namespace that its image is pulled with.",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    log_level: Annotated[
        int | None,
        doc(
            "Verbosity of the syncer's log: 0 is the usual one, from 1 on it tells detail.",
            {"format": "int32", "minimum": 0, "maximum": 10},
        ),
    ] = None
    feature_gates: Annotated[
        dict[str, bool],
        doc("Experimental features to turn on or off, by name. There are none; ignored."),
    ] = {}


class RetryBackoff(ApiStruct):
    """How long the syncer waits before it tries an object again."""

    initial_interval: Annotated[str, doc("First wait at most; 5ms by default.", DURATION)] = ""
    max_interval: Annotated[str, doc("Longest wait; 60s by default.", DURATION)] = ""
    multiplier: Annotated[
        float | None, doc("Factor from one wait to the next, above 1; 2 by default.")
    ] = None

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "!has(self.multiplier) || self.multiplier > 1.0",
                "message": "multiplier must be greater than 1",
            },
            {
                "rule": "!has(self.initialInterval) || !has(self.maxInterval) || "
                "duration(self.initialInterval) <= duration(self.maxInterval)",
                "message": "initialInterval must not be longer than maxInterval",
            },
            {
                "rule": "!has(self.initialInterval) || "
                "duration(self.initialInterval) > duration('0s')",
                "message": "initialInterval must be greater than 0",
            },
            {
                "rule": "!has(self.maxInterval) || duration(self.maxInterval) > duration('0s')",
                "message": "maxInterval must be greater than 0",
            },
        ]
    }


def _positive(field: str) -> dict[str, str]:
    return {
        "rule": f"!has(self.{field}) || duration(self.{field}) > duration('0s')",
        "message": f"{field} must be greater than 0",
    }


class Syncer(ApiStruct):
    """How the syncer works."""

    mode: Annotated[
        str,
        doc(
            "Which way objects go: push brings specs down and status up (the default), pull "
            "brings objects up, bidirectional does both. Only push is in effect yet.",
            {"enum": ["push", "pull", "bidirectional"]},
        ),
    ] = ""
    sync_interval: Annotated[
        str, doc("How often everything is compared again; 30s by default.", DURATION)
    ] = ""
    heartbeat_interval: Annotated[
        str, doc("How often the syncer reports that it is alive; 20s by default.", DURATION)
    ] = ""
    retry_backoff: Annotated[
        RetryBackoff | None, doc("How long it waits before it tries an object again.")
    ] = None
    qps: Annotated[
        int | None,
        doc(
            f"Requests per second to each API server; {DEFAULT_QPS} by default.",
            {"format": "int32", "minimum": 1},
        ),
    ] = None
    burst: Annotated[
        int | None,
        doc(
            f"Requests at once before qps applies; not below qps. Defaults to {DEFAULT_BURST}, or "
            "to qps where that is more.",
            {"format": "int32", "minimum": 1},
        ),
    ] = None
    api_import_poll_interval: Annotated[
        str, doc("How often the cluster's own APIs are looked at. Not in effect yet.", DURATION)
    ] = ""
    downstream_namespace_clean_delay: Annotated[
        str,
        doc("How long an empty downstream namespace is kept; 30s by default.", DURATION),
    ] = ""
    workers: Annotated[
        int | None,
        doc("Objects that are worked on at once; 2 by default.", {"format": "int32", "minimum": 1}),
    ] = None
    upsync_pods: Annotated[
        bool, doc("Show the cluster's Pods in the workspace. Not in effect yet.")
    ] = False

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            _positive("syncInterval"),
            _positive("heartbeatInterval"),
            _positive("apiImportPollInterval"),
            {
                "rule": "!has(self.burst) || "
                f"self.burst >= (has(self.qps) ? self.qps : {DEFAULT_QPS})",
                "message": f"burst must not be below qps, which is {DEFAULT_QPS} by default",
            },
        ]
    }
