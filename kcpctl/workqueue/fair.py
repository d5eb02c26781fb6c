"""The ordering that shares the workers between logical clusters."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import final

from kcpctl.workqueue.ordering import Ordering
from kcpctl.workqueue.priority import Priority

__all__ = ["Fair"]


@final
class _Cluster:
    """The keys of one cluster, its place in the round, its turn and its workers.

    It is ``in_round`` exactly while it has keys and a worker left. ``credit`` is what remains of
    its turn; without weights a turn is one key, and it stays 0.

    As long as all its keys have one priority, ``level``, they stand in a plain line, which is
    cheaper; from the first other one on they are ``ranked``, and there is no level. ``running``
    is how many workers have its keys, counted only where there is a limit.
    """

    __slots__ = ("credit", "in_round", "level", "line", "name", "ranked", "running")

    def __init__(self, name: str, level: int) -> None:
        self.name = name
        self.in_round = True
        self.level: int | None = level
        self.line: deque[str] = deque()
        self.ranked: Priority[str] | None = None
        self.credit = 0
        self.running = 0

    def push(self, key: str, priority: int) -> None:
        if self.ranked is None and not self.line:
            self.level = priority
        if priority == self.level:
            self.line.append(key)
        else:
            self._rank().push(key, priority)

    def touch(self, key: str, priority: int) -> None:
        if self.level is None or priority > self.level:
            self._rank().touch(key, priority)

    def clear(self) -> list[str]:
        """Drop all keys and return them."""
        if self.ranked is not None:
            return self.ranked.remove_cluster(self.name)
        dropped = list(self.line)
        self.line.clear()
        return dropped

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
        # A cluster that has a single key of priority 0, and nothing is counted, has no record but
        # that key: making one would cost more than all the rest, and most clusters are quiet.
        self._clusters: dict[str, _Cluster | str] = {}
        # Those that may be served, next one first: by name when it joined with a single key.
        self._round: deque[_Cluster | str] = deque()

    def limit(self, max_per_cluster: int) -> None:
        """Set the limit before the first key is handed out; see :meth:`WorkQueue.arrange`."""
        for name, cluster in self._clusters.items():
            if isinstance(cluster, str):
                self._record(name, cluster)
        self._max_per_cluster = max_per_cluster
        self._counts = True

    def push(self, key: str, priority: int) -> None:
        """Take a key in; a cluster that had none joins the round at its end."""
        name = key.rpartition("|")[0]
        cluster = self._clusters.get(name)
        if cluster is None:
            if priority == 0 and not self._counts:
                self._clusters[name] = key
                self._round.append(name)
                return
            cluster = self._clusters[name] = _Cluster(name, priority)
            self._round.append(cluster)
        elif type(cluster) is not _Cluster:
            cluster = self._record(name, cluster)
        elif not cluster.in_round and cluster.running != self._max_per_cluster:
            cluster.in_round = True
            self._round.append(cluster)
        if priority == cluster.level:
            cluster.line.append(key)
        else:
            cluster.push(key, priority)

    def touch(self, key: str, priority: int) -> None:
        """Raise a key within its cluster."""
        name = key.rpartition("|")[0]
        cluster = self._clusters[name]
        if type(cluster) is not _Cluster:
            if priority <= 0:
                return
            cluster = self._record(name, cluster)
        cluster.touch(key, priority)

    def pop(self) -> str:
        """Remove and return the next key of the cluster whose turn it is."""
        cluster = self._round.popleft()
        if type(cluster) is not _Cluster:
            name, cluster = cluster, self._clusters[cluster]
            if type(cluster) is not _Cluster:
                del self._clusters[name]
                return cluster
        key = cluster.line.popleft() if cluster.ranked is None else cluster.ranked.pop()
        if self._counts:
            self._count(cluster)
        elif cluster.line or cluster:
            self._round.append(cluster)
        else:
            self._end_turn(cluster)
        return key

    def can_pop(self) -> bool:
        """Whether a cluster has a key and a worker left."""
        return bool(self._round)

    def done(self, key: str) -> None:
        """Give the cluster a worker back; it goes on with its turn if that was not over."""
        if self._max_per_cluster is None:
            return
        cluster = self._clusters[key.rpartition("|")[0]]
        assert isinstance(cluster, _Cluster)
        cluster.running -= 1
        if cluster.in_round:
            return
        if not cluster:
            self._end_turn(cluster)
            return
        cluster.in_round = True
        if cluster.credit:
            self._round.appendleft(cluster)
        else:
            self._round.append(cluster)

    def remove_cluster(self, name: str) -> list[str]:
        """Drop a cluster's keys; takes time by their number, and by that of the clusters."""
        cluster = self._clusters.get(name)
        if cluster is None:
            return []
        if isinstance(cluster, str):
            del self._clusters[name]
            self._round.remove(name)
            return [cluster]
        dropped = cluster.clear()
        if cluster.in_round:
            self._round.remove(name if name in self._round else cluster)
        self._end_turn(cluster)
        return dropped

    def _record(self, name: str, key: str) -> _Cluster:
        """Make the record of a cluster that had a single key so far."""
        cluster = self._clusters[name] = _Cluster(name, 0)
        cluster.line.append(key)
        return cluster

    def _count(self, cluster: _Cluster) -> None:
        """Note that a worker has a key of the cluster whose turn it was, and who is next."""
        if self._weights:
            cluster.credit = (cluster.credit or self._weights.get(cluster.name, 1)) - 1
        if self._max_per_cluster is not None:
            cluster.running += 1
        if not cluster:
            self._end_turn(cluster)
        elif cluster.running == self._max_per_cluster:
            cluster.in_round = False
        elif cluster.credit:
            self._round.appendleft(cluster)
        else:
            self._round.append(cluster)

    def _end_turn(self, cluster: _Cluster) -> None:
        """Forget a cluster that has no key left, unless its workers still run."""
        # What is left of the turn is lost: the next key begins a new one, at the end.
        cluster.credit = 0
        cluster.in_round = False
        cluster.ranked = None
        if not cluster.running:
            del self._clusters[cluster.name]
