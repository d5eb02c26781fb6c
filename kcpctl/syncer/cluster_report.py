"""What a session finds out about its cluster, beside its work, for the SyncTarget's status."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from kcpctl.apis.admission import Admission
from kcpctl.apis.conditions import Condition
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import DEPLOYMENTS, NODES, SELF_SUBJECT_ACCESS_REVIEWS
from kcpctl.client import Client
from kcpctl.runtime import Clock, TaskSet
from kcpctl.syncer.authorization import Authorization
from kcpctl.syncer.caches import Caches
from kcpctl.syncer.compatibility import ClusterTypes, ServedTypes
from kcpctl.syncer.facts import ClusterFacts, without_most_of_a_node
from kcpctl.syncer.reachability import Reachability
from kcpctl.syncer.side import SYNCED_RESOURCES

__all__ = ["ClusterReport"]


class ClusterReport:
    """Looks at the cluster now and then: whether it answers, what it has, what it lets us do.

    Parameters
    ----------
    caches: of the cluster; their factory gets one more informer, of Nodes.
    declared: whether the SyncTarget's spec declares its capacity.

    The looks run on the loop of the cluster's client, which may be another than upstream's:
    connections belong to theirs. ``begin``, ``go_on`` and ``close`` block, on a thread of the
    program; the rest is for any thread.
    """

    def __init__(
        self,
        downstream: Client,
        caches: Caches,
        *,
        types: ServedTypes,
        admission: Admission,
        declared: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._loop = downstream.loop
        self._caches = caches
        # Not waited for: an identity that may not list Nodes serves all the same.
        self._nodes = caches.factory.informer(NODES, transform=without_most_of_a_node)
        self._types = ClusterTypes(
            downstream.aio,
            [resource for resource in SYNCED_RESOURCES if admission.has_type(resource)],
            types.upstream,
            clock=clock,
        )
        self.facts = ClusterFacts(
            downstream.aio, self._known_nodes, declared, clock=clock, more=self._more_facts
        )
        self._reachability = Reachability(downstream.aio, lambda: caches.synced, clock=clock)
        self._authorization = Authorization(
            downstream.aio.resource(SELF_SUBJECT_ACCESS_REVIEWS),
            [resource for resource in types.both if admission.has_type(resource)],
            clock=clock,
        )
        self._tasks = TaskSet("syncer")

    @property
    def problem(self) -> str:
        """Why the cluster cannot be worked with, "" if it can as far as is known."""
        return self._reachability.problem

    def conditions(self) -> Iterator[Condition]:
        """Yield the conditions that are known by now."""
        for condition in (self._reachability.connected, self._authorization.condition):
            if condition is not None:
                yield condition

    def begin(self) -> None:
        """Begin to look whether the cluster answers."""
        self._loop.run(self._spawn(self._reachability.run(), "probe"))

    def go_on(self) -> None:
        """Look at the rest, too: the work with the cluster has begun."""
        self._loop.run(self._spawn(self.facts.run(), "facts"))
        self._loop.run(self._spawn(self._types.run(), "types"))
        self._loop.run(self._spawn(self._authorization.run(), "authorization"))

    def close(self) -> None:
        """End it."""
        self._loop.run(self._tasks.close())

    async def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(coroutine, name=name)

    def _known_nodes(self) -> list[Unstructured] | None:
        return self._nodes.lister.list() if self._nodes.synced else None

    def _more_facts(self) -> Unstructured:
        """Return how many copies there are, and which types the cluster serves."""
        known = self._types.fields()
        if self._caches.synced:
            informers = self._caches.objects
            counts = {resource: len(one.lister.keys()) for resource, one in informers.items()}
            known["resourceCount"] = sum(counts.values())
            known["workloadCount"] = counts.get(DEPLOYMENTS, 0)
        return known
