"""Mapping: which keys an object of an informer is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kcpctl.apis.resource import Resource
from kcpctl.informers import CachedObject
from kcpctl.logicalcluster import key_of

__all__ = ["MapFunction", "for_owner", "own_key"]

MapFunction = Callable[[CachedObject], Iterable[str]]
"""Returns the keys to enqueue for an object. Called on the I/O thread; must not block."""


def own_key(obj: CachedObject) -> Iterable[str]:
    """Return the object's own key."""
    return (obj.key,)


def for_owner(owner: Resource, *, controller_only: bool = True) -> MapFunction:
    """Return a mapping from an object to its owners of the type ``owner``, in the same cluster.

    The version in the owner reference does not matter, only group and kind. With
    ``controller_only`` just the reference with ``controller: true`` counts.
    """

    def owners(obj: CachedObject) -> Iterator[str]:
        for reference in obj.meta.owner_references:
            group, slash, _ = reference.api_version.rpartition("/")
            if (
                reference.kind == owner.kind
                and (group if slash else "") == owner.group
                and (reference.controller or not controller_only)
            ):
                namespace = obj.meta.namespace if owner.namespaced else ""
                yield key_of(obj.cluster, namespace, reference.name)

    return owners
