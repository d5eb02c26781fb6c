"""The gate: keys of logical clusters whose time has not come wait here, and cost nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from kcpctl.workqueue.keys import KeysByCluster, cluster_of_key

__all__ = ["Gate"]


class Gate:
    """Holds the keys back whose logical cluster is not admitted, until it is.

    No key is lost: whoever admits a cluster makes ``admits`` true first and calls :meth:`release`
    then, and a key that comes in between is let through. Any thread.
    """

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._held: KeysByCluster[str] = KeysByCluster()

    def holds(self, key: str) -> bool:
        """Hold ``key`` back, and return True, unless its cluster is admitted."""
        cluster = cluster_of_key(key)
        if self._admits(cluster):
            return False
        with self._lock:
            # Again: with the lock either this sees the change, or the release sees the key.
            if self._admits(cluster):
                return False
            self._held.add(key)
        return True

    def release(self, cluster: str) -> Collection[str]:
        """Return the keys of a cluster that were held back, and hold them no more."""
        with self._lock:
            return self._held.pop_cluster(cluster)
