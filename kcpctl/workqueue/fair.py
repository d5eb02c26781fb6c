"""The ordering that shares the workers between logical clusters."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import final

from kcpctl.workqueue.keys import cluster_of_key
from kcpctl.workqueue.ordering import Ordering
from kcpctl.workqueue.priority import Priority

__all__ = ["Fair"]


@final
class _Cluster:
    """The keys of a cluster that has, or had since it last had none, more than one.

    As long as all of them have one priority, ``level``, they stand in a plain line, which is
    cheaper; from the first other one on they are ``ranked``, and there is no level. ``credit`` is
    what remains of the cluster's turn; without weights a turn is one key, and it stays 0.
    """

    __slots__ = ("credit", "level", "line", "name", "ranked")

    def __init__(self, name: str, key: str, priority: int) -> None:
        self.name = name
        self.level: int | None = priority
        self.line = deque((key,))
        self.ranked: Priority[str] | None = None
        self.credit = 0

    def push(self, key: str, priority: int) -> None:
        if priority == self.level:
            self.line.append(key)
        else:
            self._rank().push(key, priority)

    def touch(self, key: str, priority: int) -> None:
        if self.level is None or priority > self.level:
            self._rank().touch(key, priority)

    def keys(self) -> list[str]:
        return list(self.line) if self.ranked is None else self.ranked.remove_cluster(self.name)

    def _rank(self) -> Priority[str]:
        if self.ranked is None:
            self.ranked = Priority()
            while self.line:
                self.ranked.push(self.line.popleft(), self.level or 0)
            self.level = None
        return self.ranked

    def __bool__(self) -> bool:
        return bool(self.line) or (self.ranked is not None and self.ranked.can_pop())


class Fair(Ordering[str]):
    """Deficit round-robin between logical clusters, by priority within each.

    1. Clusters with keys take turns; a turn is ``weight`` keys (1 unless ``weights`` says more).
       So a key of a cluster with no other key is handed out after at most one turn of each other
       cluster, however many keys those have.
    2. At most ``max_per_cluster`` workers have keys of one cluster at a time, so that a cluster
       whose reconciles hang leaves workers to the others. ``done`` gives the place back.
    3. Within a cluster the order is that of :class:`Priority`; the priority of one cluster's keys
       is nothing to another's.
    4. Every operation but ``remove_cluster`` is O(1) in keys and clusters, and a cluster that has
       neither keys nor workers leaves nothing behind.

    No times are involved. Keys without a cluster share the one named "".
    """

    def __init__(
        self, *, weights: Mapping[str, int] | None = None, max_per_cluster: int | None = None
    ) -> None:
        self._weights = dict(weights or {})
        for name, weight in self._weights.items():
            if weight < 1:
                raise ValueError(f"the weight of cluster {name!r} must be 1 or more, not {weight}")
        if max_per_cluster is not None and max_per_cluster < 1:
            raise ValueError(f"max_per_cluster must be 1 or more, not {max_per_cluster}")
        self._max_per_cluster = max_per_cluster
        self._counts = bool(weights) or max_per_cluster is not None
        # The only key there is, as long as no cluster can have reached its limit: whose it is does
        # not matter then, and to find that out and note it would cost as much as all the rest.
        self._only: tuple[str, int] | None = None
        # The clusters that have keys. A single key is there with its priority: a record would cost
        # more time than all the rest, and seven times the memory, and most clusters are quiet.
        self._clusters: dict[str, _Cluster | tuple[str, int]] = {}
        # Those of them that have a worker left, next one first: by name, or from their first turn
        # with several keys on by their record.
        self._round: deque[_Cluster | str] = deque()
        # How many workers have a cluster's keys, counted only where there is a limit; and the keys
        # that were handed out as the only one and are not counted yet.
        self._running: dict[str, int] = {}
        self._uncounted: set[str] = set()

    def limit(self, max_per_cluster: int) -> None:
        """Set the limit before the first key is handed out; see :meth:`WorkQueue.arrange`."""
        self._max_per_cluster = max_per_cluster
        self._counts = True

    def push(self, key: str, priority: int) -> None:
        """Take a key in; a cluster that had none joins the round at its end."""
        if not self._clusters:
            if self._only is None and (self._max_per_cluster is None or self._all_below_limit()):
                self._only = (key, priority)
                return
            self._file()
        name = key.rpartition("|")[0]
        cluster = self._clusters.get(name)
        if cluster is None:
            self._clusters[name] = (key, priority)
            if not self._running or self._running.get(name) != self._max_per_cluster:
                self._round.append(name)
            return
        if type(cluster) is not _Cluster:
            cluster = self._clusters[name] = _Cluster(name, *cluster)
        if priority == cluster.level:
            cluster.line.append(key)
        else:
            cluster.push(key, priority)

    def touch(self, key: str, priority: int) -> None:
        """Raise a key within its cluster."""
        self._file()
        name = key.rpartition("|")[0]
        cluster = self._clusters[name]
        if type(cluster) is _Cluster:
            cluster.touch(key, priority)
        elif priority > cluster[1]:
            self._clusters[name] = (key, priority)

    def pop(self) -> str:
        """Remove and return the next key of the cluster whose turn it is."""
        if self._only is not None:
            key, self._only = self._only[0], None
            if self._max_per_cluster is not None:
                self._uncounted.add(key)
            return key
        cluster = self._round.popleft()
        if type(cluster) is not _Cluster:
            held = self._clusters[cluster]
            if type(held) is not _Cluster:
                del self._clusters[cluster]
                if self._max_per_cluster is not None:
                    self._running[cluster] = self._running.get(cluster, 0) + 1
                return held[0]
            cluster = held
        key = cluster.line.popleft() if cluster.ranked is None else cluster.ranked.pop()
        if self._counts:
            self._count(cluster)
        elif cluster.line or cluster:
            self._round.append(cluster)
        else:
            del self._clusters[cluster.name]
        return key

    def can_pop(self) -> bool:
        """Whether a cluster has a key and a worker left."""
        return self._only is not None or bool(self._round)

    def done(self, key: str) -> None:
        """Give the cluster a worker back; it goes on with its turn if that was not over."""
        if self._max_per_cluster is None:
            return
        if key in self._uncounted:
            self._uncounted.remove(key)
            return
        name = key.rpartition("|")[0]
        running = self._running.pop(name, 0)
        if running > 1:
            self._running[name] = running - 1
        if running != self._max_per_cluster or (cluster := self._clusters.get(name)) is None:
            return
        if type(cluster) is _Cluster and cluster.credit:
            self._round.appendleft(cluster)
        else:
            self._round.append(name)

    def remove_cluster(self, name: str) -> list[str]:
        """Drop a cluster's keys; takes time by their number, and by that of the clusters."""
        self._file()
        cluster = self._clusters.pop(name, None)
        if cluster is None:
            return []
        if not self._running or self._running.get(name) != self._max_per_cluster:
            if isinstance(cluster, _Cluster) and cluster in self._round:
                self._round.remove(cluster)
            else:
                self._round.remove(name)
        return cluster.keys() if isinstance(cluster, _Cluster) else [cluster[0]]

    def _all_below_limit(self) -> bool:
        """Whether a worker may have any cluster's key, as far as one can tell without counting."""
        return not self._running and len(self._uncounted) < (self._max_per_cluster or 0)

    def _file(self) -> None:
        """Let the only key take its place in its cluster, and count what was not counted yet."""
        if self._only is not None:
            name = cluster_of_key(self._only[0])
            self._clusters[name] = self._only
            self._round.append(name)
            self._only = None
        for key in self._uncounted:
            name = cluster_of_key(key)
            self._running[name] = self._running.get(name, 0) + 1
        self._uncounted.clear()

    def _count(self, cluster: _Cluster) -> None:
        """Note that the cluster had its turn, or a part of it, and where it stands now."""
        running = 0
        if self._max_per_cluster is not None:
            running = self._running[cluster.name] = self._running.get(cluster.name, 0) + 1
        if self._weights:
            cluster.credit = (cluster.credit or self._weights.get(cluster.name, 1)) - 1
        if not cluster:
            # What is left of the turn is lost: the next key begins a new one, at the end.
            del self._clusters[cluster.name]
        elif running == self._max_per_cluster:
            pass  # until a worker is done
        elif cluster.credit:
            self._round.appendleft(cluster)
        else:
            self._round.append(cluster)
