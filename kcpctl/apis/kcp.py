"""What a client reads of kcp's own API: exports, the bindings to them and where they are served.

Only the fields that somebody here reads; what a server sends beyond them is ignored.
"""

from __future__ import annotations

from typing import Final

import msgspec

from kcpctl.apis.conditions import READY, Condition, is_true
from kcpctl.apis.meta import ApiObject, ApiStruct, Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.logicalcluster import PATH_ANNOTATION, ClusterName, cluster_of

__all__ = [
    "API_BINDINGS",
    "API_EXPORTS",
    "API_EXPORT_ENDPOINT_SLICES",
    "API_RESOURCE_SCHEMAS",
    "APIBinding",
    "APIExport",
    "APIExportEndpointSlice",
    "AcceptableClaim",
    "ExportReference",
    "PermissionClaim",
]

_GROUP: Final = "apis.kcp.io"
API_RESOURCE_SCHEMAS: Final = Resource(
    _GROUP, "v1alpha1", "apiresourceschemas", "APIResourceSchema", namespaced=False
)
API_EXPORTS: Final = Resource(_GROUP, "v1alpha2", "apiexports", "APIExport", namespaced=False)
API_BINDINGS: Final = Resource(_GROUP, "v1alpha2", "apibindings", "APIBinding", namespaced=False)
API_EXPORT_ENDPOINT_SLICES: Final = Resource(
    _GROUP, "v1alpha1", "apiexportendpointslices", "APIExportEndpointSlice", namespaced=False
)


class ExportReference(ApiStruct):
    """An APIExport by the workspace it is in; without a path it is in the referrer's own."""

    name: str = ""
    path: str = ""


class PermissionClaim(ApiStruct):
    """What a provider asks for in the workspaces of its consumers."""

    resource: str
    group: str = ""
    verbs: list[str] = []
    identity_hash: str = ""

    @property
    def group_resource(self) -> str:
        """``secrets``, or ``leases.coordination.k8s.io`` outside the core group."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


class AcceptableClaim(PermissionClaim):
    """A claim with the consumer's answer to it, and for which objects that holds."""

    state: str = ""
    selector: Unstructured = {}

    @property
    def is_accepted(self) -> bool:
        """Whether the consumer said yes."""
        return self.state == "Accepted"


class _ExportSpec(ApiStruct):
    permission_claims: list[PermissionClaim] = []


class _ExportStatus(ApiStruct):
    identity_hash: str = ""
    conditions: list[Condition] = []


class APIExport(ApiObject):
    """Kinds that a provider offers, and what it claims from whoever binds them."""

    api_version: str = API_EXPORTS.api_version
    kind: str = API_EXPORTS.kind
    spec: _ExportSpec = msgspec.field(default_factory=_ExportSpec)
    status: _ExportStatus = msgspec.field(default_factory=_ExportStatus)


class _BindingReference(ApiStruct):
    export: ExportReference = msgspec.field(default_factory=ExportReference)


class _BindingSpec(ApiStruct):
    reference: _BindingReference = msgspec.field(default_factory=_BindingReference)
    permission_claims: list[AcceptableClaim] = []


class _BindingStatus(ApiStruct):
    api_export_cluster_name: str = ""
    phase: str = ""
    conditions: list[Condition] = []
    applied_permission_claims: list[PermissionClaim] = []
    export_permission_claims: list[PermissionClaim] = []


class APIBinding(ApiObject):
    """A consumer's use of an APIExport, in the consumer's workspace."""

    api_version: str = API_BINDINGS.api_version
    kind: str = API_BINDINGS.kind
    spec: _BindingSpec = msgspec.field(default_factory=_BindingSpec)
    status: _BindingStatus = msgspec.field(default_factory=_BindingStatus)

    @property
    def export(self) -> ExportReference:
        """The export as the consumer wrote it; ``export_cluster`` says where that is."""
        return self.spec.reference.export

    @property
    def export_cluster(self) -> ClusterName:
        """The name of the logical cluster of the export, "" while nobody has looked it up."""
        return ClusterName(self.status.api_export_cluster_name)

    @property
    def cluster(self) -> ClusterName:
        """The logical cluster that the binding is in, "" on a server that does not say."""
        return cluster_of(self.metadata.annotations)

    @property
    def path(self) -> str:
        """The path of the consumer's workspace, "" when the server does not say."""
        return self.metadata.annotations.get(PATH_ANNOTATION, "")

    @property
    def is_ready(self) -> bool:
        """Whether the bound kinds are served in the consumer's workspace.

        So they are while the binding is being deleted: kcp deletes the objects of these kinds first
        and waits for their finalizers, which only we can take off.
        """
        return is_true(self.status.conditions, READY)

    @property
    def accepted_claims(self) -> list[AcceptableClaim]:
        """The claims that the consumer said yes to, whether kcp applied them yet or not."""
        return [claim for claim in self.spec.permission_claims if claim.is_accepted]


class _Endpoint(ApiStruct):
    url: str


class _EndpointSliceSpec(ApiStruct):
    export: ExportReference = msgspec.field(default_factory=ExportReference)


class _EndpointSliceStatus(ApiStruct):
    endpoints: list[_Endpoint] = []
    conditions: list[Condition] = []


class APIExportEndpointSlice(ApiObject):
    """Where the virtual workspaces of an APIExport are: one URL for each shard with consumers."""

    api_version: str = API_EXPORT_ENDPOINT_SLICES.api_version
    kind: str = API_EXPORT_ENDPOINT_SLICES.kind
    spec: _EndpointSliceSpec = msgspec.field(default_factory=_EndpointSliceSpec)
    status: _EndpointSliceStatus = msgspec.field(default_factory=_EndpointSliceStatus)

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs in order, without a slash at the end; none is normal, nobody binds it yet."""
        return tuple(sorted({endpoint.url.rstrip("/") for endpoint in self.status.endpoints}))
