"""CustomResourceDefinitions out of the API structs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kcpctl.apis.meta import ApiObject, Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.apis.schema import schema_of
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget

__all__ = ["all_crds", "crd"]


@dataclass(frozen=True)
class _Column:
    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.json_path}
        if self.priority:
            column["priority"] = self.priority
        if self.description:
            column["description"] = self.description
        return column


@dataclass(frozen=True)
class _Definition:
    resource: Resource
    singular: str
    short_names: Sequence[str]
    columns: Sequence[_Column]


_AGE = _Column("Age", ".metadata.creationTimestamp", "date")
_READY = _Column("Ready", '.status.conditions[?(@.type=="Ready")].status')

_DEFINITIONS: Final[dict[type[ApiObject], _Definition]] = {
    SyncTarget: _Definition(
        SYNCTARGETS,
        "synctarget",
        ("st",),
        (
            _Column("Location", ".spec.location", description="Where the cluster is"),
            _READY,
            _Column("Phase", ".status.phase"),
            _Column("Unschedulable", ".spec.unschedulable", "boolean"),
            _Column("Last Heartbeat", ".status.lastSyncerHeartbeatTime", "date"),
            _Column("Syncer", ".status.syncerIdentity", priority=1),
            _Column("Synced API resources", ".status.syncedResources", priority=3),
            _Column("Key", r".metadata.labels.internal\.workload\.kcp\.io/key", priority=4),
            _AGE,
        ),
    ),
    ClusterRegistration: _Definition(
        CLUSTER_REGISTRATIONS,
        "clusterregistration",
        ("creg",),
        (
            _Column("Location", ".spec.location", description="Where the cluster is"),
            _READY,
            _Column("Nodes", ".status.capabilities.nodeCount", "integer", priority=1),
            _Column("Version", ".status.capabilities.kubernetesVersion", priority=1),
            _AGE,
        ),
    ),
}


def all_crds() -> list[Unstructured]:
    """Return the CRDs of every API type of kcpctl, in a fixed order."""
    return [crd(type_) for type_ in _DEFINITIONS]


def crd(type_: type[ApiObject]) -> Unstructured:
    """Return the CRD of an API type as it is applied; raises KeyError for a type without one."""
    definition = _DEFINITIONS[type_]
    resource = definition.resource
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.group_resource},
        "spec": {
            "group": resource.group,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": definition.singular,
                "shortNames": list(definition.short_names),
                "categories": ["kcp"],
            },
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _object_schema(type_)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [one.to_json() for one in definition.columns],
                }
            ],
        },
    }


def _object_schema(type_: type[ApiObject]) -> dict[str, Any]:
    """Return the schema of a whole object; the server knows what metadata looks like."""
    schema = schema_of(type_)
    standard = {
        "apiVersion": {
            "type": "string",
            "description": "Group and version of the schema that this object follows.",
        },
        "kind": {"type": "string", "description": "The type of this object, in CamelCase."},
        "metadata": {"type": "object"},
    }
    schema["properties"] = {**schema["properties"], **standard}
    return schema
