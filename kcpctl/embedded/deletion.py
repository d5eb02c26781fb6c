"""Deletion: preconditions, finalizers, propagation, grace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kcpctl.embedded.backend import Backend
from kcpctl.embedded.crds import CLEANUP_FINALIZER, CRD_KEY, set_condition
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import Cause, conflict, forbidden, invalid, not_found
from kcpctl.embedded.strategy import strategy_of
from kcpctl.runtime import format_time, parse_time

__all__ = ["Deleted", "Deleter", "DeletionOptions", "is_finished"]

Json = dict[str, Any]
ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
_IMMORTAL_NAMESPACES: Final = ("default", "kube-system", "kube-public")
_DEFAULT_POD_GRACE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class DeletionOptions:
    """``v1.DeleteOptions``, checked."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, Any] | None) -> DeletionOptions:
        """Return the options of a decoded body; raises 422 for values that are not possible."""
        options = options or {}
        causes: list[Cause] = []
        policy = options.get("propagationPolicy") or ""
        orphan = options.get("orphanDependents")
        if policy and orphan is not None:
            detail = "orphanDependents and deletionPropagation cannot be both set"
            causes.append(Cause.invalid("propagationPolicy", policy, detail))
        if policy not in ("", "Orphan", "Background", "Foreground"):
            supported = ("Foreground", "Background", "Orphan", "nil")
            causes.append(Cause.not_supported("propagationPolicy", policy, supported))
        dry_run = options.get("dryRun") or []
        if any(value != "All" for value in dry_run):
            causes.append(Cause.not_supported("dryRun", dry_run, ("All",)))
        if causes:
            raise invalid("DeleteOptions", "meta.k8s.io", "", causes)
        if orphan is not None:
            policy = "Orphan" if orphan else "Background"
        preconditions = options.get("preconditions") or {}
        return cls(
            grace_period_seconds=options.get("gracePeriodSeconds"),
            propagation_policy=policy,
            uid=preconditions.get("uid") or "",
            resource_version=preconditions.get("resourceVersion") or "",
            dry_run=bool(dry_run),
        )


@dataclass(frozen=True, slots=True)
class Deleted:
    """The outcome: the object in its last state, and whether it is gone."""

    object: Json
    gone: bool


@dataclass(frozen=True, slots=True)
class _KindName:
    """Precondition errors name the kind where all others name the resource."""

    group: str
    plural: str


def is_finished(info: ResourceInfo, obj: Json) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if info.storage_key == "namespaces" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not meta.get("deletionGracePeriodSeconds")


def _check(info: ResourceInfo, obj: Json, options: DeletionOptions) -> None:
    meta = obj["metadata"]
    target = _KindName(info.group, info.kind)
    if options.uid and options.uid != meta["uid"]:
        raise conflict(
            target,
            meta["name"],
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({meta['uid']}). The object might have been deleted and then recreated",
        )
    version = options.resource_version
    if version and version != meta["resourceVersion"]:
        raise conflict(
            target,
            meta["name"],
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({meta['resourceVersion']}). The object might have been "
            "modified",
        )


def _finalizers(info: ResourceInfo, obj: Json, options: DeletionOptions) -> list[str]:
    """Return the finalizers that the propagation policy leaves on an object."""
    present: list[str] = list(obj["metadata"].get("finalizers") or ())
    policy = options.propagation_policy
    if not policy and strategy_of(info).orphans and not {ORPHAN, FOREGROUND} & set(present):
        policy = "Orphan"
    if not policy:
        return present
    kept = [one for one in present if one not in (ORPHAN, FOREGROUND)]
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy)
    if wanted is None:
        return kept
    return present if wanted in present and len(kept) == len(present) - 1 else [*kept, wanted]


class Deleter:
    """Deletes objects. Event loop's thread only; every failure is a StatusError."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def delete(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        options: DeletionOptions,
    ) -> Deleted:
        """Delete an object, or set it to be deleted."""
        obj = self._backend.find(info, cluster, namespace, name)
        if obj is None:
            raise not_found(info, name)
        _check(info, obj, options)
        if info.storage_key == "namespaces":
            return self._delete_namespace(info, cluster, obj, options)
        if info.storage_key == CRD_KEY:
            return self._delete_crd(info, cluster, obj, options)
        if info.storage_key == "pods":
            return self._delete_pod(info, cluster, obj, options)
        return self._delete_plain(info, cluster, obj, options)

    def _marked(self, obj: Json, finalizers: list[str], *, grace_seconds: int | None = 0) -> Json:
        """Return a copy of ``obj`` that is being deleted."""
        meta = dict(obj["metadata"])
        marked = {**obj, "metadata": meta}
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)
        if not meta.get("deletionTimestamp"):
            until = self._backend.clock.time() + (grace_seconds or 0)
            meta["deletionTimestamp"] = format_time(until)
            if grace_seconds is not None:
                meta["deletionGracePeriodSeconds"] = grace_seconds
                if meta.get("generation"):
                    meta["generation"] += 1
        return marked

    def _delete_plain(
        self, info: ResourceInfo, cluster: str, obj: Json, options: DeletionOptions
    ) -> Deleted:
        finalizers = _finalizers(info, obj, options)
        if not finalizers:
            return self._remove(info, cluster, obj, options)
        marked = self._marked(obj, finalizers)
        if marked == obj or options.dry_run:
            return Deleted(marked, gone=False)
        return Deleted(self._backend.put(info, cluster, marked), gone=False)

    def _remove(
        self, info: ResourceInfo, cluster: str, obj: Json, options: DeletionOptions
    ) -> Deleted:
        meta = obj["metadata"]
        if options.dry_run:
            return Deleted(obj, gone=True)
        self._backend.remove(info, cluster, meta.get("namespace", ""), meta["name"])
        version = str(self._backend.store.latest(info.storage_key))
        return Deleted({**obj, "metadata": {**meta, "resourceVersion": version}}, gone=True)

    def _pod_grace(self, obj: Json, options: DeletionOptions) -> int:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        if options.grace_period_seconds is not None:
            return max(options.grace_period_seconds, 0)
        default: int = spec.get("terminationGracePeriodSeconds", _DEFAULT_POD_GRACE_SECONDS)
        return default

    def _delete_pod(
        self, info: ResourceInfo, cluster: str, obj: Json, options: DeletionOptions
    ) -> Deleted:
        finalizers = _finalizers(info, obj, options)
        grace = self._pod_grace(obj, options)
        marked = self._marked(obj, finalizers, grace_seconds=grace)
        meta = marked["metadata"]
        before = obj["metadata"].get("deletionGracePeriodSeconds")
        if before is not None and grace < before:
            # A later delete can shorten the grace, never lengthen it.
            asked = parse_time(meta["deletionTimestamp"]) - before
            meta["deletionTimestamp"] = format_time(asked + grace)
            meta["deletionGracePeriodSeconds"] = grace
            meta["generation"] = meta.get("generation", 0) + 1
        gone = is_finished(info, marked)
        if options.dry_run:
            return Deleted(marked, gone=gone)
        if marked != obj:
            marked = self._backend.put(info, cluster, marked)
        if gone:
            self._backend.remove(info, cluster, meta.get("namespace", ""), meta["name"])
        return Deleted(marked, gone=gone)

    def _delete_namespace(
        self, info: ResourceInfo, cluster: str, obj: Json, options: DeletionOptions
    ) -> Deleted:
        name = obj["metadata"]["name"]
        if name in _IMMORTAL_NAMESPACES:
            raise forbidden(info, name, "this namespace may not be deleted")
        marked = self._marked(obj, _finalizers(info, obj, options), grace_seconds=None)
        marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        if is_finished(info, marked):
            return self._remove(info, cluster, obj, options)
        if marked == obj or options.dry_run:
            return Deleted(marked, gone=False)
        return Deleted(self._backend.put(info, cluster, marked), gone=False)

    def _delete_crd(
        self, info: ResourceInfo, cluster: str, obj: Json, options: DeletionOptions
    ) -> Deleted:
        finalizers = _finalizers(info, obj, options)
        if not obj["metadata"].get("deletionTimestamp") and CLEANUP_FINALIZER not in finalizers:
            finalizers = [*finalizers, CLEANUP_FINALIZER]
        marked = self._marked(obj, finalizers, grace_seconds=None)
        if is_finished(info, marked):
            return self._remove(info, cluster, obj, options)
        if CLEANUP_FINALIZER in finalizers:
            marked["status"] = set_condition(
                obj.get("status") or {},
                "Terminating",
                "True",
                "InstanceDeletionPending",
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin "
                "soon",
                self._backend.now(),
            )
        if marked == obj or options.dry_run:
            return Deleted(marked, gone=False)
        return Deleted(self._backend.put(info, cluster, marked), gone=False)
