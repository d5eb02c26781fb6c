"""One object: its spec goes down, its status comes up, its removal follows (3.4, 3.6)."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import ADOPT_ANNOTATION, CLUSTER_LABEL, SYNC_PAUSED_ANNOTATION
from kcpctl.apis.resource import SECRETS, Resource
from kcpctl.controller import Request, commit
from kcpctl.errors import BadRequest, Invalid, NotFound, RequestEntityTooLarge, TerminalError
from kcpctl.informers import CachedObject
from kcpctl.runtime import get_logger
from kcpctl.syncer.assignment import (
    Decision,
    Metadata,
    decide,
    is_relevant,
    is_reserved,
    is_syncable_namespace,
    refusal,
)
from kcpctl.syncer.fingerprint import Applied, digest, fingerprint
from kcpctl.syncer.gate import Gate
from kcpctl.syncer.namespaces import NamespaceCollision, NamespaceMapper, NamespaceTerminating
from kcpctl.syncer.progress import SETTLED, Pass
from kcpctl.syncer.removal import Remover
from kcpctl.syncer.side import HAS_STATUS, Side
from kcpctl.syncer.status_up import upstream_status
from kcpctl.syncer.target import FIELD_MANAGER, Target
from kcpctl.syncer.transform import transform

__all__ = ["ObjectSyncer"]

_log = get_logger(__name__)

# What is refused stays refused until somebody changes something; events of our own objects bring
# it up at once, those of strangers' objects are not watched.
_REFUSED_RETRY_SECONDS: Final = 60.0
_TERMINATING_RETRY_SECONDS: Final = 2.0
_NOT_OURS: Final = "NotOurs"
_PERMANENT: Final = (Invalid, BadRequest, RequestEntityTooLarge, TerminalError)


class ObjectSyncer:
    """Syncs the objects of one resource type. A :class:`~kcpctl.syncer.progress.Step`.

    One pass looks at everything about one upstream object and writes in this order: finalizer
    upstream (and stops: the finalizer precedes the first write downstream, row 19), namespace
    and object downstream, status upstream. Invariants:

    1. Nothing is written downstream unless the gate is open and our finalizer is upstream.
    2. An object downstream is written only if it carries this target's label (or lost it but was
       applied by a syncer), did not exist, or upstream asks to adopt it; another target's never
       (3.9).
    3. What was applied and is still there as it was is not applied again: no writes at rest.

    ``sync`` is called on worker threads, never twice at once for a key.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        gate: Gate,
        upstream: Side,
        downstream: Side,
        namespaces: NamespaceMapper,
        admission: Admission = EVERYTHING,
        syncer_namespace: str = "",
    ) -> None:
        self._resource = resource
        self._gate = gate
        self._target: Target = gate.target
        self._upstream = upstream
        self._downstream = downstream
        self._namespaces = namespaces
        self._admission = admission
        self._syncer_namespace = syncer_namespace
        self._up = upstream.client.resource(resource)
        self._down = downstream.client.resource(resource)
        self._remover = Remover(
            resource,
            gate=gate,
            upstream=upstream,
            downstream=downstream,
            namespaces=namespaces,
        )
        self._lock = threading.Lock()
        # Guarded by _lock: what was applied last, by upstream key.
        self._applied: dict[str, Applied] = {}
        # Guarded by _lock: hashes of the last status written, and of what upstream made of it.
        self._reported: dict[str, tuple[bytes, bytes]] = {}

    def keys_of(self, obj: CachedObject) -> list[str]:
        """Map an upstream object to its key, if it may concern this target."""
        namespace = self._upstream.namespace(obj.meta.namespace)
        meta = None if namespace is None else namespace.meta
        return [obj.key] if self._is_relevant(obj.meta, meta) else []

    def keys_of_copy(self, obj: CachedObject) -> list[str]:
        """Map a downstream object to the key of the upstream one, if the copy is ours."""
        namespace = self._namespaces.upstream_of(obj.meta.namespace)
        return [] if namespace is None else [self._upstream.key(namespace, obj.meta.name)]

    def keys_in(self, namespace: CachedObject) -> list[str]:
        """Map an upstream namespace to the keys of the objects in it that may need work."""
        return self._keys_in(namespace.meta.name, namespace.meta)

    def keys_in_copy(self, copy: CachedObject) -> list[str]:
        """Map a downstream namespace to the keys of the upstream objects that belong in it."""
        name = self._namespaces.named_by(copy)
        if name is None:
            return []
        namespace = self._upstream.namespace(name)
        return self._keys_in(name, None if namespace is None else namespace.meta)

    def _keys_in(self, namespace: str, meta: Metadata | None) -> list[str]:
        found = {
            obj.key
            for obj in self._upstream.objects_in(self._resource, namespace)
            if self._is_relevant(obj.meta, meta)
        }
        for copy in self._namespaces.cached(namespace):
            copies = self._downstream.objects_in(self._resource, copy.meta.name)
            found.update(self._upstream.key(namespace, obj.meta.name) for obj in copies)
        return sorted(found)

    def _is_relevant(self, meta: Metadata, namespace: Metadata | None) -> bool:
        admitted = self._admits(meta, namespace)
        return is_relevant(meta, namespace, self._target, admitted=admitted)

    def _admits(self, meta: Metadata, namespace: Metadata | None) -> bool:
        return not refusal(self._resource, meta, namespace, self._admission)

    def sync(self, request: Request) -> Pass:
        """Bring the copy of one upstream object, or its absence, about."""
        self._gate.require()
        up = self._upstream.object(self._resource, request.namespace, request.name)
        namespace = self._upstream.namespace(request.namespace)
        meta = None if up is None else up.meta
        namespace_meta = None if namespace is None else namespace.meta
        decision = decide(
            meta,
            namespace_meta,
            self._target,
            admitted=meta is not None and self._admits(meta, namespace_meta),
            has_copy=self._cached_copy(request) is not None,
        )
        if decision is Decision.REMOVE:
            result = self._remover.remove(request, up)
            self._forget(request.key)
            return result
        if decision is Decision.IGNORE or up is None or self._is_excluded(up, namespace):
            return SETTLED
        try:
            return self._sync(request, up)
        except NamespaceTerminating:
            return Pass(settled=False, again_in_seconds=_TERMINATING_RETRY_SECONDS)
        except (NamespaceCollision, *_PERMANENT) as error:
            return self._refused(str(error), type(error).__name__)

    def _refused(self, problem: str, reason: str) -> Pass:
        return Pass(problem=problem, reason=reason, again_in_seconds=_REFUSED_RETRY_SECONDS)

    def _is_excluded(self, up: CachedObject, namespace: CachedObject | None) -> bool:
        """4.10 and 3.5. An object's own label overrides the exclusion of reserved names."""
        annotations = {} if namespace is None else namespace.meta.annotations
        if not is_syncable_namespace(up.meta.namespace, annotations, self._syncer_namespace):
            return True
        if self._target.state_label in up.meta.labels:
            return False
        secret_type = ""
        if self._resource == SECRETS:
            secret_type = str(up.decode().get("type", ""))
        return is_reserved(self._resource, up.meta.namespace, up.meta, secret_type)

    def _cached_copy(self, request: Request) -> CachedObject | None:
        for name in self._namespaces.names(request.namespace):
            found = self._downstream.object(self._resource, name, request.name)
            if found is not None:
                return found
        return None

    def _sync(self, request: Request, up: CachedObject) -> Pass:
        source: Unstructured = up.decode()
        if self._target.finalizer not in up.meta.finalizers:
            if up.meta.deletion_timestamp is None:
                self._add_finalizer(source)
            return Pass(settled=up.meta.deletion_timestamp is not None)
        namespace = self._namespaces.ensure(request.namespace)
        desired = transform(source, self._target, namespace)
        live = self._live(namespace, request.name)
        if live is not None and (problem := self._refuses(live, up)):
            return self._refused(problem, _NOT_OURS)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return Pass(settled=False)  # its deletion event brings the next pass
        settled = True
        if up.meta.annotations.get(SYNC_PAUSED_ANNOTATION) != "true":
            live, settled = self._apply(request.key, source, desired, live)
        if live is not None and self._resource in HAS_STATUS:
            self._status_up(request.key, source, live)
        return Pass(settled=settled)

    def _add_finalizer(self, source: Unstructured) -> None:
        self._gate.reconfirm()
        changed = dict(source)
        metadata = source["metadata"]
        finalizers = [*(metadata.get("finalizers") or ()), self._target.finalizer]
        changed["metadata"] = {**metadata, "finalizers": finalizers}
        commit(self._up, source, changed, field_manager=FIELD_MANAGER)

    def _live(self, namespace: str, name: str) -> Unstructured | None:
        """Return the downstream object: cached if it is ours, else read (a stranger's is not)."""
        cached = self._downstream.object(self._resource, namespace, name)
        if cached is not None:
            found: Unstructured = cached.decode()
            return found
        try:
            return self._down.get(name, namespace=namespace)
        except NotFound:
            return None

    def _refuses(self, live: Unstructured, up: CachedObject) -> str:
        """Return why an existing downstream object must not be written, or "" (3.9)."""
        metadata = live["metadata"]
        owner = (metadata.get("labels") or {}).get(CLUSTER_LABEL)
        if owner == self._target.key:
            return ""
        where = f"{self._resource.kind} {metadata.get('namespace')}/{metadata.get('name')}"
        if owner is not None:
            return f"{where} belongs to another SyncTarget (key {owner}) on this cluster"
        if _was_applied_by_us(metadata):
            return ""  # somebody took our label off; the apply puts it back
        if up.meta.annotations.get(ADOPT_ANNOTATION) == "true":
            _log.info("Adopting an object", kind=self._resource.kind, name=metadata.get("name"))
            return ""
        return (
            f"{where} exists on the cluster and was not made by this syncer; delete it, or set "
            f'the annotation {ADOPT_ANNOTATION}: "true" on the upstream object to take it over'
        )

    def _apply(
        self, key: str, source: Unstructured, desired: Unstructured, live: Unstructured | None
    ) -> tuple[Unstructured, bool]:
        """Apply what is desired unless it is there already; returns what is there, settled."""
        wanted = digest(desired)
        generation = int(source["metadata"].get("generation") or 0)
        before = self._applied_last(key)
        if (
            live is not None
            and before is not None
            and (before.desired, before.uid) == (wanted, live["metadata"].get("uid"))
            and before.live == fingerprint(live, desired)
        ):
            if before.generation != generation:
                self._remember(key, replace(before, generation=generation))
            return live, True
        self._gate.reconfirm()
        result = self._down.apply(desired, field_manager=FIELD_MANAGER, force=True)
        metadata = result["metadata"]
        self._remember(
            key,
            Applied(
                desired=wanted,
                uid=str(metadata.get("uid")),
                live=fingerprint(result, desired),
                generation=generation,
                downstream_generation=int(metadata.get("generation") or 0),
            ),
        )
        old = None if live is None else live["metadata"].get("resourceVersion")
        return result, metadata.get("resourceVersion") == old

    def _status_up(self, key: str, source: Unstructured, live: Unstructured) -> None:
        status = upstream_status(live, source, self._applied_last(key))
        current = source.get("status")
        if status is None or status == current:
            return
        # An upstream server of another version may drop or default fields: then what it made of
        # the same status before is all that can be had, and writing again changes nothing.
        pair = (digest(status), digest(current))
        with self._lock:
            if self._reported.get(key) == pair:
                return
        result = commit(self._up, source, {**source, "status": status}, field_manager=FIELD_MANAGER)
        with self._lock:
            self._reported[key] = (pair[0], digest((result or source).get("status")))

    def _applied_last(self, key: str) -> Applied | None:
        with self._lock:
            return self._applied.get(key)

    def _remember(self, key: str, applied: Applied) -> None:
        with self._lock:
            self._applied[key] = applied

    def _forget(self, key: str) -> None:
        with self._lock:
            self._applied.pop(key, None)
            self._reported.pop(key, None)


def _was_applied_by_us(metadata: Unstructured) -> bool:
    """Whether a live object (a cached one has no managedFields) was made by a syncer's apply."""
    return any(
        entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        for entry in metadata.get("managedFields") or ()
    )
