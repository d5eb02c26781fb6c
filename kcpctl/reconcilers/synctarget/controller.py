"""Building the SyncTarget controller: informers, indexes, mappings and subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import MANAGED_BY_LABEL, SYNCTARGET_NAME_LABEL
from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS, SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.client import Client
from kcpctl.clusters import ClusterPool
from kcpctl.controller import MapFunction, ResourceVersionChanged
from kcpctl.informers import CachedObject, Informer, Informers, Lister
from kcpctl.logicalcluster import key_of
from kcpctl.reconcilers.claims import Hint, no_hint
from kcpctl.reconcilers.credentials import CredentialSource
from kcpctl.reconcilers.ending import EndingController
from kcpctl.reconcilers.indexes import REGISTRATION_INDEX, SECRET_INDEX, add_indexes
from kcpctl.reconcilers.pool import disconnects
from kcpctl.reconcilers.recorder import Recorder
from kcpctl.reconcilers.synctarget.approval import Approver
from kcpctl.reconcilers.synctarget.deployment import SyncerDeployer
from kcpctl.reconcilers.synctarget.linking import Links
from kcpctl.reconcilers.synctarget.options import AUTH_CERTIFICATE, SyncTargetOptions
from kcpctl.reconcilers.synctarget.reconcile import SyncTargetReconciler
from kcpctl.reconcilers.synctarget.rollout_watch import RolloutWatch
from kcpctl.reconcilers.workspaces import Workspaces
from kcpctl.runtime import SYSTEM_CLOCK, Clock, Metrics

__all__ = ["SyncTargetController", "new_controller"]


class SyncTargetController(EndingController):
    """The SyncTarget controller, which may be given other options while it runs."""

    def __init__(
        self,
        reconciler: SyncTargetReconciler,
        targets: Lister[SyncTarget],
        *,
        clock: Clock,
        metrics: Metrics | None,
    ) -> None:
        workers = reconciler.options.workers
        super().__init__("synctarget", reconciler, workers=workers, clock=clock, metrics=metrics)
        self._sync_targets = reconciler
        self._targets = targets

    def go_on_with(self, options: SyncTargetOptions) -> None:
        """Use ``options`` from now on, as far as :meth:`SyncTargetOptions.newer` goes. Any thread.

        Reconciles under way end with the options before. Every SyncTarget is looked at once: what
        it waited for may be earlier or later now.
        """
        self._sync_targets.options = self._sync_targets.options.newer(options)
        for key in self._targets.keys():  # noqa: SIM118 - a lister, not a dict
            self.enqueue(key)


def new_controller(
    *,
    client: Client,
    factory: Informers,
    pool: ClusterPool,
    recorder: Recorder,
    options: SyncTargetOptions,
    hint: Hint = no_hint,
    links: Links | None = None,
    clock: Clock = SYSTEM_CLOCK,
    metrics: Metrics | None = None,
) -> SyncTargetController:
    """Return the SyncTarget controller, ready to be started when the factory has synced.

    ``client`` and ``factory`` are of the same server: one logical cluster or all of them. Events of
    SyncTargets, of the Secrets and ClusterRegistrations that they name, of the pool's
    connections and of the syncers' Deployments bring a SyncTarget up. ``hint`` tells what a
    workspace has to accept where something is missing, ``links`` through an APIExport where the
    logical clusters are served.
    """
    targets = factory.informer(SYNCTARGETS, SyncTarget)
    secrets = factory.informer(SECRETS)
    registrations = factory.informer(CLUSTER_REGISTRATIONS, ClusterRegistration)
    requests = _signing_requests(factory) if options.syncer_auth == AUTH_CERTIFICATE else None
    workspaces = _workspaces(client, options, clock)
    credentials = CredentialSource(
        secrets.lister,
        registrations.lister,
        namespace=options.credentials_namespace,
        workspaces=workspaces,
        hint=hint,
    )
    add_indexes(targets, registrations, credentials)

    def enqueue(key: str) -> None:
        # The pool is shared: its other keys are not SyncTargets.
        if targets.lister.cached(key) is not None:
            controller.enqueue(key)

    watch = RolloutWatch(client.loop, enqueue, clock=clock)
    reconciler = SyncTargetReconciler(
        client=client,
        targets=targets.lister,
        credentials=credentials,
        pool=pool,
        deployer=SyncerDeployer(watch, secrets=secrets.lister, clock=clock),
        approver=_approver(requests, options, clock) if requests is not None else None,
        recorder=recorder,
        options=options,
        clock=clock,
        hint=hint,
        links=links,
    )
    controller = SyncTargetController(reconciler, targets.lister, clock=clock, metrics=metrics)
    _watch(controller, targets)
    of_registration = _targets_of_registration(targets.lister, workspaces)
    _watch(controller, registrations, of_registration)
    of_secret = _targets_of_secret(targets.lister, registrations.lister, of_registration)
    _watch(controller, secrets, of_secret)
    if requests is not None:
        _watch(controller, requests, _target_of_label)
    controller.ends(pool.subscribe(enqueue), watch.close)
    controller.on_removal(disconnects(pool)).on_removal(reconciler.remove)
    return controller


def _watch(
    controller: SyncTargetController, informer: Informer[Any], map_to: MapFunction | None = None
) -> None:
    controller.watches(informer, map_to=map_to, predicates=(ResourceVersionChanged(),))


def _approver(
    requests: Informer[Unstructured], options: SyncTargetOptions, clock: Clock
) -> Approver:
    return Approver(requests.lister, namespace=options.credentials_namespace, clock=clock)


def _signing_requests(factory: Informers) -> Informer[Unstructured]:
    selector = f"{MANAGED_BY_LABEL}=kcpctl"
    return factory.informer(CERTIFICATE_SIGNING_REQUESTS, label_selector=selector)


def _target_of_label(obj: CachedObject) -> Iterable[str]:
    # A label that anybody may set: all it does is have a SyncTarget looked at.
    if name := obj.meta.labels.get(SYNCTARGET_NAME_LABEL):
        yield key_of(obj.cluster, "", name)


def _workspaces(client: Client, options: SyncTargetOptions, clock: Clock) -> Workspaces:
    return Workspaces(
        client,
        namespace=options.credentials_namespace,
        cache_seconds=options.reference_cache_seconds,
        clock=clock,
    )


def _targets_of_registration(
    targets: Lister[SyncTarget], workspaces: Workspaces
) -> Callable[[CachedObject], Iterable[str]]:
    def keys(obj: CachedObject) -> Iterable[str]:
        for name in {obj.cluster, *workspaces.paths_of(obj.cluster)}:
            key = key_of(name, "", obj.meta.name)
            for target in targets.cached_by_index(REGISTRATION_INDEX, key):
                yield target.key

    return keys


def _targets_of_secret(
    targets: Lister[SyncTarget],
    registrations: Lister[ClusterRegistration],
    of_registration: Callable[[CachedObject], Iterable[str]],
) -> Callable[[CachedObject], Iterable[str]]:
    def keys(obj: CachedObject) -> Iterable[str]:
        yield from _target_of_label(obj)
        for target in targets.cached_by_index(SECRET_INDEX, obj.key):
            yield target.key
        for registration in registrations.cached_by_index(SECRET_INDEX, obj.key):
            yield from of_registration(registration)

    return keys
