"""From an APIResourceSchema to the resources that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from kcpctl.embedded.crds import infos_of
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.store import ObjectKey, Store

__all__ = ["BoundSchemas", "storage_versions"]

Json = dict[str, Any]
_KEPT_KEY: Final = "boundschemas.internal.kcp.io"  # never served
_KEPT_IN: Final = "system:bound-crds"


def _infos(schema: Json, identity: str) -> tuple[ResourceInfo, ...]:
    spec = schema["spec"]
    versions = [
        {**version, "schema": {"openAPIV3Schema": version["schema"]}}
        for version in spec["versions"]
    ]
    crd = {
        "metadata": {"name": ""},  # there is no CRD that writes would have to ask about
        "spec": {**spec, "versions": versions},
        "status": {"acceptedNames": spec["names"]},
    }
    return tuple(
        replace(
            info,
            identity=identity,
            storage_key=f"{info.group_resource}:{identity}",
            storage_version=info.storage_version.removeprefix("/"),
            names_are_paths=spec.get("nameValidation") == "PathSegmentName",
        )
        for info in infos_of(crd)
    )


def storage_versions(schema: Json) -> list[str]:
    """Return the versions that objects of a schema are stored in."""
    return [one["name"] for one in schema["spec"]["versions"] if one.get("storage")]


class BoundSchemas:
    """The resources that APIResourceSchemas make, under the identity of an export.

    A binding goes on when the APIResourceSchema that it has bound is deleted: ``keep`` puts a copy
    of it into the store, which ``release`` takes away. Schemas are immutable, so the resources of
    a uid are made once, and all clusters share them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[tuple[str, str], tuple[ResourceInfo, ...]] = {}

    def keep(self, schema: Json) -> None:
        """Keep a schema for as long as something is bound to it."""
        uid = schema["metadata"]["uid"]
        if self.kept(uid) is None:
            copy = {"metadata": {"name": uid}, "spec": schema["spec"]}
            self._store.put(_KEPT_KEY, ObjectKey(_KEPT_IN, "", uid), copy, is_custom=True)

    def kept(self, uid: str) -> Json | None:
        """Return a kept schema."""
        found = self._store.get(_KEPT_KEY, ObjectKey(_KEPT_IN, "", uid))
        return None if found is None else found.obj

    def release(self, uid: str) -> None:
        """Forget a schema that nothing is bound to any more."""
        self._store.delete(_KEPT_KEY, ObjectKey(_KEPT_IN, "", uid))
        for key in [key for key in self._made if key[0] == uid]:
            del self._made[key]

    def infos_of(self, schema: Json, uid: str, identity: str) -> Sequence[ResourceInfo]:
        """Return the resources of a schema, one for each served version."""
        found = self._made.get((uid, identity))
        if found is None:
            found = self._made[uid, identity] = _infos(schema, identity)
        return found
