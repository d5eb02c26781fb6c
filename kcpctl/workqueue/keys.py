"""What a queue knows of its keys: nothing but the logical cluster in front of the bar."""

from __future__ import annotations

from collections.abc import Hashable, Set
from typing import Generic, TypeVar

__all__ = ["KeysByCluster", "cluster_of_key"]

K = TypeVar("K", bound=Hashable)


def cluster_of_key(key: Hashable) -> str:
    """Return the part of ``cluster|namespace/name`` before the bar; "" for any other key."""
    return key.rpartition("|")[0] if isinstance(key, str) else ""


class KeysByCluster(Generic[K]):
    """Which keys there are of each logical cluster, for whoever drops a cluster. Not thread-safe.

    It holds no cluster without keys.
    """

    def __init__(self) -> None:
        self._keys: dict[str, set[K]] = {}

    def add(self, key: K) -> None:
        """Take a key in."""
        # As cluster_of_key: this is called for each key that is planned.
        name = key.rpartition("|")[0] if isinstance(key, str) else ""
        keys = self._keys.get(name)
        if keys is None:
            self._keys[name] = {key}
        else:
            keys.add(key)

    def discard(self, key: K) -> None:
        """Drop a key that is held."""
        name = cluster_of_key(key)
        keys = self._keys[name]
        if len(keys) > 1:
            keys.remove(key)
        else:
            del self._keys[name]

    def pop_cluster(self, name: str) -> Set[K]:
        """Drop the keys of a cluster and return them."""
        return self._keys.pop(name, set())

    def clear(self) -> None:
        """Drop everything."""
        self._keys.clear()
