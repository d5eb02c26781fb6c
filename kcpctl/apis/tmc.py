"""``tmc.kcp.io/v1alpha1``: ClusterRegistration, the inventory entry of a physical cluster."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import msgspec

from kcpctl.apis.common import (
    DURATION,
    TIME,
    ConfigSecretReference,
    ResourceList,
    SecretReference,
    Taint,
)
from kcpctl.apis.conditions import Condition
from kcpctl.apis.meta import ApiObject, ApiStruct
from kcpctl.apis.resource import Resource
from kcpctl.apis.schema import doc

__all__ = [
    "CLUSTER_REGISTRATIONS",
    "ClusterCapabilities",
    "ClusterEndpoint",
    "ClusterRegistration",
    "ClusterRegistrationSpec",
    "ClusterRegistrationStatus",
    "SyncTargetReference",
    "TLSConfig",
]

CLUSTER_REGISTRATIONS: Final = Resource(
    "tmc.kcp.io", "v1alpha1", "clusterregistrations", "ClusterRegistration", namespaced=False
)


class TLSConfig(ApiStruct):
    """How the endpoint's certificate is checked."""

    insecure_skip_verify: Annotated[bool, doc("Do not check it. For development only.")] = False


class ClusterEndpoint(ApiStruct):
    """The API server of the cluster, and how to authenticate to it."""

    server_url: Annotated[
        str,
        doc("URL of the API server, https.", {"minLength": 1, "maxLength": 2048}),
    ] = msgspec.field(name="serverURL")
    ca_bundle: Annotated[
        str,
        doc(
            "PEM certificates, in base64, that its certificate is checked with.", {"format": "byte"}
        ),
    ] = ""
    tls_config: Annotated[TLSConfig | None, doc("How its certificate is checked.")] = None
    credentials_secret: Annotated[
        SecretReference | None,
        doc("The Secret with a token (key token) or a client certificate (tls.crt, tls.key)."),
    ] = None

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "self.serverURL.startsWith('https://') || (has(self.tlsConfig) && "
                "has(self.tlsConfig.insecureSkipVerify) && self.tlsConfig.insecureSkipVerify && "
                "self.serverURL.startsWith('http://'))",
                "message": "serverURL must be an https URL, unless insecureSkipVerify is on",
            }
        ]
    }


class ClusterRegistrationSpec(ApiStruct):
    """What the administrator knows about the cluster."""

    location: Annotated[
        str, doc("Where the cluster is, such as us-west-2.", {"minLength": 1, "maxLength": 63})
    ]
    cluster_endpoint: Annotated[
        ClusterEndpoint | None,
        doc("The cluster's API server; instead of kubeconfigSecret."),
    ] = None
    kubeconfig_secret: Annotated[
        ConfigSecretReference | None,
        doc("The Secret that holds a kubeconfig for the cluster; instead of clusterEndpoint."),
    ] = None
    capacity: Annotated[
        ResourceList, doc("What the cluster offers; overrides what is found there.")
    ] = {}
    labels: Annotated[
        dict[str, str], doc("Labels that SyncTargets made from this registration get.")
    ] = {}
    taints: Annotated[
        list[Taint],
        doc(
            "Taints that SyncTargets made from this registration get.",
            {
                "maxItems": 50,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["key", "effect"],
            },
        ),
    ] = []
    health_check_interval: Annotated[
        str, doc("How often the cluster is looked at; 30s by default, 1s at least.", DURATION)
    ] = ""
    create_sync_target: Annotated[
        bool,
        doc(
            "Make a SyncTarget synctarget-<name> for the cluster, unless one names this "
            "registration already."
        ),
    ] = False

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "has(self.clusterEndpoint) != has(self.kubeconfigSecret)",
                "message": "set exactly one of clusterEndpoint and kubeconfigSecret",
            }
        ]
    }


class ClusterCapabilities(ApiStruct):
    """What was found on the cluster."""

    kubernetes_version: Annotated[str, doc("Version of its API server.")] = ""
    supported_api_versions: Annotated[
        list[str],
        doc("API versions that it serves.", {"x-kubernetes-list-type": "set"}),
    ] = msgspec.field(default_factory=list, name="supportedAPIVersions")
    available_resources: Annotated[
        list[str], doc("Resource types that it serves.", {"x-kubernetes-list-type": "set"})
    ] = []
    node_count: Annotated[int, doc("Its Nodes.", {"format": "int32"})] = 0
    features: Annotated[
        list[str], doc("Other features, by name.", {"x-kubernetes-list-type": "set"})
    ] = []
    last_detected: Annotated[str | None, doc("When this was found.", TIME)] = None


class SyncTargetReference(ApiStruct):
    """The SyncTarget that was made from a registration."""

    name: Annotated[str, doc("Its name.")]


class ClusterRegistrationStatus(ApiStruct):
    """What was observed of the cluster."""

    observed_generation: Annotated[
        int, doc("The metadata.generation that was last looked at.", {"minimum": 0})
    ] = 0
    phase: Annotated[
        str,
        doc("A summary in one word.", {"enum": ["Pending", "Registered", "Ready", "Failed"]}),
    ] = ""
    conditions: Annotated[
        list[Condition],
        doc(
            "Observations one by one; Ready sums them up.",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    last_heartbeat_time: Annotated[str | None, doc("When the cluster last answered.", TIME)] = None
    capacity: Annotated[ResourceList, doc("What the cluster has.")] = {}
    allocatable: Annotated[ResourceList, doc("What of it workloads may use.")] = {}
    allocated_resources: Annotated[ResourceList, doc("What workloads ask for.")] = {}
    capabilities: Annotated[ClusterCapabilities | None, doc("What was found on the cluster.")] = (
        None
    )
    sync_target_ref: Annotated[
        SyncTargetReference | None, doc("The SyncTarget that was made from this registration.")
    ] = None


class ClusterRegistration(ApiObject, kw_only=True):
    """A physical cluster: where it is, how it is reached, and what was found there."""

    api_version: str = CLUSTER_REGISTRATIONS.api_version
    kind: str = CLUSTER_REGISTRATIONS.kind
    spec: Annotated[ClusterRegistrationSpec, doc("What the administrator knows about the cluster.")]
    status: Annotated[ClusterRegistrationStatus, doc("What was observed of the cluster.")] = (
        msgspec.field(default_factory=ClusterRegistrationStatus)
    )
