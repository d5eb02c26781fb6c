"""Object metadata as msgspec structs: what every API object has in common."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ApiObject", "ApiStruct", "ObjectMeta", "OwnerReference", "Unstructured", "owner_of"]

Unstructured = dict[str, Any]
"""An object of any kind, as decoded JSON."""


class ApiStruct(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The base of API types: camelCase on the wire, and nothing written that is not set."""


class OwnerReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """A reference to the object that this one is deleted with. Immutable: caches share it."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(ApiStruct):
    """``metadata``, without managedFields: times are RFC 3339 text as sent."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class ApiObject(ApiStruct):
    """The base of typed objects. Subclasses set the defaults of ``api_version`` and ``kind``.

    (omit_defaults would leave those two out of the JSON, so encode with
    :func:`kcpctl.apis.convert.encode`, which puts them back.)
    """

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


def owner_of(obj: ApiObject, *, controller: bool = True) -> OwnerReference:
    """Return the reference that makes another object of the same cluster belong to ``obj``."""
    return OwnerReference(
        api_version=obj.api_version,
        kind=obj.kind,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        controller=controller or None,
        block_owner_deletion=controller or None,
    )
