"""Eviction: asking everything that is assigned to a SyncTarget to leave it (2.2, 2.7)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import STATE_SYNC, deletion_annotation, state_label, sync_target_key
from kcpctl.apis.resource import NAMESPACES, Resource
from kcpctl.client import Client
from kcpctl.errors import Conflict, Forbidden, NotFound
from kcpctl.reconcilers.synctarget.manifests import SYNCED_RESOURCES
from kcpctl.runtime import format_time

__all__ = ["Assigned", "evict", "list_if_served"]


class Assigned(NamedTuple):
    """An upstream object that is assigned to a SyncTarget, as it was read."""

    resource: Resource
    obj: Unstructured


def evict(upstream: Client, cluster: str, name: str, now: float) -> list[Assigned]:
    """Ask what is assigned to the SyncTarget to leave; returns all that is still assigned.

    Sets the deletion annotation, which the syncer follows: it removes the copy downstream, then
    the marks upstream, the assignment among them; objects with soft finalizers stay until those
    are gone. An annotation that is there stays as it is. Raises what the client raises.
    """
    key = sync_target_key(cluster, name)
    assigned = []
    # Namespaces first: an object whose own marks are gone is not to be handed over again.
    for resource in (NAMESPACES, *SYNCED_RESOURCES):
        for obj in list_if_served(upstream, resource, f"{state_label(key)}={STATE_SYNC}"):
            assigned.append(Assigned(resource, obj))
            _mark(upstream, resource, obj, deletion_annotation(key), now)
    return assigned


def list_if_served(
    upstream: Client, resource: Resource, label_selector: str = ""
) -> Iterable[Unstructured]:
    """Return the objects of a kind, none where the server does not have that kind.

    A kcp has no Deployments unless somebody exports them, and one that is reached through an
    export answers Forbidden for what that export has nothing of.
    """
    try:
        return upstream.resource(resource).list(label_selector=label_selector)
    except NotFound:
        return ()
    except Forbidden:
        if upstream.has_resource(resource):
            raise
        return ()


def _mark(
    upstream: Client, resource: Resource, obj: Unstructured, annotation: str, now: float
) -> None:
    meta = obj["metadata"]
    if annotation in (meta.get("annotations") or {}):
        return
    # Guarded: what was assigned elsewhere or made again meanwhile is looked at once more.
    guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    patch = {"metadata": {**guard, "annotations": {annotation: format_time(now)}}}
    with contextlib.suppress(NotFound, Conflict):
        upstream.resource(resource).patch(meta["name"], patch, namespace=meta.get("namespace"))
