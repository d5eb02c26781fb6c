"""One side of a syncer: a client and the caches of the types that are synced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, SECRETS, SERVICES, Resource
from kcpctl.client import Client
from kcpctl.informers import CLUSTER_AND_NAMESPACE_INDEX, CachedObject
from kcpctl.informers.indexes import cluster_and_namespace
from kcpctl.logicalcluster import key_of

__all__ = ["HAS_STATUS", "SYNCED_RESOURCES", "Cache", "Side"]

SYNCED_RESOURCES: Final = (CONFIG_MAPS, SECRETS, SERVICES, DEPLOYMENTS)
"""3.15, in the order in which a Pod needs them."""
HAS_STATUS: Final = frozenset({DEPLOYMENTS, SERVICES})


class Cache(Protocol):
    """What the syncer needs of a lister. Safe from any thread."""

    def cached(self, key: str) -> CachedObject | None:
        """Return an object as it is cached."""

    def cached_by_index(self, name: str, value: str) -> Iterable[CachedObject]:
        """Return the cached objects that an index holds under ``value``."""


@dataclass(frozen=True)
class Side:
    """A cluster, its namespaces and its objects of the synced types.

    Upstream it is the workspace, downstream what carries this target's label.
    """

    client: Client
    namespaces: Cache
    objects: Mapping[Resource, Cache]

    @property
    def cluster(self) -> str:
        """The name that the keys of this side carry."""
        return self.client.cluster_name

    def key(self, namespace: str, name: str) -> str:
        """Return the key of an object of this side."""
        return key_of(self.cluster, namespace, name)

    def namespace(self, name: str) -> CachedObject | None:
        """Return a namespace from the cache."""
        return self.namespaces.cached(self.key("", name))

    def object(self, resource: Resource, namespace: str, name: str) -> CachedObject | None:
        """Return an object from the cache."""
        return self.objects[resource].cached(self.key(namespace, name))

    def objects_in(self, resource: Resource, namespace: str) -> Iterable[CachedObject]:
        """Return the cached objects of a namespace; none of a type that this side does not have."""
        if (cache := self.objects.get(resource)) is None:
            return ()
        value = cluster_and_namespace(self.cluster, namespace)
        return cache.cached_by_index(CLUSTER_AND_NAMESPACE_INDEX, value)
