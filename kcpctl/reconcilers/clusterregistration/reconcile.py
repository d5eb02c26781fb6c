"""The reconciler of ClusterRegistrations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec

from kcpctl.apis.conditions import FALSE, READY, TRUE, get_condition
from kcpctl.apis.duration import parse_duration
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.quantity import problem as quantity_problem
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration, ClusterRegistrationStatus
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client, ResourceClient
from kcpctl.clusters import ConnectionStatus
from kcpctl.controller import ObjectReference, Request, Result
from kcpctl.controller.by_key import ByKey
from kcpctl.errors import (
    ApiError,
    DeadlineExceeded,
    Invalid,
    NotConnected,
    NotFound,
    TerminalError,
    TransportError,
)
from kcpctl.informers import CachedObject
from kcpctl.logicalcluster import key_of, split_key
from kcpctl.reconcilers.clusterregistration.facts import Facts, discover
from kcpctl.reconcilers.clusterregistration.leftovers import leftovers
from kcpctl.reconcilers.clusterregistration.options import ClusterRegistrationOptions
from kcpctl.reconcilers.clusterregistration.status import CONNECTED, Snapshot, decide
from kcpctl.reconcilers.clusterregistration.sync_target import (
    FIELD_MANAGER,
    HASH_ANNOTATION,
    made_by,
    name_problem,
    sync_target,
)
from kcpctl.reconcilers.committing import commit_unless_gone
from kcpctl.reconcilers.connected import NEW_CREDENTIALS_FAILED
from kcpctl.reconcilers.credentials import Cache, CredentialSource, Kubeconfig
from kcpctl.reconcilers.pool import Pool, connect
from kcpctl.reconcilers.problem import INVALID_CONFIGURATION, Problem, Unusable
from kcpctl.reconcilers.recorder import Recorder, Transition
from kcpctl.reconcilers.turns import ClusterTurns, Postponed
from kcpctl.runtime import Clock, get_logger

__all__ = ["FINALIZER", "ClusterRegistrationReconciler", "pool_key"]

_log = get_logger(__name__)

FINALIZER: Final = "tmc.kcp.io/clusterregistration"
# The events of the SyncTargets bring the next pass; this is for one that went astray.
_IN_USE_SECONDS: Final = 30.0
_NAMED_AT_MOST: Final = 5
# Anybody may write a registration; 1ns would keep a worker busy with it alone.
_SHORTEST_INTERVAL_SECONDS: Final = 1.0


def pool_key(key: str) -> str:
    """Return the pool's key of a ClusterRegistration's connection; SyncTargets have their own."""
    return f"{CLUSTER_REGISTRATIONS.plural}/{key}"


class Targets(Cache, Protocol):
    """What is needed of the SyncTargets' lister."""

    def naming(self, key: str) -> Iterable[CachedObject]:
        """Return the SyncTargets that name the ClusterRegistration of this key."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the last look at a cluster found, and when it was on the monotonic clock."""

    at: float
    facts: Facts | None
    failure: str = ""


class ClusterRegistrationReconciler:
    """Connects to the registered clusters, looks at them, and makes SyncTargets on request.

    A pass writes metadata or status, never both, and only what differs. A registration is kept,
    by a finalizer, until no SyncTarget names it: their clean-up needs its credentials. The
    SyncTarget that was made from it is deleted with it; others are left to their owners, and named.
    """

    def __init__(
        self,
        *,
        client: Client,
        registrations: Cache,
        targets: Targets,
        credentials: CredentialSource,
        pool: Pool,
        recorder: Recorder,
        options: ClusterRegistrationOptions,
        clock: Clock,
    ) -> None:
        self._client = client
        self._registrations = registrations
        self._targets = targets
        self._credentials = credentials
        self._pool = pool
        self._recorder = recorder
        self._options = options
        self._clock = clock
        self._turns = ClusterTurns(
            clock=clock, silent=options.workers // 2, by_workspace=client.is_multi_cluster
        )
        self._looks: ByKey[_Look] = ByKey()

    def reconcile(self, request: Request) -> Result | None:
        """Reconcile one ClusterRegistration."""
        found = self._registrations.cached(request.key)
        if found is None:
            self._forget(request.key)
            return None
        try:
            registration = found.decode(ClusterRegistration)
        except msgspec.ValidationError as error:
            raise TerminalError(
                f"ClusterRegistration {request.key!r} cannot be read: {error}"
            ) from None
        if registration.metadata.deletion_timestamp is not None:
            return self._delete(request, registration)
        if FINALIZER not in registration.metadata.finalizers:
            finalizers = [*registration.metadata.finalizers, FINALIZER]
            self._commit(request, registration, _with_finalizers(registration, finalizers))
            return None  # the event of that write brings the next pass
        return self._look_after(request, registration, found)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop what is kept for the keys that belong, but for their connections."""
        self._looks.remove(belongs)

    def _forget(self, key: str) -> None:
        self._pool.remove(pool_key(key))
        self._looks.forget(key)

    def _look_after(
        self, request: Request, registration: ClusterRegistration, found: CachedObject
    ) -> Result:
        interval = self._interval_seconds(registration)
        find = partial(self._find, registration, found, request.cluster)
        access = connect(self._pool, pool_key(request.key), find)
        try:
            look = self._look(request.key, access.connection, interval)
        except Postponed as later:
            return Result(later.seconds)
        name, not_created = self._ensure_sync_target(request, registration)
        status = decide(
            Snapshot(
                registration=registration,
                credentials=access.problem,
                connection=access.connection,
                source=access.source,
                facts=look.facts,
                failure=look.failure,
                sync_target=name,
                not_created=not_created,
                now=self._clock.time(),
            )
        )
        self._update_status(request, registration, status)
        return Result(interval)

    def _find(
        self, registration: ClusterRegistration, found: CachedObject, cluster: str
    ) -> Kubeconfig:
        for name, value in sorted(registration.spec.capacity.items()):
            if why := quantity_problem(value):
                problem = Problem(INVALID_CONFIGURATION, f"spec.capacity[{name}]{why}")
                raise Unusable(problem)
        return self._credentials.of_registration(found, cluster)

    def _interval_seconds(self, registration: ClusterRegistration) -> float:
        text = registration.spec.health_check_interval
        seconds = parse_duration(text) if text else 0.0
        if not seconds:
            return self._options.health_check_interval_seconds
        return max(seconds, _SHORTEST_INTERVAL_SECONDS)

    def _look(self, key: str, connection: ConnectionStatus | None, interval: float) -> _Look:
        """Look at the cluster, if the last look is an interval old; else return that one."""
        last = self._looks.get(key)
        now = self._clock.monotonic()
        if connection is None or not connection.connected:
            return _Look(now, last.facts if last else None)
        # A tenth early, so that a timer that fires a little early is not a look left out.
        if last is not None and not last.failure and now - last.at < 0.9 * interval:
            return last
        facts = last.facts if last else None
        try:
            with self._turns.turn(split_key(key)[0], connection.server):
                look = _Look(now, discover(self._pool.client(pool_key(key))))
        except NotConnected:
            return _Look(now, facts)
        except (ApiError, TransportError, DeadlineExceeded) as error:
            look = _Look(now, facts, f"The cluster could not be looked at: {error}")
        return self._looks.keep(key, look)

    # The SyncTarget.

    def _ensure_sync_target(
        self, request: Request, registration: ClusterRegistration
    ) -> tuple[str, Problem | None]:
        """Return the name of the SyncTarget that was made, or "" and why there is none."""
        manifest = sync_target(registration)
        name = manifest["metadata"]["name"]
        there = self._targets.cached(key_of(request.cluster, "", name))
        live: Unstructured | None = None if there is None else there.decode()
        ours = live is not None and made_by(registration, live)
        if not registration.spec.create_sync_target:
            return (name if ours else ""), None
        others = [one.meta.name for one in self._targets.naming(request.key)]
        if not ours and any(other != name for other in others):
            return "", None  # somebody made one already
        if problem := name_problem(name):
            return "", Problem("InvalidName", problem)
        if live is not None and not ours:
            message = f"SyncTarget {name!r} exists and is not of this registration; rename one"
            return "", Problem("Conflict", message)
        if live is None or _hash(live) != _hash(manifest):
            targets = self._client.cluster(request.cluster).resource(SYNCTARGETS)
            try:
                if live is not None:
                    self._take_off(targets, manifest)
                targets.apply(manifest, field_manager=FIELD_MANAGER, force=True)
            except Invalid as error:
                message = f"{error.message}; correct location, labels or taints here"
                return (name if ours else ""), Problem("Refused", message)
            if live is None:
                message = f"SyncTarget {name} was made"
                self._record(request, registration, "Normal", "SyncTargetCreated", message)
        return name, None

    def _take_off(self, targets: ResourceClient[Unstructured], manifest: Unstructured) -> None:
        """Remove what is no longer in the manifest; before its hash is there, to be done again."""
        name = manifest["metadata"]["name"]
        try:
            live = targets.get(name)  # caches show no managed fields
        except NotFound:
            return
        if patch := leftovers(live, manifest, field_manager=FIELD_MANAGER):
            meta = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
            patch["metadata"] = {**meta, **patch.get("metadata", {})}
            targets.patch(name, patch, field_manager=FIELD_MANAGER)

    # Deletion.

    def _delete(self, request: Request, registration: ClusterRegistration) -> Result | None:
        """Let go of the registration when no SyncTarget needs it any more."""
        if FINALIZER not in registration.metadata.finalizers:
            self._forget(request.key)
            return None
        users = sorted(self._targets.naming(request.key), key=lambda one: one.key)
        for user in users:
            if made_by(registration, user.decode()) and not user.meta.deletion_timestamp:
                self._delete_target(request, user)
        if users:
            names = ", ".join(user.meta.name for user in users[:_NAMED_AT_MOST])
            more = ", ..." if len(users) > _NAMED_AT_MOST else ""
            in_use = f"SyncTargets that name it are to be deleted first: {names}{more}"
            snapshot = Snapshot(registration=registration, in_use=in_use, now=self._clock.time())
            self._update_status(request, registration, decide(snapshot))
            return Result(_IN_USE_SECONDS)
        left = [name for name in registration.metadata.finalizers if name != FINALIZER]
        self._commit(request, registration, _with_finalizers(registration, left))
        self._forget(request.key)
        return None

    def _delete_target(self, request: Request, user: CachedObject) -> None:
        targets = self._client.cluster(request.cluster).resource(SYNCTARGETS)
        try:
            targets.delete(user.meta.name, uid=user.meta.uid)
        except NotFound:
            _log.debug("The SyncTarget is gone already", target=user.key)

    # Writing.

    def _commit(self, request: Request, old: ClusterRegistration, new: ClusterRegistration) -> bool:
        """Write what differs; False if nothing does."""
        return commit_unless_gone(self._client, CLUSTER_REGISTRATIONS, request, old, new)

    def _update_status(
        self, request: Request, old: ClusterRegistration, status: ClusterRegistrationStatus
    ) -> None:
        if not self._commit(request, old, msgspec.structs.replace(old, status=status)):
            return
        if old.status.phase != status.phase:
            _log.info("ClusterRegistration changed", phase=status.phase, was=old.status.phase)
        for event in _transitions(old.status, status):
            self._record(request, old, *event)

    def _record(
        self,
        request: Request,
        registration: ClusterRegistration,
        type_: str,
        reason: str,
        message: str,
    ) -> None:
        meta = registration.metadata
        reference = ObjectReference(
            request.cluster,
            CLUSTER_REGISTRATIONS.api_version,
            CLUSTER_REGISTRATIONS.kind,
            "",
            meta.name,
            meta.uid,
            meta.resource_version,
        )
        self._recorder.event(reference, type_, reason, message)


def _transitions(
    old: ClusterRegistrationStatus, new: ClusterRegistrationStatus
) -> Iterable[Transition]:
    """Yield an event for each way into Ready, and for each way out of Connected."""
    before, after = (get_condition(one.conditions, READY) for one in (old, new))
    if after is not None and after.status == TRUE and (before is None or before.status != TRUE):
        yield Transition("Normal", "Ready", after.message)
    before, after = (get_condition(one.conditions, CONNECTED) for one in (old, new))
    if after is None or not (after.status == FALSE or after.reason == NEW_CREDENTIALS_FAILED):
        return
    if before is None or (before.status, before.reason) != (after.status, after.reason):
        yield Transition("Warning", after.reason, after.message)


def _hash(obj: Unstructured) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(HASH_ANNOTATION, ""))


def _with_finalizers(
    registration: ClusterRegistration, finalizers: list[str]
) -> ClusterRegistration:
    metadata = msgspec.structs.replace(registration.metadata, finalizers=finalizers)
    return msgspec.structs.replace(registration, metadata=metadata)
