"""Listers: typed reads of an informer's store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from kcpctl.apis.convert import decode
from kcpctl.apis.resource import Resource
from kcpctl.errors import NotFound
from kcpctl.informers.indexes import (
    CLUSTER_AND_NAMESPACE_INDEX,
    CLUSTER_INDEX,
    cluster_and_namespace,
)
from kcpctl.informers.objects import BadObject, CachedObject
from kcpctl.informers.selectors import Matcher, parse_selector
from kcpctl.informers.store import Store
from kcpctl.logicalcluster import key_of, split_key

__all__ = ["ClusterLister", "Lister", "NamespaceLister"]

T = TypeVar("T")
# The methods named list hide the type.
_Found = list[T]
_Strings = list[str]


class Lister(Generic[T]):
    """The cached objects of all clusters. Safe from any thread; does no I/O.

    Each read decodes: the caller owns what it gets and may change it, nothing is shared. The cache
    may lag behind the server by as much as the watch does.
    """

    def __init__(self, store: Store, resource: Resource, type: type[T]) -> None:  # noqa: A002
        self._store = store
        self._resource = resource
        self._type = type

    def get(self, key: str) -> T:
        """Return the object of that key; raises NotFound as the API does (IDX-26)."""
        obj = self._store.get(key)
        if obj is None:
            raise self._not_found(key)
        return decode(obj.raw, self._type)

    def cached(self, key: str) -> CachedObject | None:
        """Return the object as it is stored, for those who need metadata only."""
        return self._store.get(key)

    def keys(self) -> _Strings:
        """Return every key."""
        return self._store.keys()

    def __len__(self) -> int:
        return len(self._store)

    def list(self, label_selector: str = "") -> _Found[T]:
        """Return the objects that match, of all clusters."""
        return self._select(self._store.all(), label_selector)

    def by_index(self, name: str, value: str) -> _Found[T]:
        """Return the objects that an index has under ``value``; ValueError without that index."""
        return self._select(self._store.by_index(name, value), "")

    def cached_by_index(
        self, name: str, value: str, cluster: str | None = None
    ) -> _Found[CachedObject]:
        """Return the same as they are stored, of all clusters or of one."""
        return self._store.by_index(name, value, cluster)

    def index_values(self, name: str) -> _Strings:
        """Return the values that an index has now."""
        return self._store.index_values(name)

    def cluster(self, cluster: str) -> ClusterLister[T]:
        """Return a view of one logical cluster (KCP-08)."""
        return ClusterLister(self, cluster)

    def in_index(
        self, name: str, value: str, label_selector: str, cluster: str | None = None
    ) -> _Found[T]:
        """Return the objects of an index that match a selector, of all clusters or of one."""
        return self._select(self._store.by_index(name, value, cluster), label_selector)

    def _select(self, objects: Iterable[CachedObject], label_selector: str) -> _Found[T]:
        matches = parse_selector(label_selector)
        return [
            decode(obj.raw, self._type) for obj in objects if matches is None or _has(obj, matches)
        ]

    def _not_found(self, key: str) -> NotFound:
        cluster, namespace, name = split_key(key)
        what = f"{namespace}/{name}" if namespace else name
        resource = self._resource
        return NotFound(
            f'{resource.group_resource} "{what}" not found in the cache of cluster {cluster!r}',
            reason="NotFound",
            details={"group": resource.group, "kind": resource.plural, "name": name},
        )


class ClusterLister(Generic[T]):
    """The cached objects of one logical cluster."""

    def __init__(self, lister: Lister[T], cluster: str) -> None:
        self._lister = lister
        self._cluster = cluster

    def get(self, name: str) -> T:
        """Return the cluster-scoped object of that name; raises NotFound."""
        return self._lister.get(key_of(self._cluster, "", name))

    def list(self, label_selector: str = "") -> _Found[T]:
        """Return the cluster's objects that match, of all namespaces."""
        return self._lister.in_index(CLUSTER_INDEX, self._cluster, label_selector)

    def by_index(self, name: str, value: str) -> _Found[T]:
        """Return the cluster's objects that an index has under ``value`` (KCP-26).

        No other object is looked at. Raises ValueError without that index.
        """
        return self._lister.in_index(name, value, "", self._cluster)

    def cached_by_index(self, name: str, value: str) -> _Found[CachedObject]:
        """Return the same as they are stored."""
        return self._lister.cached_by_index(name, value, self._cluster)

    def namespace(self, namespace: str) -> NamespaceLister[T]:
        """Return a view of one namespace."""
        return NamespaceLister(self._lister, self._cluster, namespace)


class NamespaceLister(Generic[T]):
    """The cached objects of one namespace of one logical cluster."""

    def __init__(self, lister: Lister[T], cluster: str, namespace: str) -> None:
        self._lister = lister
        self._cluster = cluster
        self._namespace = namespace

    def get(self, name: str) -> T:
        """Return the object of that name; raises NotFound."""
        return self._lister.get(key_of(self._cluster, self._namespace, name))

    def list(self, label_selector: str = "") -> _Found[T]:
        """Return the namespace's objects that match."""
        value = cluster_and_namespace(self._cluster, self._namespace)
        return self._lister.in_index(CLUSTER_AND_NAMESPACE_INDEX, value, label_selector)


def _has(obj: CachedObject, matches: Matcher) -> bool:
    """Whether the labels match; those that cannot be read do not, and keep no other object back."""
    try:
        return matches(obj.meta.labels)
    except BadObject:
        return False
