"""Cleaning up after a SyncTarget, step by step, so that any step may be interrupted (2.6)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    CLUSTER_LABEL,
    LOCATOR_ANNOTATION,
    SYNCTARGET_UID_LABEL,
    TENANT_LABEL,
    NamespaceLocator,
    deletion_annotation,
    soft_finalizers_annotation,
    state_label,
    sync_target_key,
    syncer_finalizer,
    syncer_id,
)
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from kcpctl.apis.workload import MANAGED, ORPHAN, SyncTarget, deployment_mode, names_a_cluster
from kcpctl.client import Client
from kcpctl.errors import ApiError, NotFound
from kcpctl.reconcilers.problem import BUSY
from kcpctl.reconcilers.synctarget.departure import is_drained
from kcpctl.reconcilers.synctarget.eviction import list_if_served
from kcpctl.reconcilers.synctarget.manifests import SYNCED_RESOURCES
from kcpctl.reconcilers.synctarget.removal import (
    delete_certificate_rights,
    delete_exactly,
    delete_syncers_namespace,
    some_of,
)
from kcpctl.reconcilers.turns import ClusterTurns

__all__ = ["Cleaner", "Progress"]

# The Deployment goes first, so that no syncer is left that could make anything again.
_SYNCER_RESOURCES: Final = (
    DEPLOYMENTS,
    LEASES,
    SECRETS,
    SERVICE_ACCOUNTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is left (sentences for the condition), and why things were left behind, if they were.

    ``busy`` tells that the cluster is there and does not do what it is asked for now.
    """

    remaining: tuple[str, ...] = ()
    orphaned: str = ""
    busy: bool = False


class Cleaner:
    """Removes everything that exists on behalf of one SyncTarget, and of no other.

    The order: the workloads' namespaces downstream, the syncer downstream, its identity upstream,
    the marks on upstream objects. Each step looks at the servers, does what is left of it and
    stops the pass while something remains; so a pass that was cut off is simply run again.
    The identity upstream is the record that something may exist downstream: it is made before
    and removed after. Whoever deletes a workspace takes it away too early; then the heartbeat of
    a syncer that was deployed is the record. A cluster that refuses is one that cannot be reached.
    Raises what the upstream client raises, and Postponed.
    """

    def __init__(
        self, target: SyncTarget, cluster: str, *, credentials_namespace: str, turns: ClusterTurns
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._turns = turns
        self._uid = target.metadata.uid
        self._id = syncer_id(target.metadata.name, self._uid)
        self._key = sync_target_key(cluster, target.metadata.name)
        self._namespace = credentials_namespace

    def run(
        self,
        upstream: Client,
        downstream: Client | None,
        *,
        why_not: str,
        force: bool,
        give_up: bool = False,
    ) -> Progress:
        """Do what can be done now.

        ``downstream`` is None while the cluster cannot be reached, for the reason ``why_not``;
        with ``force`` what is there is left behind. ``give_up`` says that it was busy for all that
        time, which comes to the same.
        """
        orphaned = ""
        if self._has_identity(upstream) or self._has_syncer():
            orphaned = "" if self._is_known_empty() else f"cannot be reached: {why_not}"
            if downstream is not None:
                try:
                    with self._turns.turn(self._cluster, downstream.server):
                        remaining = self._clean_downstream(downstream)
                    if remaining:
                        return Progress(remaining)
                    orphaned = ""
                except BUSY as error:
                    orphaned = f"is busy: {error}"
                    if not give_up:
                        left = f"what is on the cluster, which {orphaned}"
                        return Progress((left,), busy=True)
                except ApiError as error:
                    orphaned = f"refuses: {error}"
            if orphaned and not force:
                return Progress((f"what is on the cluster, which {orphaned}",))
            self._delete_identity(upstream)
        copies = self._strip_marks(upstream)
        if copies and downstream is None and self._target.spec.deletion_policy != ORPHAN:
            orphaned = f"cannot be reached: {why_not}"  # nobody took them off it
        return Progress(orphaned=orphaned)

    def _is_known_empty(self) -> bool:
        """Whether the syncer says so of a cluster that is not ours to look at."""
        return not names_a_cluster(self._target.spec) and is_drained(self._target)

    def _has_identity(self, upstream: Client) -> bool:
        # The account alone is missing for a moment when a syncer moves to another cluster.
        for resource in (SERVICE_ACCOUNTS, CLUSTER_ROLES):
            namespace = self._namespace if resource.namespaced else None
            with contextlib.suppress(NotFound):
                if self._is_ours(upstream.resource(resource).get(self._id, namespace=namespace)):
                    return True
        return False

    def _has_syncer(self) -> bool:
        status, spec = self._target.status, self._target.spec
        return deployment_mode(spec) == MANAGED and bool(status.last_syncer_heartbeat_time)

    def _is_ours(self, obj: Unstructured) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return bool(labels.get(SYNCTARGET_UID_LABEL) == self._uid)

    def _clean_downstream(self, downstream: Client) -> tuple[str, ...]:
        namespaces = self._workload_namespaces(downstream)
        if self._target.spec.deletion_policy == ORPHAN:
            for namespace in namespaces:
                self._release(downstream, namespace)
        elif namespaces:
            for namespace in namespaces:
                delete_exactly(downstream, NAMESPACES, namespace)
            return (_some("namespaces of workloads", namespaces),)
        return self._delete_syncer(downstream)

    def _workload_namespaces(self, downstream: Client) -> list[Unstructured]:
        """Return the namespaces that carry our key and a locator with our uid."""
        found = downstream.resource(NAMESPACES).list(label_selector=f"{CLUSTER_LABEL}={self._key}")
        return [namespace for namespace in found if self._is_located_here(namespace)]

    def _is_located_here(self, namespace: Unstructured) -> bool:
        text = (namespace["metadata"].get("annotations") or {}).get(LOCATOR_ANNOTATION, "")
        try:
            locator = NamespaceLocator.from_json(text)
        except ValueError:
            return False
        return locator.sync_target.uid == self._uid

    def _release(self, downstream: Client, namespace: Unstructured) -> None:
        """Orphan policy: take our marks off and leave the rest running."""
        name = namespace["metadata"]["name"]
        for resource in SYNCED_RESOURCES:
            client = downstream.resource(resource)
            selector = f"{CLUSTER_LABEL}={self._key}"
            for obj in client.list(namespace=name, label_selector=selector):
                with contextlib.suppress(NotFound):
                    client.patch(
                        obj["metadata"]["name"],
                        {"metadata": {"labels": {CLUSTER_LABEL: None}}},
                        namespace=name,
                    )
        marks = {
            "labels": {CLUSTER_LABEL: None, TENANT_LABEL: None},
            "annotations": {LOCATOR_ANNOTATION: None},
        }
        with contextlib.suppress(NotFound):
            downstream.resource(NAMESPACES).patch(name, {"metadata": marks})

    def _delete_syncer(self, downstream: Client) -> tuple[str, ...]:
        selector = f"{SYNCTARGET_UID_LABEL}={self._uid}"
        remaining = []
        for resource in _SYNCER_RESOURCES:
            found = downstream.resource(resource).list(label_selector=selector).items
            for obj in found:
                if resource is NAMESPACES:
                    delete_syncers_namespace(downstream, obj, uid=self._uid, syncer=self._id)
                else:
                    delete_exactly(downstream, resource, obj)
            if found:
                remaining.append(_some(resource.plural, found))
        # Until its Pod has ended the syncer may still write.
        if pods := downstream.resource(PODS).list(label_selector=selector).items:
            remaining.append(_some("pods", pods))
        return tuple(remaining)

    def _delete_identity(self, upstream: Client) -> None:
        """Garbage collection would do it too, but not before the SyncTarget is gone."""
        delete_certificate_rights(upstream, syncer=self._id, uid=self._uid)
        for resource in (CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, SERVICE_ACCOUNTS):
            namespace = self._namespace if resource.namespaced else None
            with contextlib.suppress(NotFound):
                found = upstream.resource(resource).get(self._id, namespace=namespace)
                if self._is_ours(found):
                    delete_exactly(upstream, resource, found)

    def _strip_marks(self, upstream: Client) -> bool:
        """Let go of the upstream objects that were assigned; whether any of them had a copy."""
        copies = False
        for resource in (*SYNCED_RESOURCES, NAMESPACES):
            client = upstream.resource(resource)
            for obj in list_if_served(upstream, resource):
                if (patch := self._unmarked(obj)) is not None:
                    meta = obj["metadata"]
                    copies |= "finalizers" in patch["metadata"]
                    with contextlib.suppress(NotFound):
                        client.patch(meta["name"], patch, namespace=meta.get("namespace"))
        return copies

    def _unmarked(self, obj: Unstructured) -> Unstructured | None:
        """Return the patch that takes our marks off an object, None if it has none."""
        meta = obj["metadata"]
        change: Unstructured = {}
        finalizer = syncer_finalizer(self._key)
        if finalizer in (finalizers := meta.get("finalizers") or ()):
            change["finalizers"] = [one for one in finalizers if one != finalizer]
        if state_label(self._key) in (meta.get("labels") or {}):
            change["labels"] = {state_label(self._key): None}
        annotations = meta.get("annotations") or {}
        if gone := {name: None for name in self._annotations() if name in annotations}:
            change["annotations"] = gone
        if not change:
            return None
        guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        return {"metadata": {**guard, **change}}

    def _annotations(self) -> Iterator[str]:
        yield deletion_annotation(self._key)
        yield soft_finalizers_annotation(self._key)


def _some(what: str, objects: Sequence[Unstructured]) -> str:
    return f"{what} {some_of(obj['metadata']['name'] for obj in objects)}"
