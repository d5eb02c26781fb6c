"""Indexes: from a value to the keys of the objects that have it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, Protocol

from kcpctl.informers.objects import CachedObject
from kcpctl.runtime import get_logger

__all__ = [
    "CLUSTER_AND_NAMESPACE_INDEX",
    "CLUSTER_INDEX",
    "FunctionIndex",
    "Index",
    "IndexFunction",
    "KeyIndex",
    "cluster_and_namespace",
]

CLUSTER_INDEX: Final = "cluster"
CLUSTER_AND_NAMESPACE_INDEX: Final = "cluster-and-namespace"

IndexFunction = Callable[[CachedObject], Iterable[str]]
"""Returns the values under which an object is found. Pure, and it does not call the store."""

_log = get_logger(__name__)


def cluster_and_namespace(cluster: str, namespace: str) -> str:
    """Return the value of the second built-in index; cluster-scoped objects have ``cluster/``."""
    return f"{cluster}/{namespace}"


class Index(Protocol):
    """One index of a store. The store serialises the writes."""

    def put(self, old: CachedObject | None, new: CachedObject | None) -> None:
        """Replace what ``old`` added by what ``new`` adds; they have the same key."""

    def keys(self, value: str, cluster: str | None = None) -> Iterable[str]:
        """Return the keys of the objects that have the value, of all clusters or of one."""

    def values(self) -> list[str]:
        """Return the values in use (IDX-20)."""

    def empty(self) -> Index:
        """Return a new index of the same kind without content."""


class KeyIndex:
    """A built-in index, whose value follows from the object's key, so that an update is nothing.

    Each value is of one logical cluster. One that no object has any more is dropped (IDX-16).
    """

    def __init__(self, value_of: Callable[[CachedObject], str]) -> None:
        self._value_of = value_of
        self._sets: dict[str, dict[str, None]] = {}

    def keys(self, value: str, cluster: str | None = None) -> Iterable[str]:
        """Return the keys of the objects that have the value, of all clusters or of one."""
        keys = self._sets.get(value, ())
        if cluster is None:
            return keys
        return [key for key in keys if key.startswith(f"{cluster}|")]

    def values(self) -> list[str]:
        """Return the values in use (IDX-20)."""
        return list(self._sets)

    def put(self, old: CachedObject | None, new: CachedObject | None) -> None:
        """Replace what ``old`` added by what ``new`` adds."""
        if old is None and new is not None:
            value = self._value_of(new)
            keys = self._sets.get(value)
            if keys is None:
                keys = self._sets[value] = {}
            keys[new.key] = None
        elif new is None and old is not None:
            value = self._value_of(old)
            left = self._sets[value]
            del left[old.key]
            if not left:
                del self._sets[value]

    def empty(self) -> KeyIndex:
        """Return a new index of the same kind without content."""
        return KeyIndex(self._value_of)


class FunctionIndex:
    """An index by a function of the program.

    The objects that have a value are found at once, those of all clusters as well as those of one
    (KCP-26). A value that no object has any more is dropped (IDX-16).
    When the function raises, the object is found under no value, and that is logged and counted
    through ``on_error`` (fixes IDX-22). The values of each object are remembered, so a function
    that answers differently the second time leaves nothing behind.
    """

    def __init__(self, name: str, function: IndexFunction, on_error: Callable[[], None]) -> None:
        self._name = name
        self._function = function
        self._on_error = on_error
        # By value, then by cluster.
        self._sets: dict[str, dict[str, dict[str, None]]] = {}
        self._by_key: dict[str, tuple[str, ...]] = {}

    def keys(self, value: str, cluster: str | None = None) -> Iterable[str]:
        """Return the keys of the objects that have the value, of all clusters or of one."""
        clusters = self._sets.get(value, {})
        if cluster is None:
            return chain.from_iterable(clusters.values())
        return clusters.get(cluster, ())

    def values(self) -> list[str]:
        """Return the values in use (IDX-20)."""
        return list(self._sets)

    def put(self, old: CachedObject | None, new: CachedObject | None) -> None:
        """Replace what ``old`` added by what ``new`` adds."""
        obj = new or old
        if obj is None:
            return
        key = obj.key
        before = self._by_key.get(key, ())
        after = () if new is None else self._values_of(new)
        if after == before:
            return
        for value in before:
            if value not in after:
                self._remove(value, obj)
        for value in after:
            if value not in before:
                self._sets.setdefault(value, {}).setdefault(obj.cluster, {})[key] = None
        if after:
            self._by_key[key] = after
        else:
            del self._by_key[key]

    def empty(self) -> FunctionIndex:
        """Return a new index of the same kind without content."""
        return FunctionIndex(self._name, self._function, self._on_error)

    def _remove(self, value: str, obj: CachedObject) -> None:
        clusters = self._sets[value]
        keys = clusters[obj.cluster]
        del keys[obj.key]
        if not keys:
            del clusters[obj.cluster]
            if not clusters:
                del self._sets[value]

    def _values_of(self, obj: CachedObject) -> tuple[str, ...]:
        """Return each value once; a text that many objects have is in memory once."""
        try:
            return tuple(dict.fromkeys(map(sys.intern, self._function(obj))))
        except Exception as error:  # noqa: BLE001 - a bug in one function must not end the informer
            _log.error("Index function failed", index=self._name, key=obj.key, exc_info=error)
            self._on_error()
            return ()
