"""The kinds of apis.kcp.io, as a server with workspaces has them built in.

They behave as custom resources do (kcp's are some): pruned, validated by schema and CEL, with the
status of their own endpoint.
"""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.kinds import CrdVersion, ResourceInfo

__all__ = [
    "APIBINDINGS_KEY",
    "APIBINDING_FINALIZER",
    "APIEXPORTS_KEY",
    "ENDPOINT_SLICES_KEY",
    "EXPORT_KINDS",
    "GROUP",
    "SCHEMAS_KEY",
]

Schema = dict[str, Any]
GROUP: Final = "apis.kcp.io"
SCHEMAS_KEY: Final = f"apiresourceschemas.{GROUP}"
APIEXPORTS_KEY: Final = f"apiexports.{GROUP}"
APIBINDINGS_KEY: Final = f"apibindings.{GROUP}"
ENDPOINT_SLICES_KEY: Final = f"apiexportendpointslices.{GROUP}"
APIBINDING_FINALIZER: Final = "apis.kcp.io/apibinding-finalizer"
"""Holds an APIBinding until the objects that it brought are gone."""

_STRING: Final[Schema] = {"type": "string"}
_FILLED: Final[Schema] = {"type": "string", "minLength": 1}
_EMPTY: Final[Schema] = {"type": "string", "default": ""}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_SEGMENT: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PATH: Final[Schema] = {"type": "string", "pattern": f"^{_SEGMENT}(:{_SEGMENT})*$"}
_FIXED: Final = {
    "x-kubernetes-validations": [
        {"message": "APIExport reference must not be changed", "rule": "self == oldSelf"}
    ]
}


def _object(required: str = "", /, **properties: Schema) -> Schema:
    """Return an object's schema; ``required`` names fields, separated by blanks."""
    node: Schema = {"type": "object", "properties": properties}
    return {**node, "required": required.split()} if required else node


def _list(items: Schema, keys: str = "") -> Schema:
    """Return a list's schema, a map by ``keys`` when there are any."""
    node: Schema = {"type": "array", "items": items}
    if keys:
        node |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys.split()}
    return node


def _set(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, "x-kubernetes-list-type": "set", **more}


def _atomic(node: Schema) -> Schema:
    kind = "list" if node["type"] == "array" else "map"
    return {**node, f"x-kubernetes-{kind}-type": "atomic"}


def _rule(node: Schema, rule: str, message: str) -> Schema:
    return {**node, "x-kubernetes-validations": [{"message": message, "rule": rule}]}


_CONDITIONS: Final = _list(
    _object(
        "lastTransitionTime status type",
        lastTransitionTime={"type": "string", "format": "date-time"},
        message=_STRING,
        reason=_STRING,
        severity=_STRING,
        status=_STRING,
        type=_STRING,
    )
)
_REFERENCE: Final = _object("name", name=_STRING, path=_PATH)
_LABELS: Final[Schema] = {"type": "object", "additionalProperties": _STRING}
_EXPRESSIONS: Final = _atomic(
    _list(_object("key operator", key=_STRING, operator=_STRING, values=_atomic(_list(_STRING))))
)
_SELECTOR: Final = _atomic(
    _object(matchAll=_BOOLEAN, matchExpressions=_EXPRESSIONS, matchLabels=_LABELS)
)
_CLAIM_GROUP: Final[Schema] = {
    "type": "string",
    "default": "",
    "pattern": r"^(|[a-z0-9]([-a-z0-9]*[a-z0-9](\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?)$",
}
_CLAIM: Final[dict[str, Schema]] = {
    "group": _CLAIM_GROUP,
    "resource": {"type": "string", "pattern": "^[a-z][-a-z0-9]*[a-z0-9]$"},
    "verbs": _set(_STRING, minItems=1),
    "defaultSelector": _SELECTOR,
}
_EXPORT_CLAIM: Final = _object("resource verbs", **_CLAIM, identityHash=_EMPTY)
_SCOPED: Final[dict[str, Schema]] = {
    **_CLAIM,
    "identityHash": _EMPTY,
    "selector": _SELECTOR,
}
_STATE: Final[Schema] = {"type": "string", "enum": ["Accepted", "Rejected"]}
_CLAIM_KEYS: Final = "group resource identityHash"

_BINDING: Final = _object(
    "spec",
    spec=_object(
        "reference",
        reference={**_object(export=_REFERENCE), **_FIXED},
        permissionClaims=_list(
            _object("resource selector state verbs", **_SCOPED, state=_STATE), _CLAIM_KEYS
        ),
    ),
    status=_object(
        apiExportClusterName=_STRING,
        appliedPermissionClaims=_list(_object("resource selector verbs", **_SCOPED), _CLAIM_KEYS),
        boundResources=_list(
            _object(
                "group resource schema",
                group=_STRING,
                resource=_STRING,
                schema=_object(
                    "UID identityHash name", UID=_FILLED, identityHash=_FILLED, name=_FILLED
                ),
                storageVersions=_set(_STRING),
            ),
            "group resource",
        ),
        conditions=_CONDITIONS,
        exportPermissionClaims=_list(_EXPORT_CLAIM),
        phase={"type": "string", "enum": ["", "Binding", "Bound"]},
    ),
)
_STORAGE: Final = {
    **_rule(
        _object(
            crd=_object(),
            virtual=_object(
                "identityHash reference",
                identityHash=_STRING,
                reference=_atomic(
                    _object("kind name", apiGroup=_STRING, kind=_STRING, name=_STRING)
                ),
            ),
        ),
        "has(self.crd) != has(self.virtual)",
        "Exactly one of crd or virtual must be set",
    ),
    "default": {"crd": {}},
    "oneOf": [{"required": ["crd"]}, {"required": ["virtual"]}],
}
_EXPORT: Final = _object(
    spec=_object(
        identity=_object(secretRef=_atomic(_object(name=_STRING, namespace=_STRING))),
        maximalPermissionPolicy={**_object(local=_object()), "oneOf": [{"required": ["local"]}]},
        permissionClaims=_list(_EXPORT_CLAIM, "group resource"),
        resources=_list(
            _object(
                "group name schema", group=_STRING, name=_STRING, schema=_STRING, storage=_STORAGE
            ),
            "name group",
        ),
    ),
    status=_object(
        conditions=_CONDITIONS,
        identityHash=_STRING,
        virtualWorkspaces=_list(_object("url", url=_FILLED)),
    ),
)
_SHARDS: Final = _rule(
    _object(
        matchAll=_BOOLEAN,
        selector=_atomic(_object(matchExpressions=_EXPRESSIONS, matchLabels=_LABELS)),
    ),
    "!(has(self.matchAll) && self.matchAll && has(self.selector))",
    "matchAll and selector are mutually exclusive",
)
_SLICE: Final = _object(
    spec=_object("export", export={**_REFERENCE, **_FIXED}, partition=_STRING),
    status=_object(
        conditions=_CONDITIONS,
        endpoints=_list(_object("url", url=_FILLED, shards=_SHARDS), "url"),
        shardSelector=_STRING,
    ),
)
_NAMES: Final = _object(
    "kind plural",
    categories=_atomic(_list(_STRING)),
    kind=_STRING,
    listKind=_STRING,
    plural=_STRING,
    shortNames=_atomic(_list(_STRING)),
    singular=_STRING,
)
_VERSION: Final = _object(
    "name schema served storage",
    additionalPrinterColumns=_list(
        _object(
            "jsonPath name type",
            description=_STRING,
            format=_STRING,
            jsonPath=_STRING,
            name=_STRING,
            priority={"type": "integer", "format": "int32"},
            type=_STRING,
        ),
        "name",
    ),
    deprecated=_BOOLEAN,
    deprecationWarning=_STRING,
    name={"type": "string", "minLength": 1, "pattern": "^v[1-9][0-9]*([a-z]+[1-9][0-9]*)?$"},
    schema=_atomic({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    selectableFields=_atomic(_list(_object("jsonPath", jsonPath=_STRING))),
    served={"type": "boolean", "default": True},
    storage=_BOOLEAN,
    subresources=_object(
        scale=_object(
            "specReplicasPath statusReplicasPath",
            labelSelectorPath=_STRING,
            specReplicasPath=_STRING,
            statusReplicasPath=_STRING,
        ),
        status=_object(),
    ),
)
_CONVERSION: Final = _rule(
    _object(
        "strategy",
        strategy={"type": "string", "enum": ["None", "Webhook"]},
        webhook=_object(
            "conversionReviewVersions",
            clientConfig=_object(
                caBundle={"type": "string", "format": "byte"},
                url={"type": "string", "format": "uri"},
            ),
            conversionReviewVersions=_atomic(_list(_STRING)),
        ),
    ),
    "(self.strategy == 'None' && !has(self.webhook))  || "
    "(self.strategy == 'Webhook' && has(self.webhook))",
    "Webhook must be specified if strategy=Webhook",
)
_RESOURCE_SCHEMA: Final = _object(
    spec=_rule(
        _object(
            "group names scope versions",
            conversion=_CONVERSION,
            group=_STRING,
            nameValidation={
                "type": "string",
                "default": "DNS1123Subdomain",
                "enum": ["DNS1123Subdomain", "PathSegmentName"],
            },
            names=_NAMES,
            scope={"type": "string", "enum": ["Cluster", "Namespaced"]},
            versions={**_list(_VERSION, "name"), "minItems": 1},
        ),
        "size(self.versions) == 1 || (size(self.versions) > 1 && has(self.conversion))",
        "Conversion must be specified when multiple versions exist",
    )
)

_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _column(name: str, path: str) -> Schema:
    return {"name": name, "type": "string", "jsonPath": path}


def _kind(
    plural: str,
    kind: str,
    version: str,
    schema: Schema,
    columns: tuple[Schema, ...] = (_AGE,),
    *,
    has_status: bool = True,
) -> ResourceInfo:
    return ResourceInfo(
        group=GROUP,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=False,
        singular=kind.lower(),
        list_kind=f"{kind}List",
        categories=("kcp",),
        subresources=frozenset({"status"} if has_status else ()),
        crd=CrdVersion(crd_name="", schema=schema, columns=columns),
        storage_key=f"{plural}.{GROUP}",
        storage_version=f"{GROUP}/{version}",
        has_generation=True,
    )


_READY: Final = _column("Ready", '.status.conditions[?(@.type=="Ready")].status')

EXPORT_KINDS: Final = (
    _kind("apibindings", "APIBinding", "v1alpha2", _BINDING, (_AGE, _READY)),
    _kind(
        "apiexportendpointslices",
        "APIExportEndpointSlice",
        "v1alpha1",
        _SLICE,
        (_column("Export", ".spec.export.name"), _column("Partition", ".spec.partition"), _AGE),
    ),
    _kind("apiexports", "APIExport", "v1alpha2", _EXPORT),
    _kind(
        "apiresourceschemas", "APIResourceSchema", "v1alpha1", _RESOURCE_SCHEMA, has_status=False
    ),
)
"""What a server with workspaces serves of apis.kcp.io."""
