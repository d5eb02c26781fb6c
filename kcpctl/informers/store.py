"""The store of an informer: objects by key, with indexes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import msgspec

from kcpctl.informers.indexes import (
    CLUSTER_AND_NAMESPACE_INDEX,
    CLUSTER_INDEX,
    FunctionIndex,
    Index,
    IndexFunction,
    KeyIndex,
    cluster_and_namespace,
)
from kcpctl.informers.objects import CachedObject

__all__ = ["Store"]


class Store:
    """Cached objects by key, indexed by cluster and by cluster and namespace.

    It has one writer, the informer's I/O thread (INF-40); reading is safe from any thread, and
    each read sees one state: before a change or after it, also of a replacement (IDX-06, IDX-09).
    What it returns is immutable.
    """

    def __init__(self, *, on_index_error: Callable[[], None] = lambda: None) -> None:
        self._on_index_error = on_index_error
        self._writing = threading.Lock()
        """Held over a whole change, index functions included; always taken first."""
        self._lock = threading.Lock()
        """Held while readers must not look: they never wait for an index function of a list."""
        self._objects: dict[str, CachedObject] = {}
        self._set_indexes(
            {
                CLUSTER_INDEX: KeyIndex(lambda obj: obj.cluster),
                CLUSTER_AND_NAMESPACE_INDEX: KeyIndex(
                    lambda obj: cluster_and_namespace(obj.cluster, obj.namespace)
                ),
            }
        )

    def put(self, obj: CachedObject) -> None:
        """Add or update (IDX-07)."""
        with self._writing, self._lock:
            key = obj.key
            old = self._objects.get(key)
            self._objects[key] = obj
            if old is not None:
                # What the dictionaries have as their key must not be in memory twice.
                msgspec.structs.force_setattr(obj, "key", old.key)
            for index in self._indexes.values() if old is None else self._functions:
                index.put(old, obj)

    def remove(self, key: str) -> None:
        """Remove; a missing key is no error (IDX-08)."""
        with self._writing, self._lock:
            old = self._objects.pop(key, None)
            if old is not None:
                for index in self._indexes.values():
                    index.put(old, None)

    def replace(self, objects: dict[str, CachedObject]) -> Mapping[str, CachedObject]:
        """Swap the whole content; return what was there before."""
        with self._writing:
            indexes = {name: index.empty() for name, index in self._indexes.items()}
            for index in indexes.values():
                for obj in objects.values():
                    index.put(None, obj)
            with self._lock:
                before, self._objects = self._objects, objects
                self._set_indexes(indexes)
        return before

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Add an index, over what is stored already too (IDX-21).

        Raises ValueError for a name in use, and changes nothing then.
        """
        index = FunctionIndex(name, function, self._on_index_error)
        with self._writing:
            if name in self._indexes:
                raise ValueError(f"there is an index named {name!r} already")
            for obj in self._objects.values():
                index.put(None, obj)
            with self._lock:
                self._set_indexes({**self._indexes, name: index})

    def get(self, key: str) -> CachedObject | None:
        """Return the object of that key. (One dictionary look-up needs no lock.)"""
        return self._objects.get(key)

    def __len__(self) -> int:
        return len(self._objects)

    def keys(self) -> list[str]:
        """Return every key."""
        with self._lock:
            return list(self._objects)

    def all(self) -> list[CachedObject]:
        """Return every object, in no particular order."""
        with self._lock:
            return list(self._objects.values())

    def by_index(self, name: str, value: str, cluster: str | None = None) -> list[CachedObject]:
        """Return the objects that have ``value``, of all clusters or of one, each once (IDX-18).

        Raises ValueError for an index that does not exist (IDX-19).
        """
        with self._lock:
            return [self._objects[key] for key in self._index(name).keys(value, cluster)]

    def index_values(self, name: str) -> list[str]:
        """Return the values that objects have now (IDX-20)."""
        with self._lock:
            return self._index(name).values()

    def _set_indexes(self, indexes: dict[str, Index]) -> None:
        self._indexes = indexes
        self._functions = [one for one in indexes.values() if not isinstance(one, KeyIndex)]
        """Those that an update may change."""

    def _index(self, name: str) -> Index:
        index = self._indexes.get(name)
        if index is None:
            raise ValueError(f"no index named {name!r}; there are {', '.join(self._indexes)}")
        return index
