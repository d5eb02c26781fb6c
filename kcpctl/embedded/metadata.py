"""What the server itself writes into metadata, on create and on update."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import StatusError, bad_request, conflict
from kcpctl.runtime import random_suffix

__all__ = [
    "bumps_generation",
    "check_address",
    "check_preconditions",
    "inherit",
    "prepare_create",
    "tidy",
]

Json = dict[str, Any]
_DROP_IF_EMPTY: Final = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields")
# Longest base of a generated name: 63 less the five random letters.
_GENERATED_BASE_MAX: Final = 58


def tidy(obj: Json) -> None:
    """Give ``obj`` a metadata dict of its own, without empty collections."""
    meta = dict(obj.get("metadata") or {})
    for field in _DROP_IF_EMPTY:
        if field in meta and not meta[field]:
            del meta[field]
    meta.pop("selfLink", None)
    for field in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        if meta.get(field) == "":
            del meta[field]
    obj["metadata"] = meta


def check_address(info: ResourceInfo, obj: Json, namespace: str, name: str = "") -> None:
    """Compare an object's own name and namespace with those of the URL; raises 400."""
    meta = obj["metadata"]
    if info.namespaced:
        own = meta.get("namespace") or namespace
        if own != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)
    if name and (own_name := meta.get("name", "")) != name:
        if own_name:
            raise bad_request(
                f"the name of the object ({own_name}) does not match the name on the URL ({name})"
            )
        meta["name"] = name


def prepare_create(info: ResourceInfo, obj: Json, *, uid: str, now: str, rng: Any) -> None:
    """Fill in what the server decides about a new object's metadata."""
    meta = obj["metadata"]
    if not meta.get("name") and meta.get("generateName"):
        base = meta["generateName"][:_GENERATED_BASE_MAX]
        meta["name"] = base + random_suffix(rng=rng)
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(field, None)
    meta["uid"] = uid
    meta["creationTimestamp"] = now
    if info.has_generation:
        meta["generation"] = 1


def check_preconditions(info: ResourceInfo, new: Json, old: Json, key: str) -> None:
    """Compare uid and resourceVersion of an update with the object's; raises 409 and 500."""
    meta, old_meta = new["metadata"], old["metadata"]
    uid, version = meta.get("uid"), meta.get("resourceVersion")
    name = old_meta["name"]
    if uid and uid != old_meta["uid"]:
        raise conflict(
            info,
            name,
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object "
            f"meta: {old_meta['uid']}",
        )
    if version and not str(version).isdigit():
        raise StatusError(
            500,
            "",
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing '
            f'"{version}": invalid syntax',
        )
    if version and version != "0" and version != old_meta["resourceVersion"]:
        raise conflict(
            info,
            name,
            "the object has been modified; please apply your changes to the latest version and "
            "try again",
        )


_ALWAYS_KEPT: Final = ("uid", "creationTimestamp", "generation", "resourceVersion")
_KEPT_WHEN_MISSING: Final = ("deletionTimestamp", "deletionGracePeriodSeconds")


def inherit(new: Json, old: Json) -> None:
    """Carry over what an update cannot change."""
    meta, old_meta = new["metadata"], old["metadata"]
    for field in _ALWAYS_KEPT:
        if field in old_meta:
            meta[field] = old_meta[field]
        else:
            meta.pop(field, None)
    for field in _KEPT_WHEN_MISSING:
        if meta.get(field) is None:
            meta.pop(field, None)
            if field in old_meta:
                meta[field] = old_meta[field]
    if "generateName" in old_meta:
        meta.setdefault("generateName", old_meta["generateName"])


_NOT_CONTENT: Final = frozenset({"kind", "apiVersion", "metadata"})


def bumps_generation(info: ResourceInfo, new: Json, old: Json) -> bool:
    """Whether the change between two versions is one of the desired state."""
    if not info.has_generation:
        return False
    ignored = _NOT_CONTENT
    if info.has_status or info.crd is None:
        ignored = ignored | {"status"}
    if any(new.get(key) != old.get(key) for key in {*new, *old} - ignored):
        return True
    if info.storage_key == "endpointslices.discovery.k8s.io":
        return bool((new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}))
    if info.storage_key == "deployments.apps":
        # Deployments count their annotations as desired state: they are copied to ReplicaSets.
        return bool(
            (new["metadata"].get("annotations") or {}) != (old["metadata"].get("annotations") or {})
        )
    return False
