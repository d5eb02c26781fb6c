"""What kcpctl offers on a kcp, out of the same types as the CRDs: schemas, export and claims.

A provider applies :func:`provider_objects` in a workspace of its own; a tenant applies
:func:`binding` in theirs, which is the consent to the claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kcpctl.apis.crds import all_crds
from kcpctl.apis.kcp import (
    API_BINDINGS,
    API_EXPORT_ENDPOINT_SLICES,
    API_EXPORTS,
    API_RESOURCE_SCHEMAS,
    PermissionClaim,
)
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    LEASES,
    LOGICAL_CLUSTERS,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SUBJECT_ACCESS_REVIEWS,
    Resource,
)

__all__ = [
    "CLAIMS",
    "EXPORT_NAME",
    "binding",
    "endpoint_slice",
    "provider_objects",
    "resource_schemas",
]

EXPORT_NAME: Final = "kcpctl"
_NAMESPACE: Final = "kcpctl-system"
_CONTROLLERS: Final = "kcpctl-controllers"
_EVENTS: Final = Resource("", "v1", "events", "Event")
"""kcp takes a claim of the core group's events for those of events.k8s.io, and not the reverse."""


def _claim(resource: Resource, *verbs: str) -> PermissionClaim:
    return PermissionClaim(group=resource.group, resource=resource.plural, verbs=list(verbs))


CLAIMS: Final[Sequence[PermissionClaim]] = (
    # The credentials of clusters are read, those of syncers made, and what is assigned is let go.
    _claim(SECRETS, "get", "list", "watch", "create", "patch"),
    # The place of credentials and identities is made; what is assigned is let go.
    _claim(NAMESPACES, "get", "list", "create", "patch"),
    _claim(CONFIG_MAPS, "list", "patch"),
    # The identity of each syncer.
    _claim(SERVICE_ACCOUNTS, "get", "create", "patch", "delete"),
    _claim(CLUSTER_ROLES, "get", "create", "patch", "delete"),
    _claim(CLUSTER_ROLE_BINDINGS, "get", "create", "patch", "delete"),
    _claim(_EVENTS, "create", "patch"),
    # What a workspace is called, and what another one may use there.
    _claim(LOGICAL_CLUSTERS, "get"),
    _claim(SUBJECT_ACCESS_REVIEWS, "create"),
)
"""What the controllers do in a workspace beyond kcpctl's own kinds, and nothing else."""


def resource_schemas() -> list[Unstructured]:
    """Return the APIResourceSchema of every API type.

    A schema cannot be changed once it is there. So the name follows from the content: the same
    types have the same names on any day, and a changed type is a new object beside the old one.
    """
    return [_schema(crd["spec"]) for crd in all_crds()]


def _schema(crd_spec: Unstructured) -> Unstructured:
    spec = {field: crd_spec[field] for field in ("group", "names", "scope")}
    spec["versions"] = [
        {**version, "schema": version["schema"]["openAPIV3Schema"]}
        for version in crd_spec["versions"]
    ]
    digest = hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()[:8]
    prefix = f"{spec['versions'][-1]['name']}-{digest}"
    name = f"{prefix}.{spec['names']['plural']}.{spec['group']}"
    return _object(API_RESOURCE_SCHEMAS, name, spec=spec)


def provider_objects(export: str = EXPORT_NAME) -> list[Unstructured]:
    """Return everything of the provider's workspace, in the order of applying it.

    The schemas and the export, then the identity of the controllers with the rights that they use,
    and a role for tenants that may bind.
    """
    schemas = resource_schemas()
    return [
        *schemas,
        _export(export, schemas),
        _object(NAMESPACES, _NAMESPACE),
        _object(SERVICE_ACCOUNTS, _CONTROLLERS, namespace=_NAMESPACE),
        *_controllers_rights(export),
        _bind_role(export),
    ]


def endpoint_slice(path: str, export: str = EXPORT_NAME) -> Unstructured:
    """Return the APIExportEndpointSlice of an export, where kcp does not make it by itself.

    It has the path of its own workspace: one without gets no URL when tenants name the export by
    its path, and one with it is refused before the export is there.
    """
    spec = {"export": {"path": path, "name": export}}
    return _object(API_EXPORT_ENDPOINT_SLICES, export, spec=spec)


def binding(path: str, export: str = EXPORT_NAME) -> Unstructured:
    """Return a tenant's APIBinding to the export in workspace ``path``, all claims accepted."""
    claims = [
        {**_claim_json(claim), "state": "Accepted", "selector": {"matchAll": True}}
        for claim in CLAIMS
    ]
    spec = {"reference": {"export": {"path": path, "name": export}}, "permissionClaims": claims}
    return _object(API_BINDINGS, export, spec=spec)


def _export(name: str, schemas: Sequence[Unstructured]) -> Unstructured:
    resources = [
        {
            "group": schema["spec"]["group"],
            "name": schema["spec"]["names"]["plural"],
            "schema": schema["metadata"]["name"],
            "storage": {"crd": {}},
        }
        for schema in schemas
    ]
    claims = [_claim_json(claim) for claim in CLAIMS]
    return _object(API_EXPORTS, name, spec={"resources": resources, "permissionClaims": claims})


def _claim_json(claim: PermissionClaim) -> Unstructured:
    # The empty hash is what kcp stores: without it a second kubectl apply would be a change.
    hashed = {"identityHash": claim.identity_hash, "verbs": list(claim.verbs)}
    return {"group": claim.group, "resource": claim.resource, **hashed}


def _controllers_rights(export: str) -> list[Unstructured]:
    """Return what the controllers may do in the provider's workspace, and through it in others.

    A request in a tenant's workspace needs its own verb on the content of the export.
    """
    content_verbs = ["get", "list", "watch", "create", "patch", "delete"]
    apis = API_EXPORTS.group
    rules = [
        _rule(apis, [API_EXPORT_ENDPOINT_SLICES.plural], ["get", "list", "watch"]),
        _rule(apis, [f"{API_EXPORTS.plural}/content"], content_verbs, names=[export]),
        {"nonResourceURLs": ["/"], "verbs": ["access"]},
    ]
    lease_rule = _rule(LEASES.group, [LEASES.plural], ["get", "list", "watch", "create", "update"])
    subjects = [{"kind": SERVICE_ACCOUNTS.kind, "name": _CONTROLLERS, "namespace": _NAMESPACE}]
    cluster_role = {"kind": CLUSTER_ROLES.kind, "name": _CONTROLLERS}
    role = {"kind": ROLES.kind, "name": _CONTROLLERS}
    return [
        _object(CLUSTER_ROLES, _CONTROLLERS, rules=rules),
        _object(
            CLUSTER_ROLE_BINDINGS,
            _CONTROLLERS,
            roleRef={"apiGroup": CLUSTER_ROLES.group, **cluster_role},
            subjects=subjects,
        ),
        _object(ROLES, _CONTROLLERS, namespace=_NAMESPACE, rules=[lease_rule]),
        _object(
            ROLE_BINDINGS,
            _CONTROLLERS,
            namespace=_NAMESPACE,
            roleRef={"apiGroup": ROLES.group, **role},
            subjects=subjects,
        ),
    ]


def _bind_role(export: str) -> Unstructured:
    """Return the role that lets its subjects bind the export; who that is, the provider says."""
    rule = _rule(API_EXPORTS.group, [API_EXPORTS.plural], ["bind"], names=[export])
    return _object(CLUSTER_ROLES, f"{export}-bind", rules=[rule])


def _rule(
    group: str, resources: list[str], verbs: list[str], names: list[str] | None = None
) -> Unstructured:
    rule: Unstructured = {"apiGroups": [group], "resources": resources, "verbs": verbs}
    return {**rule, "resourceNames": names} if names else rule


def _object(resource: Resource, name: str, *, namespace: str = "", **fields: Any) -> Unstructured:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    header = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return {**header, **fields}
