"""Removal: the downstream copy goes first, then what held the upstream object (3.4, 5)."""

from __future__ import annotations

from typing import Final

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import CLUSTER_LABEL
from kcpctl.apis.resource import NAMESPACES, Resource
from kcpctl.controller import Request, commit
from kcpctl.errors import NotFound
from kcpctl.informers import CachedObject
from kcpctl.runtime import get_logger
from kcpctl.syncer.gate import Gate
from kcpctl.syncer.namespaces import NamespaceMapper, locator_of
from kcpctl.syncer.progress import SETTLED, Pass
from kcpctl.syncer.side import Side
from kcpctl.syncer.target import FIELD_MANAGER, Target

__all__ = ["Remover"]

_log = get_logger(__name__)

# A copy with finalizers of others takes its time; its deletion event comes first as a rule.
_STILL_THERE_RETRY_SECONDS: Final = 10.0


class Remover:
    """Takes the copies of one resource type off the downstream cluster. Any worker thread.

    Promises: nothing is deleted unless the SyncTarget is confirmed live at that moment and, if
    the upstream object seems gone, that is confirmed too; only what carries this target's label,
    in a namespace with this target's locator, is deleted; the upstream finalizer goes only after
    a live read said NotFound.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        gate: Gate,
        upstream: Side,
        downstream: Side,
        namespaces: NamespaceMapper,
    ) -> None:
        self._resource = resource
        self._gate = gate
        self._target: Target = gate.target
        self._namespaces = namespaces
        self._up = upstream.client.resource(resource)
        self._down = downstream.client.resource(resource)
        self._down_namespaces = downstream.client.resource(NAMESPACES)

    def remove(self, request: Request, up: CachedObject | None) -> Pass:
        """Delete the copy; once it has gone, let the upstream object go."""
        self._gate.confirm()
        if up is None and self._exists_upstream(request):
            return SETTLED  # the cache lags: its event brings the next pass
        issued = [
            self._delete(name, request.name) for name in self._namespaces.names(request.namespace)
        ]
        if any(issued):
            return Pass(settled=False, again_in_seconds=_STILL_THERE_RETRY_SECONDS)
        if up is not None:
            self._release(up)
        return SETTLED

    def _exists_upstream(self, request: Request) -> bool:
        try:
            self._up.get(request.name, namespace=request.namespace)
        except NotFound:
            return False
        return True

    def _delete(self, namespace: str, name: str) -> bool:
        """Delete one copy; returns whether there was (and so may still be) one of ours."""
        try:
            live = self._down.get(name, namespace=namespace)
        except NotFound:
            return False
        metadata = live["metadata"]
        if (metadata.get("labels") or {}).get(CLUSTER_LABEL) != self._target.key:
            return False
        if not self._is_our_namespace(namespace):
            return False
        if not metadata.get("deletionTimestamp"):
            self._gate.require()
            try:
                self._down.delete(
                    name, namespace=namespace, uid=metadata["uid"], propagation="Background"
                )
            except NotFound:
                return False
            _log.debug("Deleted a copy", kind=self._resource.kind, downstream=namespace)
        return True

    def _is_our_namespace(self, name: str) -> bool:
        if self._namespaces.upstream_of(name) is not None:
            return True
        try:
            live = self._down_namespaces.get(name)
        except NotFound:
            return False
        locator = locator_of(live["metadata"].get("annotations") or {})
        return locator is not None and self._target.owns(locator)

    def _release(self, up: CachedObject) -> None:
        """Row 23: drop the finalizer and, if only this target was to be left, its other marks.

        Where the namespace assigns the object, its deletion annotation stays: it is what keeps
        the object out.
        """
        source: Unstructured = up.decode()
        metadata = dict(source["metadata"])
        target = self._target
        finalizers = metadata.get("finalizers") or []
        metadata["finalizers"] = [entry for entry in finalizers if entry != target.finalizer]
        labels = metadata.get("labels") or {}
        if target.deletion_annotation in up.meta.annotations and target.state_label in labels:
            metadata["labels"] = _without(labels, {target.state_label})
            marks = {
                target.deletion_annotation,
                target.soft_finalizers_annotation,
                target.spec_diff_annotation,
                target.status_annotation,
                target.diff_annotation,
            }
            metadata["annotations"] = _without(metadata.get("annotations") or {}, marks)
        try:
            commit(self._up, source, {**source, "metadata": metadata}, field_manager=FIELD_MANAGER)
        except NotFound:
            return


def _without(pairs: dict[str, str], keys: set[str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key not in keys}
