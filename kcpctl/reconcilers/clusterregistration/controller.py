"""Building the ClusterRegistration controller: informers, indexes, mappings, subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kcpctl.apis.resource import SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.client import Client
from kcpctl.clusters import ClusterPool
from kcpctl.controller import ResourceVersionChanged
from kcpctl.informers import CachedObject, Informers, Lister
from kcpctl.logicalcluster import split_key
from kcpctl.reconcilers.claims import Hint, no_hint
from kcpctl.reconcilers.clusterregistration.options import ClusterRegistrationOptions
from kcpctl.reconcilers.clusterregistration.reconcile import (
    ClusterRegistrationReconciler,
    pool_key,
)
from kcpctl.reconcilers.credentials import CredentialSource, reference_of
from kcpctl.reconcilers.ending import EndingController
from kcpctl.reconcilers.indexes import REGISTRATION_INDEX, SECRET_INDEX, add_indexes
from kcpctl.reconcilers.pool import disconnects
from kcpctl.reconcilers.recorder import Recorder
from kcpctl.runtime import SYSTEM_CLOCK, Clock, Metrics

__all__ = ["new_controller"]

_PREFIX = pool_key("")


class _Targets:
    """The SyncTargets' lister, and who names a registration."""

    def __init__(self, lister: Lister[SyncTarget]) -> None:
        self._lister = lister

    def cached(self, key: str) -> CachedObject | None:
        return self._lister.cached(key)

    def naming(self, key: str) -> Iterable[CachedObject]:
        """Those of the registration's own workspace: no other one may hold it."""
        own = split_key(key).cluster
        found = self._lister.cached_by_index(REGISTRATION_INDEX, key)
        return [one for one in found if one.cluster == own]


def new_controller(
    *,
    client: Client,
    factory: Informers,
    pool: ClusterPool,
    recorder: Recorder,
    options: ClusterRegistrationOptions,
    hint: Hint = no_hint,
    clock: Clock = SYSTEM_CLOCK,
    metrics: Metrics | None = None,
) -> EndingController:
    """Return the ClusterRegistration controller, to be started when the factory has synced.

    ``client`` and ``factory`` are of the same server: one logical cluster or all of them. Events of
    ClusterRegistrations, of the Secrets and SyncTargets that go with them, and of the pool's
    connections bring a ClusterRegistration up, and so does its health check interval.
    """
    registrations = factory.informer(CLUSTER_REGISTRATIONS, ClusterRegistration)
    targets = factory.informer(SYNCTARGETS, SyncTarget)
    secrets = factory.informer(SECRETS)
    credentials = CredentialSource(
        secrets.lister,
        registrations.lister,
        namespace=options.credentials_namespace,
        hint=hint,
    )
    add_indexes(targets, registrations, credentials)
    reconciler = ClusterRegistrationReconciler(
        client=client,
        registrations=registrations.lister,
        targets=_Targets(targets.lister),
        credentials=credentials,
        pool=pool,
        recorder=recorder,
        options=options,
        clock=clock,
    )
    controller = EndingController(
        "clusterregistration", reconciler, workers=options.workers, clock=clock, metrics=metrics
    )

    def moved(key: str) -> None:
        if key.startswith(_PREFIX):
            controller.enqueue(key.removeprefix(_PREFIX))

    changed = (ResourceVersionChanged(),)
    controller.watches(registrations, predicates=changed)
    controller.watches(targets, map_to=_named_by_target, predicates=changed)
    controller.watches(
        secrets, map_to=_registrations_of_secret(registrations.lister), predicates=changed
    )
    controller.ends(pool.subscribe(moved))
    controller.on_removal(disconnects(pool, _PREFIX)).on_removal(reconciler.remove)
    return controller


def _named_by_target(obj: CachedObject) -> Iterable[str]:
    reference = reference_of(obj.decode(SyncTarget), obj.cluster)
    return () if reference is None or reference.workspace else (reference.key(obj.cluster),)


def _registrations_of_secret(
    registrations: Lister[ClusterRegistration],
) -> Callable[[CachedObject], Iterable[str]]:
    def keys(obj: CachedObject) -> Iterable[str]:
        return [one.key for one in registrations.cached_by_index(SECRET_INDEX, obj.key)]

    return keys
