"""Downstream namespaces that nobody needs any more are removed, late and carefully (3.11)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import has_soft_finalizers
from kcpctl.apis.resource import NAMESPACES, Resource
from kcpctl.controller import Request, commit
from kcpctl.errors import NotFound
from kcpctl.informers import CachedObject
from kcpctl.runtime import SYSTEM_CLOCK, Clock, get_logger
from kcpctl.syncer.assignment import (
    Metadata,
    is_relevant,
    namespace_is_assigned,
    refusal,
)
from kcpctl.syncer.gate import Gate
from kcpctl.syncer.namespaces import NamespaceMapper
from kcpctl.syncer.progress import SETTLED, Pass
from kcpctl.syncer.side import Side
from kcpctl.syncer.target import FIELD_MANAGER, Target

__all__ = ["NamespaceCleaner"]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _LiveMetadata:
    """Metadata of an object as read, in the shape that the rules want."""

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    finalizers: list[str]
    deletion_timestamp: str | None

    @classmethod
    def of(cls, obj: Unstructured) -> _LiveMetadata:
        metadata = obj["metadata"]
        return cls(
            metadata["name"],
            metadata.get("labels") or {},
            metadata.get("annotations") or {},
            metadata.get("finalizers") or [],
            metadata.get("deletionTimestamp"),
        )


class NamespaceCleaner:
    """Looks at one upstream namespace at a time. A :class:`~kcpctl.syncer.progress.Step`.

    A downstream namespace goes when: it carries the locator with this target's uid, none of our
    objects is left in it, the upstream namespace is gone or neither assigned nor holding anything
    that is, and all of that was so ``delay_seconds`` ago; then the SyncTarget is confirmed live
    and the upstream namespace read once more. Any doubt, such as a failed read, leaves it. The
    controllers around start only after all caches are synced (kcp #2041).

    It also takes the marks off an upstream namespace that was asked to leave this target, once
    none of its objects has a copy.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        upstream: Side,
        downstream: Side,
        namespaces: NamespaceMapper,
        resources: Sequence[Resource],
        delay_seconds: float,
        admission: Admission = EVERYTHING,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._gate = gate
        self._target: Target = gate.target
        self._upstream = upstream
        self._downstream = downstream
        self._namespaces = namespaces
        self._resources = resources
        self._delay_seconds: Final = delay_seconds
        self._admission = admission
        self._clock = clock
        self._up = upstream.client.resource(NAMESPACES)
        self._down = downstream.client.resource(NAMESPACES)
        self._lock = threading.Lock()
        # Guarded by _lock: monotonic times at which upstream namespaces' copies may go.
        self._planned: dict[str, float] = {}

    def keys_of_copy(self, obj: CachedObject) -> list[str]:
        """Map a downstream namespace to the key of the upstream one."""
        namespace = self._namespaces.named_by(obj)
        return [] if namespace is None else [self._upstream.key("", namespace)]

    def keys_around_copy(self, obj: CachedObject) -> list[str]:
        """Map a downstream object to the key of its upstream namespace."""
        namespace = self._namespaces.upstream_of(obj.meta.namespace)
        return [] if namespace is None else [self._upstream.key("", namespace)]

    def keys_around(self, obj: CachedObject) -> list[str]:
        """Map an upstream object to the key of its namespace."""
        return [self._upstream.key("", obj.meta.namespace)]

    def sync(self, request: Request) -> Pass:
        """Plan, or after the delay carry out, the removal of a namespace's copy."""
        self._gate.require()
        name = request.name
        namespace = self._upstream.namespace(name)
        self._release(namespace)
        copies = [obj for obj in self._namespaces.cached(name) if not obj.meta.deletion_timestamp]
        if not copies or self._is_needed(name, namespace) or self._has_objects(copies):
            self._unplan(name)
            return SETTLED
        left = self._plan(name)
        if left > 0:
            return Pass(again_in_seconds=left)
        self._gate.confirm()
        if self._is_needed_live(name):
            self._unplan(name)
            return SETTLED
        for copy in copies:
            self._delete(copy)
        self._unplan(name)
        return SETTLED

    def _is_needed(self, name: str, namespace: CachedObject | None) -> bool:
        if namespace is None:
            return False
        return self._keeps(namespace.meta) or any(
            self._is_relevant(resource, obj.meta, namespace.meta)
            for resource in self._resources
            for obj in self._upstream.objects_in(resource, name)
        )

    def _is_relevant(self, resource: Resource, meta: Metadata, namespace: Metadata) -> bool:
        admitted = not refusal(resource, meta, namespace, self._admission)
        return is_relevant(meta, namespace, self._target, admitted=admitted)

    def _keeps(self, namespace: Metadata) -> bool:
        """Whether the namespace itself, empty as it may be, stays assigned."""
        return (
            namespace.deletion_timestamp is None
            and self._target.deletion_annotation not in namespace.annotations
            and namespace_is_assigned(namespace, self._target)
            and not self._admission.namespace_refusal(namespace.labels)
        )

    def _is_needed_live(self, name: str) -> bool:
        """Ask the server, for the cache may be late. Raises what keeps it from answering."""
        try:
            found = self._up.get(name)
        except NotFound:
            return False
        return self._keeps(_LiveMetadata.of(found))

    def _has_objects(self, copies: Sequence[CachedObject]) -> bool:
        """Whether copies are left, or may be: of a type that the cluster does not serve now."""
        if not all(resource in self._downstream.objects for resource in self._resources):
            return True
        return any(
            True
            for copy in copies
            for resource in self._resources
            for _ in self._downstream.objects_in(resource, copy.meta.name)
        )

    def _plan(self, name: str) -> float:
        """Return the seconds until the copy may go, counted from when it was first unneeded."""
        now = self._clock.monotonic()
        with self._lock:
            return self._planned.setdefault(name, now + self._delay_seconds) - now

    def _unplan(self, name: str) -> None:
        with self._lock:
            self._planned.pop(name, None)

    def _delete(self, copy: CachedObject) -> None:
        self._gate.require()
        try:
            self._down.delete(copy.meta.name, uid=copy.meta.uid, propagation="Background")
        except NotFound:
            return
        _log.info("Deleted a namespace that nothing is synced to", downstream=copy.meta.name)

    def _release(self, namespace: CachedObject | None) -> None:
        """Row 23, for a namespace: its marks go after the finalizers of its objects."""
        target = self._target
        if (
            namespace is None
            or target.deletion_annotation not in namespace.meta.annotations
            or has_soft_finalizers(namespace.meta.annotations, target.key)
            or any(
                target.finalizer in obj.meta.finalizers
                for resource in self._resources
                for obj in self._upstream.objects_in(resource, namespace.meta.name)
            )
        ):
            return
        source: Unstructured = namespace.decode()
        metadata = dict(source["metadata"])
        marks = {target.state_label, target.deletion_annotation, target.soft_finalizers_annotation}
        for part in ("labels", "annotations"):
            pairs = metadata.get(part) or {}
            metadata[part] = {key: value for key, value in pairs.items() if key not in marks}
        commit(self._up, source, {**source, "metadata": metadata}, field_manager=FIELD_MANAGER)
