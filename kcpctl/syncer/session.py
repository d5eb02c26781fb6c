"""A session: everything that runs while one SyncTarget is served."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.controller import Controller
from kcpctl.informers import CachedObject, SharedInformer
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, Metrics, TaskSet, get_logger
from kcpctl.syncer.assignment import is_marked, namespace_is_assigned
from kcpctl.syncer.caches import Caches
from kcpctl.syncer.cleaner import NamespaceCleaner
from kcpctl.syncer.cluster_report import ClusterReport
from kcpctl.syncer.compatibility import ALL_TYPES, ServedTypes
from kcpctl.syncer.gate import Gate, Verdict
from kcpctl.syncer.namespaces import LOCATOR_INDEX, NamespaceMapper, by_locator
from kcpctl.syncer.objects import ObjectSyncer
from kcpctl.syncer.options import SyncerOptions
from kcpctl.syncer.own_conditions import OwnConditions
from kcpctl.syncer.progress import Progress, Tracked
from kcpctl.syncer.readiness import LASTING_SECONDS, SessionState, syncer_ready
from kcpctl.syncer.side import SYNCED_RESOURCES
from kcpctl.syncer.status_reporter import StatusReporter
from kcpctl.syncer.transform import same_apart_from_status
from kcpctl.workqueue import Fair, ItemExponential, QueueMetrics, RateLimitingQueue

__all__ = ["Session"]

_log = get_logger(__name__)

_SYNC_POLL_SECONDS: Final = 0.05
# Whoever waits for a server that hangs is not waited for: its work comes back at the next start.
_STOP_SECONDS: Final = 3.0
# A key that waits longer than this has failed about ten times (5 ms doubled), or was refused.
_LONG_WAIT_SECONDS: Final = 5.0


class Session:
    """Informers of both sides, the controllers between them, the heartbeat and the conditions.

    ``start`` returns when all informers have synced and the work has begun, or False when
    ``wanted`` said no before. ``stop`` ends everything and may be called at any time, once or
    more, also after a failed start. Both block, on the thread that supervises the syncer.

    What ``admission`` does not let in counts as not assigned, for as long as the session lasts.
    One that is ``suspended`` has the heartbeat alone: nothing is compared, written or removed; one
    that drains does not wait before it removes a namespace. Of the synced types those are left
    alone that one of the sides does not serve: their copies stay, too.
    """

    def __init__(
        self,
        gate: Gate,
        options: SyncerOptions,
        *,
        upstream: Client,
        downstream: Client,
        identity: str,
        types: ServedTypes = ALL_TYPES,
        admission: Admission = EVERYTHING,
        declared: Callable[[], bool] = lambda: False,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
    ) -> None:
        self.gate = gate
        self.progress = Progress(clock)
        self.types = types
        self.admission = admission
        self.suspended = gate.serves.is_paused
        self._drains = gate.serves is Verdict.DRAINING
        self._options = options
        self._loop = upstream.loop
        self._clock = clock
        self._rng = rng
        self._metrics = metrics or Metrics()
        caches = partial(Caches, clock=clock, rng=rng, metrics=metrics)
        served = types.both
        self._up = caches("upstream", upstream, "", served)
        selector = gate.target.downstream_selector
        there = [one for one in SYNCED_RESOURCES if one in types.downstream]
        self._down = caches("downstream", downstream, selector, there)
        self._down.namespaces.add_index(LOCATOR_INDEX, by_locator)
        self._namespaces = NamespaceMapper(gate.target, gate, self._down.side)
        self._cluster = ClusterReport(
            downstream,
            self._down,
            types=types,
            admission=admission,
            declared=declared,
            clock=clock,
        )
        sync_targets = upstream.aio.resource(SYNCTARGETS)
        self.conditions = OwnConditions(gate, sync_targets, clock=clock, rng=rng)
        self.reporter = StatusReporter(
            gate,
            sync_targets,
            self.progress,
            self._cluster.facts,
            identity=identity,
            interval_seconds=options.heartbeat_interval_seconds,
            clock=clock,
        )
        self._controllers = [
            *(self._object_controller(resource) for resource in served),
            self._namespace_controller(),
        ]
        self._tasks = TaskSet("syncer")
        self._working = False
        self._stopped = False

    def _object_controller(self, resource: Resource) -> Controller:
        syncer = ObjectSyncer(
            resource,
            gate=self.gate,
            upstream=self._up.side,
            downstream=self._down.side,
            namespaces=self._namespaces,
            admission=self.admission,
            syncer_namespace=self._options.syncer_namespace,
        )
        again = self._options.sync_interval_seconds
        return (
            self._controller(f"syncer-{resource.plural}", syncer)
            .watches(
                self._up.objects[resource],
                map_to=syncer.keys_of,
                predicates=(_apart_from_status,),
                resync_seconds=again,
            )
            .watches(self._down.objects[resource], map_to=syncer.keys_of_copy, resync_seconds=again)
            .watches(self._up.namespaces, map_to=syncer.keys_in, predicates=(_apart_from_status,))
            .watches(self._down.namespaces, map_to=syncer.keys_in_copy)
        )

    def _namespace_controller(self) -> Controller:
        cleaner = NamespaceCleaner(
            gate=self.gate,
            upstream=self._up.side,
            downstream=self._down.side,
            namespaces=self._namespaces,
            resources=SYNCED_RESOURCES,
            # What leaves for good need not be kept for somebody to come back.
            delay_seconds=0.0 if self._drains else self._options.namespace_clean_delay_seconds,
            admission=self.admission,
            clock=self._clock,
        )
        controller = self._controller("syncer-namespaces", cleaner)
        controller.watches(self._up.namespaces, predicates=(_apart_from_status,))
        controller.watches(self._down.namespaces, map_to=cleaner.keys_of_copy)
        for informer in self._down.objects.values():
            controller.watches(
                informer,
                map_to=cleaner.keys_around_copy,
                predicates=(_went,),
            )
        for informer in self._up.objects.values():
            controller.watches(
                informer,
                map_to=cleaner.keys_around,
                predicates=(self._lost_finalizer,),
            )
        return controller

    def _controller(self, name: str, step: ObjectSyncer | NamespaceCleaner) -> Controller:
        options = self._options
        return Controller(
            name,
            Tracked(name, step, self.progress),
            workers=options.workers,
            queue=RateLimitingQueue(
                name,
                limiter=retry_limiter(options, self._rng),
                clock=self._clock,
                ordering=Fair(),
                metrics=QueueMetrics(self._metrics, name),
            ),
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
        )

    def _lost_finalizer(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        mine = self.gate.target.finalizer
        had = old is not None and mine in old.meta.finalizers
        return had and (new is None or mine not in new.meta.finalizers)

    def start(self, wanted: Callable[[], bool], *, heartbeat: bool = True) -> bool:
        """Start the informers, wait until all have synced, then start work and heartbeat.

        Without ``heartbeat`` the conditions are not kept either.
        """
        self._down.factory.start()
        if heartbeat:
            self._loop.run(self._spawn(self.conditions.run(), "conditions"))
            self._cluster.begin()
        if not self.suspended and not self._start_work(wanted):
            return False
        self._working = True
        self.look()
        if heartbeat:
            self._cluster.go_on()
            self._loop.run(self._spawn(self.reporter.run(), "heartbeat"))
        _log.info(
            "Serving the SyncTarget",
            cluster=self.gate.target.cluster,
            name=self.gate.target.name,
            key=self.gate.target.key,
            types=",".join(resource.group_resource for resource in self.types.both),
            suspended=self.suspended,
        )
        return True

    def _start_work(self, wanted: Callable[[], bool]) -> bool:
        self._up.factory.start()
        while not all(controller.synced for controller in self._controllers):
            if not wanted() or not self.gate.is_open:
                return False
            self.look()
            self._clock.sleep(_SYNC_POLL_SECONDS)
        for controller in self._controllers:
            controller.start()
        return True

    def look(self) -> None:
        """Have the conditions say how things are now. Called now and then by the supervisor."""
        state = SessionState(
            suspended=self.suspended,
            working=self._working,
            drains=self._drains,
            drained=self._drains and self._is_drained(),
            unreachable=self._cluster.problem,
            failing=self.progress.lasting(LASTING_SECONDS),
        )
        for condition in (*self._cluster.conditions(), syncer_ready(state)):
            if condition is not None:
                self.conditions.want(condition)

    async def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(coroutine, name=name)

    def beat(self) -> None:
        """Write one heartbeat now."""
        self._loop.run(self.reporter.beat())

    @property
    def waiting_for(self) -> list[str]:
        """The informers that have not synced yet, each with its last error."""
        return [*self._up.factory.waiting_for, *self._down.factory.waiting_for]

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do, nothing awaited and no problem."""
        return not self._is_busy() and not self.progress.unsettled and not self.progress.problems

    def _is_drained(self) -> bool:
        """Whether nothing has to leave any more: nothing is marked, and no namespace is left."""
        target = self.gate.target
        if not self._working or self._is_busy():
            return False
        if any(map(self._namespaces.named_by, _cached(self._down.namespaces))):
            return False
        assigned = any(
            namespace_is_assigned(one.meta, target) for one in _cached(self._up.namespaces)
        )
        return not assigned and not any(
            is_marked(one.meta, target)
            for informer in self._up.objects.values()
            for one in _cached(informer)
        )

    @property
    def is_stuck(self) -> bool:
        """Whether problems are left that trying again did not mend, and nothing else."""
        if self._is_busy() or not self.progress.problems:
            return False
        waits = [
            seconds
            for controller in self._controllers
            for seconds in controller.queue.snapshot().waiting.values()
        ]
        return all(seconds > _LONG_WAIT_SECONDS for seconds in waits)

    def _is_busy(self) -> bool:
        snapshots = [controller.queue.snapshot() for controller in self._controllers]
        return any(snapshot.queued or snapshot.processing for snapshot in snapshots)

    def stop(self) -> None:
        """End what is told, let the workers finish what they can in a few seconds, end all."""
        if self._stopped:
            return
        self._stopped = True
        self._loop.run(self._tasks.close())
        self._cluster.close()
        deadline = self._clock.monotonic() + _STOP_SECONDS
        for controller in self._controllers:
            controller.stop(max(deadline - self._clock.monotonic(), 0.1))
        self.gate.close("is not served any more: the syncer stops")
        self._up.factory.close()
        self._down.factory.close()


def retry_limiter(options: SyncerOptions, rng: random.Random) -> ItemExponential[str]:
    """Return how long objects that failed wait."""
    first = options.retry_initial_seconds
    last = max(first, options.retry_max_seconds)
    return ItemExponential(first, last, multiplier=options.retry_multiplier, rng=rng)


def _cached(informer: SharedInformer[Unstructured]) -> Iterator[CachedObject]:
    for key in informer.lister.keys():  # noqa: SIM118 - a lister is no mapping
        if (obj := informer.lister.cached(key)) is not None:
            yield obj


def _apart_from_status(old: CachedObject | None, new: CachedObject | None) -> bool:
    """Row 30: our own status writes, and those of others, are no news. A resync is wanted."""
    if old is None or new is None or old is new:
        return True
    return not same_apart_from_status(old.decode(), new.decode())


def _went(old: CachedObject | None, new: CachedObject | None) -> bool:
    return old is not None and new is None
