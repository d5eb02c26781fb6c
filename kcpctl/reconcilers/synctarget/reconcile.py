"""The SyncTarget reconciler: the thin shell around the decisions of :mod:`.status`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from kcpctl.apis.conditions import FALSE, TRUE, get_condition
from kcpctl.apis.naming import (
    KEY_LABEL,
    LEGACY_SYNCTARGET_FINALIZER,
    SYNCTARGET_FINALIZER,
    sync_target_key,
    syncer_id,
)
from kcpctl.apis.signing import RequestState
from kcpctl.apis.synctarget_status import SyncTargetStatus
from kcpctl.apis.workload import (
    MANAGED,
    SYNCTARGETS,
    SyncTarget,
    deployment_mode,
)
from kcpctl.client import Client
from kcpctl.clusters import ConnectionStatus
from kcpctl.controller import Request, Result
from kcpctl.errors import (
    ApiError,
    Forbidden,
    KcpctlError,
    NotConnected,
    TerminalError,
)
from kcpctl.reconcilers.claims import Hint, explained, no_hint
from kcpctl.reconcilers.committing import commit_unless_gone
from kcpctl.reconcilers.credentials import Cache, CredentialSource
from kcpctl.reconcilers.pool import Access, Pool, connect
from kcpctl.reconcilers.problem import BUSY, Problem
from kcpctl.reconcilers.recorder import Recorder
from kcpctl.reconcilers.synctarget.approval import Approver
from kcpctl.reconcilers.synctarget.certificate import Signing
from kcpctl.reconcilers.synctarget.conditions import (
    SYNCER_DEPLOYED,
    VALID,
    unhealthy_stamps,
)
from kcpctl.reconcilers.synctarget.deployment import SyncerDeployer
from kcpctl.reconcilers.synctarget.events import reference_to, transitions
from kcpctl.reconcilers.synctarget.eviction import evict
from kcpctl.reconcilers.synctarget.finalizer import Finalizer, with_finalizers
from kcpctl.reconcilers.synctarget.health import (
    Heartbeat,
    Observer,
    Thresholds,
    overdue_seconds,
)
from kcpctl.reconcilers.synctarget.heartbeat import heartbeat_age
from kcpctl.reconcilers.synctarget.ignored import ignored_fields
from kcpctl.reconcilers.synctarget.linking import Links, find_link
from kcpctl.reconcilers.synctarget.options import SyncTargetOptions
from kcpctl.reconcilers.synctarget.rollout import Rollout
from kcpctl.reconcilers.synctarget.scheduling import (
    EVICTED,
    SCHEDULABLE,
    Eviction,
    planned_eviction,
)
from kcpctl.reconcilers.synctarget.status import Decision, Snapshot, decide
from kcpctl.reconcilers.synctarget.validation import validate
from kcpctl.reconcilers.turns import ClusterTurns, Postponed
from kcpctl.reconcilers.workspaces import is_being_deleted
from kcpctl.runtime import Clock, get_logger

__all__ = ["SyncTargetReconciler"]

_log = get_logger(__name__)

_MOVED: Final = (
    "The credentials lead to another cluster than before: what is on that one was left behind, "
    "and its syncer locked out"
)


@dataclass(slots=True)
class _Findings:
    """What one pass found out, for the snapshot, and what is to follow it."""

    invalid: Problem | None = None
    credentials: Problem | None = None
    connection: ConnectionStatus | None = None
    source: str = ""
    rollout: Rollout | None = None
    signing: Signing | None = None
    again_in_seconds: float | None = None
    recheck_after_seconds: float | None = None
    updated: bool = False
    moved: bool = False
    assigned: bool = False
    refused: str = ""
    failure: KcpctlError | None = None


class SyncTargetReconciler:
    """Makes SyncTargets work: validate, deploy the syncer, check its health, write the status.

    Each pass reads caches, brings the cluster closer to what the spec asks for, and turns what it
    found into a status by :func:`decide`, a pure function. It writes metadata or status, never
    both, and only what differs; a second pass over the same state makes no request. Never
    written: spec, and the fields of the heartbeat.

    A deployment that a server refuses or delays is written into the status and then raised, so
    that the queue backs off. An invalid spec is no error: its next change brings it back.

    ``options`` may be replaced at any time: a pass reads them once.
    """

    def __init__(
        self,
        *,
        client: Client,
        targets: Cache,
        credentials: CredentialSource,
        pool: Pool,
        deployer: SyncerDeployer,
        approver: Approver | None = None,
        recorder: Recorder,
        options: SyncTargetOptions,
        clock: Clock,
        hint: Hint = no_hint,
        links: Links | None = None,
    ) -> None:
        self._client = client
        self._targets = targets
        self._credentials = credentials
        self._pool = pool
        self._deployer = deployer
        self._approver = approver
        self._recorder = recorder
        self.options = options
        self._clock = clock
        self._hint = hint
        self._links = links
        self._observer = Observer(clock)
        self._turns = ClusterTurns(
            clock=clock, silent=options.workers // 2, by_workspace=client.is_multi_cluster
        )
        self._finalizer = Finalizer(
            client=client,
            credentials=credentials,
            pool=pool,
            recorder=recorder,
            observer=self._observer,
            turns=self._turns,
            forget=self._forget,
            hint=hint,
            clock=clock,
        )

    def reconcile(self, request: Request) -> Result | None:
        """Reconcile one SyncTarget."""
        if request.namespace:
            raise TerminalError(
                f"{request.key!r} names a namespace, but SyncTargets are cluster-scoped"
            )
        try:
            return self._reconcile(request)
        except Postponed as later:
            return Result(later.seconds)

    def _reconcile(self, request: Request) -> Result | None:
        found = self._targets.cached(request.key)
        if found is None:
            self._forget(request.key)
            return None
        try:
            target = found.decode(SyncTarget)
        except msgspec.ValidationError as error:
            raise TerminalError(f"SyncTarget {request.key!r} cannot be read: {error}") from None
        options = self.options
        if target.metadata.deletion_timestamp is not None:
            return self._finalizer.finalize(request, target, options)
        marked = _with_marks(target, request.cluster)
        if marked is not target:
            self._commit(request, target, marked)
            return None  # the event of that write brings the next pass
        return self._sync(request, target, options)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop what is kept for the keys that belong, but for their connections."""
        self._deployer.remove(belongs)
        if self._approver is not None:
            self._approver.remove(belongs)
        self._observer.remove(belongs)
        self._finalizer.remove(belongs)

    def _forget(self, key: str) -> None:
        self._deployer.forget(key)
        if self._approver is not None:
            self._approver.forget(key)
        self._pool.remove(key)
        self._observer.forget(key)
        self._finalizer.forget(key)

    def _commit(self, request: Request, old: SyncTarget, new: SyncTarget) -> bool:
        """Write what differs to the request's own logical cluster; False if nothing does."""
        return commit_unless_gone(self._client, SYNCTARGETS, request, old, new)

    # The phases of a pass.

    def _sync(
        self, request: Request, target: SyncTarget, options: SyncTargetOptions
    ) -> Result | None:
        findings = self._validate(request, target, options)
        if findings.invalid is None:
            self._deploy(request, target, findings, options)
            self._certify(request, target, findings)
        # A deletion that begins from now on is as old as the moment in which it is seen.
        self._observer.age(request.key, target.metadata.uid, "deletion", ())
        heartbeat = self._check_health(request.key, target, options.thresholds)
        overdue = overdue_seconds(heartbeat, options.thresholds)
        unhealthy = self._unhealthy_seconds(request.key, target, target.status, overdue)
        now = self._clock.time()  # one for both: evictAfter may pass between two looks
        if findings.invalid is None:
            planned = planned_eviction(target.spec, now, unhealthy)
            self._evict(request, target, findings, planned, now)
        decision = decide(
            Snapshot(
                target=target,
                invalid=findings.invalid,
                ignored=ignored_fields(target, request.cluster, self._own_path(request, target)),
                link=None if self._links is None else find_link(self._links, request.cluster),
                credentials=findings.credentials,
                connection=findings.connection,
                source=findings.source,
                rollout=findings.rollout,
                signing=findings.signing,
                heartbeat=heartbeat,
                thresholds=options.thresholds,
                unhealthy_seconds=unhealthy,
                assigned=findings.assigned,
                refused=findings.refused,
                now=now,
            )
        )
        self._update_status(request, target, decision, overdue)
        if findings.moved:
            self._record(request, target, "Warning", "OrphanedDownstream", _MOVED)
        if findings.updated:
            self._record(request, target, "Normal", "SyncerUpdated", "The syncer was changed")
        if findings.failure is not None:
            raise findings.failure
        return _earliest(
            decision.requeue_after_seconds,
            findings.again_in_seconds,
            findings.recheck_after_seconds,
            None if findings.signing is None else findings.signing.again_in_seconds,
        )

    def _validate(
        self, request: Request, target: SyncTarget, options: SyncTargetOptions
    ) -> _Findings:
        """Check the spec, then find the credentials that it names."""
        invalid = validate(target, default_image=options.syncer_image)
        if invalid is not None:
            return _Findings(invalid=invalid)
        if deployment_mode(target.spec) != MANAGED:
            self._deployer.forget(request.key)
            self._pool.remove(request.key)
            return _Findings()
        access = self._connect(request, target)
        if access.connection is None:
            self._deployer.forget(request.key)
        return _Findings(
            invalid=access.problem if access.invalid else None,
            credentials=None if access.invalid else access.problem,
            connection=access.connection,
            source=access.source,
            recheck_after_seconds=self._credentials.recheck_seconds(target, request.cluster),
        )

    def _connect(self, request: Request, target: SyncTarget) -> Access:
        """Give the pool the credentials that the spec names, or nothing."""
        find = partial(self._credentials.find, target, request.cluster)
        return connect(
            self._pool,
            request.key,
            find,
            is_ending=lambda: is_being_deleted(self._client.cluster(request.cluster)),
        )

    def _deploy(
        self,
        request: Request,
        target: SyncTarget,
        findings: _Findings,
        options: SyncTargetOptions,
    ) -> None:
        """Ensure the syncer's deployment where there is a connection."""
        if findings.connection is None:
            return
        if not findings.connection.connected:
            self._deployer.forget(request.key)
            return
        upstream = self._client.cluster(request.cluster)
        try:
            downstream = self._pool.client(request.key)
            with self._turns.turn(request.cluster, findings.connection.server):
                deployed = self._deployer.ensure(
                    request.key, target, request.cluster, upstream, downstream, options
                )
        except NotConnected:
            findings.connection = self._pool.status(request.key)
        except BUSY as error:
            # That is nothing the deployment could be blamed for.
            findings.failure = error
            findings.rollout = Rollout(delay=f"The syncer could not be deployed yet: {error}")
        except ApiError as error:
            findings.failure = error
            why = explained(error, request.cluster, self._hint)
            findings.rollout = Rollout(error=f"The syncer could not be deployed: {why}")
        else:
            findings.rollout = deployed.rollout
            findings.again_in_seconds = deployed.again_in_seconds
            findings.updated = deployed.updated
            findings.moved = deployed.moved

    def _certify(self, request: Request, target: SyncTarget, findings: _Findings) -> None:
        """Have the syncer get its certificates, whoever has deployed it."""
        if self._approver is None:
            return
        upstream = self._client.cluster(request.cluster)
        try:
            findings.signing = self._approver.look(request.key, target, request.cluster, upstream)
        except ApiError as error:
            name = syncer_id(target.metadata.name, target.metadata.uid)
            findings.signing = Signing(name, RequestState.PENDING)  # nobody knows
            findings.failure = findings.failure or error

    def _evict(
        self,
        request: Request,
        target: SyncTarget,
        findings: _Findings,
        eviction: Eviction | None,
        now: float,
    ) -> None:
        """Once eviction is due, ask what is assigned to leave, until nothing is.

        What somebody assigns afterwards is asked too, when the syncer counts its copy.
        """
        if eviction is None or eviction.seconds > 0 or not eviction.asks or _is_evicted(target):
            return
        upstream = self._client.cluster(request.cluster)
        try:
            left = evict(upstream, request.cluster, target.metadata.name, now)
            findings.assigned = bool(left)
        except ApiError as error:
            findings.assigned = True  # nobody knows; what was found so far is written all the same
            if isinstance(error, Forbidden):
                findings.refused = explained(error, request.cluster, self._hint)
            findings.failure = findings.failure or error

    def _own_path(self, request: Request, target: SyncTarget) -> str:
        """Return the path of the request's workspace where it is known, and anybody asks."""
        if self._links is None or not target.spec.kcp_cluster:
            return ""
        binding = self._links.binding(request.cluster)
        return "" if binding is None else binding.path

    def _check_health(self, key: str, target: SyncTarget, thresholds: Thresholds) -> Heartbeat:
        try:
            age = heartbeat_age(self._observer, key, target, thresholds)
        except ValueError as error:
            return Heartbeat(error=f"The heartbeat in the status cannot be read: {error}")
        return Heartbeat(age, self._waited_for_syncer(key, target, target.status))

    def _waited_for_syncer(
        self, key: str, target: SyncTarget, status: SyncTargetStatus
    ) -> float | None:
        """Return the seconds since a first heartbeat could have come (decision 2)."""
        type_ = SYNCER_DEPLOYED if deployment_mode(target.spec) == MANAGED else VALID
        start = get_condition(status.conditions, type_)
        since = start.last_transition_time if start and start.status == TRUE else None
        stamps = (since,) if since else ()
        try:
            return self._observer.age(key, target.metadata.uid, "start", stamps)
        except ValueError:
            # Whoever may write the status has written a year that is none.
            return self._observer.age(key, target.metadata.uid, "start", ())

    def _unhealthy_seconds(
        self, key: str, target: SyncTarget, status: SyncTargetStatus, overdue: float | None
    ) -> float | None:
        """Return for how long the status has said of an unhealthy target that it is one.

        Only what was written counts: who could not write could not hear of a heartbeat either.
        ``overdue`` bounds what a first look makes of the stamp, which may be earlier.
        """
        if overdue is None:
            return None
        try:
            age = self._observer.age(
                key, target.metadata.uid, "unhealthy", unhealthy_stamps(status)
            )
        except ValueError:
            return None  # somebody has written a time that is none; nothing leaves for that
        return None if age is None else min(age, overdue)

    def _update_status(
        self, request: Request, target: SyncTarget, decision: Decision, overdue: float | None
    ) -> None:
        """Write the status if it differs, and tell its transitions once it is written."""
        old, new = target.status, decision.status
        if new == old:
            return
        self._waited_for_syncer(request.key, target, new)  # the grace may begin here
        if not self._commit(request, target, msgspec.structs.replace(target, status=new)):
            return
        self._unhealthy_seconds(request.key, target, new, overdue)  # and this one
        if old.phase != new.phase:
            _log.info("SyncTarget changed", phase=new.phase, was=old.phase)
        for event in transitions(old, new):
            self._record(request, target, *event)

    def _record(
        self, request: Request, target: SyncTarget, type_: str, reason: str, message: str
    ) -> None:
        self._recorder.event(reference_to(target, request.cluster), type_, reason, message)


def _is_evicted(target: SyncTarget) -> bool:
    """Whether the status says so of this very spec, and the syncer has nothing."""
    found = get_condition(target.status.conditions, SCHEDULABLE)
    return (
        found is not None
        and (found.status, found.reason) == (FALSE, EVICTED)
        and found.observed_generation == target.metadata.generation
        and not target.status.resource_count
    )


def _with_marks(target: SyncTarget, cluster: str) -> SyncTarget:
    """Return the target with finalizer and key label, itself if it has both (decision 5)."""
    meta = target.metadata
    key = sync_target_key(cluster, meta.name)
    finalizers = [name for name in meta.finalizers if name != LEGACY_SYNCTARGET_FINALIZER]
    if SYNCTARGET_FINALIZER not in finalizers:
        finalizers.append(SYNCTARGET_FINALIZER)
    if finalizers == meta.finalizers and meta.labels.get(KEY_LABEL) == key:
        return target
    marked = with_finalizers(target, finalizers)
    marked.metadata.labels = {**meta.labels, KEY_LABEL: key}
    return marked


def _earliest(*seconds: float | None) -> Result | None:
    planned = [one for one in seconds if one is not None]
    return Result(min(planned)) if planned else None
