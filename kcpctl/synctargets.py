"""SyncTargets for controllers beside ours: quota, placement, virtual workspaces, aggregation.

Everything that such a controller needs, and nothing of how kcpctl's own works. This module, the
types of :mod:`kcpctl.apis.workload` and the field names of the API are kept stable from 0.1 on:
what is here is not removed or changed in meaning within a minor version, and is deprecated with a
warning for one minor version first. Everything else of :mod:`kcpctl.reconcilers` may change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial

import msgspec

from kcpctl.apis.conditions import READY, Condition, is_true, set_condition
from kcpctl.apis.quantity import parse
from kcpctl.apis.resource import SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.client import Client
from kcpctl.clusters import ClusterPool, cluster_client
from kcpctl.controller import commit
from kcpctl.errors import NotConnected
from kcpctl.informers import CLUSTER_INDEX, CachedObject, HandlerFuncs, Informer
from kcpctl.logicalcluster import split_key
from kcpctl.manager import Manager
from kcpctl.reconcilers.credentials import CredentialSource
from kcpctl.reconcilers.pool import connect
from kcpctl.runtime import Clock, parse_time

__all__ = ["SyncTargets", "free", "takes_workloads"]


class SyncTargets:
    """The SyncTargets of a manager's server, in one logical cluster or in all of them.

    Make it before the manager starts. Keys are ``cluster|name``. All methods may be called from
    any thread, except that :meth:`report` blocks and so not on the I/O thread.

    Parameters
    ----------
    connections: whether :meth:`connection` will be called. It takes a watch of Secrets.
    credentials_namespace: where kubeconfig Secrets are that name no namespace.
    allow_exec: credential plugins that kubeconfigs may run, as they write them. They run as this
        process, with arguments and environment of whoever writes the Secret.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        connections: bool = False,
        credentials_namespace: str = "kcpctl-system",
        allow_exec: Collection[str] = (),
    ) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self.informer: Informer[SyncTarget] = manager.shared_informers.informer(
            SYNCTARGETS, SyncTarget
        )
        """For ``controller.watches(...)``, indexes and the lister."""
        self._connections: _Connections | None = None
        if connections:
            self._connections = _Connections(manager, credentials_namespace, allow_exec)
            self.informer.add_handler(HandlerFuncs(on_delete=self._connections.drop))

    def get(self, key: str) -> SyncTarget:
        """Return the SyncTarget of that key; raises NotFound."""
        return self.informer.lister.get(key)

    def ready(self, cluster: str | None = None) -> list[str]:
        """Return the keys of those that take new workloads, of all logical clusters or of one."""
        now = self._clock.time()
        lister = self.informer.lister
        if cluster is not None:
            found = lister.cached_by_index(CLUSTER_INDEX, cluster)
        else:
            keys = lister.keys()
            found = [obj for key in keys if (obj := lister.cached(key)) is not None]
        return sorted(obj.key for obj in found if takes_workloads(obj.decode(SyncTarget), now))

    def connection(self, key: str) -> Client:
        """Return a client of the SyncTarget's physical cluster; never waits.

        Raises NotConnected while there is none, with the reason: a reconciler lets it pass, and is
        run again when the connection is there (see :meth:`subscribe`). There never is one to a
        cluster that another workspace has registered: asking whether it may be used would wait.
        Raises RuntimeError without ``connections=True``, NotFound for a SyncTarget that there is
        not.
        """
        if self._connections is None:
            raise RuntimeError("make SyncTargets with connections=True to reach their clusters")
        return self._connections.client(key, self.get(key))

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback`` with the key of each SyncTarget that changed, or whose connection did.

        It is called on the I/O thread and must not block: give it ``controller.enqueue``. Those
        that are there are told first. Returns what ends it.
        """
        registration = self.informer.add_handler(
            HandlerFuncs(
                on_add=lambda obj: callback(obj.key),
                on_update=lambda _, new: callback(new.key),
                on_delete=lambda obj: callback(obj.key),
            )
        )
        if self._connections is None:
            return registration.remove
        leave = self._connections.subscribe(callback)

        def end() -> None:
            registration.remove()
            leave()

        return end

    def report(
        self,
        key: str,
        *,
        allocated: Mapping[str, str] | None = None,
        available: Mapping[str, str] | None = None,
        conditions: Iterable[Condition] = (),
    ) -> bool:
        """Write usage back into the status; return False if it says so already.

        ``allocated`` and ``available`` replace ``status.allocated`` and ``status.available``; None
        leaves one alone. ``conditions`` are set by type, with their transition times; take types
        that nobody else owns, such as ``ResourcesAvailable``. All else in the status stays: raises
        Conflict, which a reconciler lets pass, when it changed since it was cached.
        """
        target = self.get(key)
        status = target.status
        now = self._clock.time()
        changed = list(status.conditions)
        for condition in conditions:
            condition.observed_generation = target.metadata.generation
            changed = set_condition(changed, condition, now)
        after = msgspec.structs.replace(
            status,
            conditions=changed,
            allocated=status.allocated if allocated is None else dict(allocated),
            available=status.available if available is None else dict(available),
        )
        client = self._client.cluster(split_key(key)[0]).resource(SYNCTARGETS)
        return commit(client, target, msgspec.structs.replace(target, status=after)) is not None


def takes_workloads(target: SyncTarget, now: float) -> bool:
    """Whether new workloads may be placed on a SyncTarget (2.7).

    Ready, not being deleted or suspended, neither unschedulable nor tainted NoSchedule or
    NoExecute, and ``evictAfter`` unset or in the future; ``now`` is wall-clock seconds.
    """
    spec = target.spec
    if spec.unschedulable or target.metadata.deletion_timestamp is not None:
        return False
    if spec.maintenance is not None and spec.maintenance.suspend:
        return False
    if any(taint.effect in {"NoSchedule", "NoExecute"} for taint in spec.taints):
        return False
    if not is_true(target.status.conditions, READY):
        return False
    try:
        return spec.evict_after is None or parse_time(spec.evict_after) > now
    except ValueError:
        return False  # not Valid; the controller has only not said so yet


def free(target: SyncTarget) -> dict[str, Decimal]:
    """Return what is left of each allocatable resource after ``status.allocated``; never below 0.

    Where nothing is known of what is allocatable, ``status.capacity`` stands in. A figure that is
    beyond the range of quantities is left out: a workspace may write anything into its own status.
    """
    status = target.status
    whole = status.allocatable or status.capacity
    left = {}
    for name, quantity in whole.items():
        with suppress(ValueError):
            left[name] = max(parse(quantity) - parse(status.allocated.get(name, 0)), Decimal(0))
    return left


class _Connections:
    """Clients of physical clusters, with credentials as the SyncTarget controller finds them."""

    def __init__(
        self, manager: Manager, credentials_namespace: str, allow_exec: Collection[str]
    ) -> None:
        informers = manager.shared_informers
        secrets = informers.informer(SECRETS)
        registrations = informers.informer(CLUSTER_REGISTRATIONS, ClusterRegistration)
        self._credentials = CredentialSource(
            secrets.lister, registrations.lister, namespace=credentials_namespace
        )
        self._clock: Clock = manager.clock
        self._pool = ClusterPool(
            manager.io_loop,
            clock=manager.clock,
            metrics=manager.metrics,
            allow_exec=allow_exec,
            # A sibling that has lost the Lease writes no more to the clusters either.
            new_client=partial(cluster_client, write_gate=manager.write_gate),
        )
        manager.add_pool(self._pool)

    def client(self, key: str, target: SyncTarget) -> Client:
        find = partial(self._credentials.find, target, split_key(key)[0])
        access = connect(self._pool, key, find)
        if access.problem is not None and access.connection is None:
            why = access.problem.message
            raise NotConnected(key, state="Disconnected", since=self._clock.time(), last_error=why)
        return self._pool.client(key)

    def drop(self, obj: CachedObject) -> None:
        self._pool.remove(obj.key)

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        return self._pool.subscribe(callback)
