"""The end of a SyncTarget: its finalizers stay until what it has made is cleaned up (2.6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from kcpctl.apis.conditions import FALSE, get_condition, set_condition, true
from kcpctl.apis.naming import LEGACY_SYNCTARGET_FINALIZER, SYNCTARGET_FINALIZER
from kcpctl.apis.synctarget_status import SyncTargetStatus
from kcpctl.apis.workload import ORPHAN, SYNCTARGETS, SyncTarget, names_a_cluster
from kcpctl.client import Client
from kcpctl.controller import Request, Result
from kcpctl.controller.by_key import ByKey
from kcpctl.errors import Forbidden, NotConnected
from kcpctl.reconcilers.claims import Hint, explained
from kcpctl.reconcilers.committing import commit_unless_gone
from kcpctl.reconcilers.credentials import CredentialSource
from kcpctl.reconcilers.pool import Pool, connect
from kcpctl.reconcilers.recorder import Recorder
from kcpctl.reconcilers.synctarget.conditions import DELETING
from kcpctl.reconcilers.synctarget.deletion import Cleaner, Progress
from kcpctl.reconcilers.synctarget.departure import depart, drains
from kcpctl.reconcilers.synctarget.events import reference_to
from kcpctl.reconcilers.synctarget.health import Observer
from kcpctl.reconcilers.synctarget.heartbeat import heartbeat_age
from kcpctl.reconcilers.synctarget.options import SyncTargetOptions
from kcpctl.reconcilers.synctarget.scheduling import LEAVING, SCHEDULABLE
from kcpctl.reconcilers.synctarget.status import Snapshot, decide
from kcpctl.reconcilers.turns import ClusterTurns
from kcpctl.runtime import Clock

__all__ = ["Finalizer", "with_finalizers"]

# While something remains; the servers do the work meanwhile.
_RETRY_SECONDS: Final = 2.0
# A syncer that is there says long before that it has seen the deletion: not every one that sent
# heartbeats until now still is.
_ANSWER_SECONDS: Final = 10.0
# While it takes a person: a heartbeat comes with an event.
_HELD_RETRY_SECONDS: Final = 30.0


class Finalizer:
    """Cleans up after SyncTargets that are being deleted, then lets them go.

    Nothing more is placed there first, and what is assigned leaves; what remains is told in the
    status. What does not leave, and a cluster that cannot be
    reached, refuses or is busy is waited for until ``force_delete_after_seconds``, then given up,
    with an event. Worker threads; one key at a time.

    Parameters
    ----------
    observer: tells for how long an object is being deleted.
    forget: drops what anybody keeps of the key of one that needs nothing more, this class included.
    """

    def __init__(
        self,
        *,
        client: Client,
        credentials: CredentialSource,
        pool: Pool,
        recorder: Recorder,
        observer: Observer,
        turns: ClusterTurns,
        forget: Callable[[str], None],
        hint: Hint,
        clock: Clock,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._pool = pool
        self._recorder = recorder
        self._observer = observer
        self._turns = turns
        self._forget_target = forget
        self._hint = hint
        self._clock = clock
        # Since when what is to be deleted has met a busy cluster, on the monotonic clock.
        self._busy_since: ByKey[float] = ByKey()

    def forget(self, key: str) -> None:
        """Drop what is kept here for a key."""
        self._busy_since.forget(key)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop what is kept here for the keys that belong."""
        self._busy_since.remove(belongs)

    def finalize(
        self, request: Request, target: SyncTarget, options: SyncTargetOptions
    ) -> Result | None:
        """Clean up as far as possible, and take the finalizers off when nothing is left.

        Raises Postponed, and what the clients raise.
        """
        ours = {SYNCTARGET_FINALIZER, LEGACY_SYNCTARGET_FINALIZER}
        if not ours & set(target.metadata.finalizers):
            self._forget_target(request.key)
            return None
        waited = self._waited(request.key, target)
        if not _is_leaving(target):
            # First of all nothing more is to be placed there; the write's event brings the rest.
            status = decide(Snapshot(target=target, now=self._clock.time())).status
            self._commit(request, target, msgspec.structs.replace(target, status=status))
            return None
        try:
            progress, again_in_seconds = self._advance(request, target, options, waited)
        except Forbidden as error:
            why = explained(error, request.cluster, self._hint)
            if waited < options.force_delete_after_seconds:
                self._report_remaining(request, target, (f"what the workspace has: {why}",))
                raise
            progress = Progress(orphaned=f"could not be looked for: {why}")
        if progress.remaining:
            self._report_remaining(request, target, progress.remaining)
            return Result(again_in_seconds)
        if progress.orphaned:
            message = f"What is on the cluster was left behind, for it {progress.orphaned}"
            self._record(request, target, "Warning", "OrphanedDownstream", message)
        left = [name for name in target.metadata.finalizers if name not in ours]
        self._commit(request, target, with_finalizers(target, left))
        self._record(request, target, "Normal", "Deleted", "The SyncTarget was cleaned up")
        self._forget_target(request.key)
        return None

    def _advance(
        self, request: Request, target: SyncTarget, options: SyncTargetOptions, waited: float
    ) -> tuple[Progress, float]:
        """Do what can be done now; returns how far it came, and the seconds to another look."""
        force_after = options.force_delete_after_seconds
        downstream, why_not = self._reach(request, target)
        if waited < force_after and target.spec.deletion_policy != ORPHAN:
            seen = drains(target) or waited < _ANSWER_SECONDS
            alive = seen and self._is_alive(request.key, target, options)
            upstream, now = self._client.cluster(request.cluster), self._clock.time()
            if waits := depart(upstream, request.cluster, target, alive=alive, now=now):
                return Progress(waits), _RETRY_SECONDS if alive else _HELD_RETRY_SECONDS
        progress = self._clean(request, target, options, downstream, why_not, waited)
        if downstream is None:
            return progress, max(force_after - waited, _RETRY_SECONDS)
        return progress, _RETRY_SECONDS

    def _clean(
        self,
        request: Request,
        target: SyncTarget,
        options: SyncTargetOptions,
        downstream: Client | None,
        why_not: str,
        waited: float,
    ) -> Progress:
        namespace, force_after = options.credentials_namespace, options.force_delete_after_seconds
        progress = Cleaner(
            target, request.cluster, credentials_namespace=namespace, turns=self._turns
        ).run(
            self._client.cluster(request.cluster),
            downstream,
            why_not=why_not,
            # Where somebody else brought the syncer, there is nothing to wait for.
            force=waited >= force_after or not names_a_cluster(target.spec),
            give_up=self._busy_seconds(request.key) >= force_after,
        )
        if not progress.busy:
            self._busy_since.forget(request.key)
        elif self._busy_since.get(request.key) is None:
            self._busy_since.keep(request.key, self._clock.monotonic())
        return progress

    def _is_alive(self, key: str, target: SyncTarget, options: SyncTargetOptions) -> bool:
        """Whether there is a syncer that sends heartbeats."""
        try:
            age = heartbeat_age(self._observer, key, target, options.thresholds)
        except ValueError:
            return False
        return age is not None and age < options.thresholds.heartbeat_seconds

    def _busy_seconds(self, key: str) -> float:
        since = self._busy_since.get(key)
        return 0.0 if since is None else self._clock.monotonic() - since

    def _waited(self, key: str, target: SyncTarget) -> float:
        since = target.metadata.deletion_timestamp or ""
        return self._observer.age(key, target.metadata.uid, "deletion", (since,)) or 0.0

    def _reach(self, request: Request, target: SyncTarget) -> tuple[Client | None, str]:
        """Return a client of the physical cluster, or None and why there is none."""
        if not names_a_cluster(target.spec):
            return None, "the spec names no physical cluster"
        find = partial(self._credentials.find, target, request.cluster)
        access = connect(self._pool, request.key, find, is_ending=lambda: True)
        if access.connection is None:
            return None, access.problem.message if access.problem else "not connected"
        try:
            return self._pool.client(request.key), ""
        except NotConnected:
            status = self._pool.status(request.key)
            return None, (status.message if status is not None else "") or "not connected"

    def _report_remaining(
        self, request: Request, target: SyncTarget, remaining: tuple[str, ...]
    ) -> None:
        message = f"Still to be removed: {'; '.join(remaining)}"
        status = _deleting_status(target, message, self._clock.time())
        self._commit(request, target, msgspec.structs.replace(target, status=status))

    def _commit(self, request: Request, old: SyncTarget, new: SyncTarget) -> bool:
        return commit_unless_gone(self._client, SYNCTARGETS, request, old, new)

    def _record(
        self, request: Request, target: SyncTarget, type_: str, reason: str, message: str
    ) -> None:
        self._recorder.event(reference_to(target, request.cluster), type_, reason, message)


def with_finalizers(target: SyncTarget, finalizers: list[str]) -> SyncTarget:
    """Return the target with these finalizers."""
    metadata = msgspec.structs.replace(target.metadata, finalizers=finalizers)
    return msgspec.structs.replace(target, metadata=metadata)


def _deleting_status(target: SyncTarget, message: str, now: float) -> SyncTargetStatus:
    """Return the status of a SyncTarget that waits for its clean-up."""
    decision = decide(Snapshot(target=target, now=now))
    deleting = true(DELETING, "ResourceRemaining", message)
    deleting.observed_generation = target.metadata.generation
    conditions = set_condition(decision.status.conditions, deleting, now)
    return msgspec.structs.replace(decision.status, conditions=conditions)


def _is_leaving(target: SyncTarget) -> bool:
    found = get_condition(target.status.conditions, SCHEDULABLE)
    return found is not None and (found.status, found.reason) == (FALSE, LEAVING)
