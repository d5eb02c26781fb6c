"""The garbage collector: objects go when all their owners are gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["GarbageCollector"]

Json = dict[str, Any]
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


class _Ref(NamedTuple):
    """Where an object is stored."""

    cluster: str
    storage_key: str
    namespace: str
    name: str


# Volumes are never bound or mounted here, so there is no use that a deletion has to wait for.
_PROTECTED: Final = frozenset({"kubernetes.io/pv-protection", "kubernetes.io/pvc-protection"})


class GarbageCollector(KeyedController[_Ref]):
    """Follows owner references inside one logical cluster, as Background deletion wants it.

    Carries out the finalizers ``foregroundDeletion`` (dependents that block go first),
    ``orphan`` (dependents lose the reference) and those that protect volumes in use. An
    owner in another namespace, or with another uid, counts as absent. Event loop's thread only.
    """

    def __init__(self, registry: Registry, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("garbage-collector", registry, clock=clock)
        self._infos: dict[str, ResourceInfo] = {}  # storage key -> any version of the resource
        self._dependents: dict[tuple[str, str], set[_Ref]] = {}  # (cluster, owner's uid)
        # Owners that were deleted and still have dependents: their kind may not be served any
        # more. An owner of an unknown kind that is not in here is left alone.
        self._gone: set[tuple[str, str]] = set()

    def _changed(self, event: Event) -> None:
        metadata = event.object["metadata"]
        ref = _Ref(event.cluster, event.info.storage_key, event.namespace, event.name)
        owners = metadata.get("ownerReferences") or ()
        deleting = bool(metadata.get("deletionTimestamp"))
        if not owners and not deleting and event.type == "ADDED":
            return
        self._infos.setdefault(event.info.storage_key, event.info)
        before = {} if event.old is None else event.old["metadata"]
        uids = {owner["uid"] for owner in owners}
        gone = {owner["uid"] for owner in before.get("ownerReferences") or ()} - uids
        if event.type == "DELETED":
            gone, uids = gone | uids, set()
            dependents = self._dependents.get((event.cluster, metadata["uid"]), ())
            if dependents:
                self._gone.add((event.cluster, metadata["uid"]))
            for dependent in dependents:
                self._loop.add(dependent)
        for uid in gone:
            self._forget(event.cluster, uid, ref)
        for uid in uids:
            self._dependents.setdefault((event.cluster, uid), set()).add(ref)
        if event.type != "DELETED" and (uids or deleting):
            self._loop.add(ref)
        for owner in before.get("ownerReferences") or ():
            if owner["uid"] in gone:  # an owner that waits for its dependents may go on
                self._wake_owner(event, owner)

    def _forget(self, cluster: str, uid: str, ref: _Ref) -> None:
        dependents = self._dependents.get((cluster, uid))
        if dependents is not None:
            dependents.discard(ref)
            if not dependents:
                del self._dependents[cluster, uid]
                self._gone.discard((cluster, uid))

    def _wake_owner(self, event: Event, owner: Json) -> None:
        info = self._registry.info_for_kind(event.cluster, owner["apiVersion"], owner["kind"])
        if info is not None:
            self._infos.setdefault(info.storage_key, info)
            namespace = event.namespace if info.namespaced else ""
            self._loop.add(_Ref(event.cluster, info.storage_key, namespace, owner["name"]))

    def reconcile(self, ref: _Ref) -> float | None:
        """Carry out an object's deletion finalizer, or delete it when its owners are gone."""
        info = self._infos[ref.storage_key]
        obj = self._find(info, ref)
        if obj is None:
            return None
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or ()
        if metadata.get("deletionTimestamp"):
            if ORPHAN in finalizers:
                self._orphan(info, ref, obj)
            elif FOREGROUND in finalizers:
                self._foreground(info, ref, obj)
            for finalizer in _PROTECTED.intersection(finalizers):
                self._drop_finalizer(info, ref, obj, finalizer)
            return None
        owners = metadata.get("ownerReferences") or ()
        if owners:
            self._collect(info, ref, obj, list(owners))
        return None

    def _find(self, info: ResourceInfo, ref: _Ref) -> Json | None:
        try:
            return self._registry.find(info, ref.cluster, ref.namespace, ref.name)
        except StatusError:  # the logical cluster or the CRD is gone
            return None

    def _owner(self, ref: _Ref, owner: Json) -> Json | None:
        """Return the owner that is meant; just its uid when the kind is not known; or None."""
        if (ref.cluster, owner["uid"]) in self._gone:
            return None
        info = self._registry.info_for_kind(ref.cluster, owner["apiVersion"], owner["kind"])
        if info is None:
            return {"metadata": {"uid": owner["uid"]}}
        namespace = ref.namespace if info.namespaced else ""
        found = self._registry.find(info, ref.cluster, namespace, owner["name"])
        return found if found is not None and found["metadata"]["uid"] == owner["uid"] else None

    def _collect(self, info: ResourceInfo, ref: _Ref, obj: Json, owners: list[Json]) -> None:
        solid, foreground, dangling = [], [], []
        for owner in owners:
            found = self._owner(ref, owner)
            if found is None:
                dangling.append(owner)
            elif _waits_for_dependents(found):
                foreground.append(owner)
            else:
                solid.append(owner)
        if solid:
            if dangling or foreground:
                self._set_owners(info, ref, obj, solid)
            return
        blocked = any(
            any(entry.get("blockOwnerDeletion") for entry in owners_of(dependent))
            for dependent in self._dependents_of(obj, ref.cluster)
        )
        policy = "Foreground" if foreground and blocked else "Background"
        options: Json = {
            "propagationPolicy": policy,
            "preconditions": {"uid": obj["metadata"]["uid"]},
        }
        self._registry.delete(info, ref.cluster, ref.namespace, ref.name, options=options)

    def _dependents_of(self, obj: Json, cluster: str) -> Iterator[Json]:
        for ref in sorted(self._dependents.get((cluster, obj["metadata"]["uid"]), ())):
            found = self._find(self._infos[ref.storage_key], ref)
            if found is not None:
                yield found

    def _foreground(self, info: ResourceInfo, ref: _Ref, obj: Json) -> None:
        uid = obj["metadata"]["uid"]
        blocking = False
        for dependent in sorted(self._dependents.get((ref.cluster, uid), ())):
            found = self._find(self._infos[dependent.storage_key], dependent)
            if found is None:
                continue
            if not found["metadata"].get("deletionTimestamp"):
                self._loop.add(dependent)
            blocking |= any(
                entry["uid"] == uid and entry.get("blockOwnerDeletion")
                for entry in owners_of(found)
            )
        if not blocking:
            self._drop_finalizer(info, ref, obj, FOREGROUND)

    def _orphan(self, info: ResourceInfo, ref: _Ref, obj: Json) -> None:
        uid = obj["metadata"]["uid"]
        for dependent in sorted(self._dependents.get((ref.cluster, uid), ())):
            dependent_info = self._infos[dependent.storage_key]
            found = self._find(dependent_info, dependent)
            if found is not None:
                kept = [entry for entry in owners_of(found) if entry["uid"] != uid]
                self._set_owners(dependent_info, dependent, found, kept)
        self._drop_finalizer(info, ref, obj, ORPHAN)

    def _set_owners(self, info: ResourceInfo, ref: _Ref, obj: Json, owners: list[Json]) -> None:
        metadata = {key: obj["metadata"][key] for key in ("uid", "resourceVersion")}
        body = {"metadata": {**metadata, "ownerReferences": owners or None}}
        self._registry.patch(
            info, ref.cluster, ref.namespace, ref.name, body, field_manager=MANAGER
        )

    def _drop_finalizer(self, info: ResourceInfo, ref: _Ref, obj: Json, finalizer: str) -> None:
        kept = [entry for entry in obj["metadata"]["finalizers"] if entry != finalizer]
        metadata = {key: obj["metadata"][key] for key in ("uid", "resourceVersion")}
        body = {"metadata": {**metadata, "finalizers": kept or None}}
        self._registry.patch(
            info, ref.cluster, ref.namespace, ref.name, body, field_manager=MANAGER
        )


def owners_of(obj: Json) -> list[Json]:
    """Return the owner references of an object."""
    owners: list[Json] = obj["metadata"].get("ownerReferences") or []
    return owners


def _waits_for_dependents(owner: Json) -> bool:
    metadata = owner["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FOREGROUND in (
        metadata.get("finalizers") or ()
    )
