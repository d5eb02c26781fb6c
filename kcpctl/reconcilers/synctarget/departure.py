"""The first steps of a deletion: what is assigned leaves, and is waited for (2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kcpctl.apis.conditions import get_condition
from kcpctl.apis.naming import has_soft_finalizers, sync_target_key, syncer_finalizer
from kcpctl.apis.resource import NAMESPACES
from kcpctl.apis.synctarget_status import DRAINED, DRAINING, SYNCER_READY
from kcpctl.apis.workload import SyncTarget, names_a_cluster
from kcpctl.client import Client
from kcpctl.reconcilers.synctarget.eviction import Assigned, evict, list_if_served
from kcpctl.reconcilers.synctarget.manifests import SYNCED_RESOURCES
from kcpctl.reconcilers.synctarget.removal import some_of

__all__ = ["depart", "drains", "is_drained"]


def depart(
    upstream: Client, cluster: str, target: SyncTarget, *, alive: bool, now: float
) -> tuple[str, ...]:
    """Ask what is assigned to leave; returns what has to be waited for, for the condition.

    ``alive`` tells whether there is a syncer at work: then it removes the copies, and says when
    nothing is left. Without one the controller cleans a cluster that the spec names; on any other
    the copies are nobody's to remove. Soft finalizers are waited for in any case. Raises what the
    client raises.
    """
    key = sync_target_key(cluster, target.metadata.name)
    assigned = evict(upstream, cluster, target.metadata.name, now)
    held = [one for one in assigned if _is_held(one, key)]
    waits = [f"{_named(held)}, which soft finalizers hold"] if held else []
    drained = is_drained(target)
    if alive:
        leaving = [one for one in assigned if one not in held]
        if drained:  # then what never had a copy, as of a type that the cluster lacks, is ours
            leaving = [one for one in leaving if _has_copy(one, key)]
        if leaving:
            waits.append(f"{_named(leaving)}, which the syncer removes")
        elif not held and not names_a_cluster(target.spec) and not drained:
            waits.append("what the syncer has on its cluster")
    elif not names_a_cluster(target.spec) and (copied := list(_copied(upstream, key))):
        waits.append(
            f"the copies of {_named(copied)}, for which a syncer has to run, "
            "unless spec.deletionPolicy is set to Orphan"
        )
    return tuple(waits)


def drains(target: SyncTarget) -> bool:
    """Whether the syncer has seen that the target is being deleted, and says so."""
    syncer = get_condition(target.status.conditions, SYNCER_READY)
    return syncer is not None and syncer.reason in {DRAINING, DRAINED}


def is_drained(target: SyncTarget) -> bool:
    """Whether the syncer says that it has nothing left on its cluster."""
    syncer = get_condition(target.status.conditions, SYNCER_READY)
    return syncer is not None and syncer.reason == DRAINED


def _is_held(one: Assigned, key: str) -> bool:
    return has_soft_finalizers(one.obj["metadata"].get("annotations") or {}, key)


def _has_copy(one: Assigned, key: str) -> bool:
    return syncer_finalizer(key) in (one.obj["metadata"].get("finalizers") or ())


def _copied(upstream: Client, key: str) -> Iterator[Assigned]:
    """Return what may have a copy downstream, also where its namespace alone is assigned."""
    for resource in SYNCED_RESOURCES:
        found = (Assigned(resource, obj) for obj in list_if_served(upstream, resource))
        yield from (one for one in found if _has_copy(one, key))


def _named(found: Iterable[Assigned]) -> str:
    return some_of(f"{one.resource.plural} {_name(one)}" for one in found)


def _name(one: Assigned) -> str:
    meta = one.obj["metadata"]
    return meta["name"] if one.resource == NAMESPACES else f"{meta['namespace']}/{meta['name']}"
