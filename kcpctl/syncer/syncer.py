"""The syncer agent: serves one SyncTarget for as long as it is the one it was started for."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Final

from kcpctl.apis.admission import Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.errors import Forbidden, KcpctlError, NotFound
from kcpctl.informers import InformerFactory
from kcpctl.logicalcluster import cluster_of
from kcpctl.manager.election import Election
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    Deadline,
    Metrics,
    get_logger,
    random_suffix,
)
from kcpctl.syncer.compatibility import ALL_TYPES, ServedTypes
from kcpctl.syncer.gate import Gate, GateClosed, Verdict, judge
from kcpctl.syncer.health import health_server
from kcpctl.syncer.options import SyncerOptions
from kcpctl.syncer.session import Session
from kcpctl.syncer.side import SYNCED_RESOURCES
from kcpctl.syncer.target import Target
from kcpctl.syncer.watch import TargetWatch

__all__ = ["SyncFailed", "Syncer"]

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 0.5
# A heartbeat may wait for a server that hangs (30 s for one request, more with its retries)
# before its loop goes round again; beyond this it is the loop that hangs.
_ALIVE_SLACK_SECONDS: Final = 330.0
_PROBLEMS_SHOWN: Final = 5
# How long a SyncTarget that could not be read is left alone.
_ABSENT_SECONDS: Final = 5.0
# A workspace of a kcp gets further types when somebody binds an export there: no hurry.
_DISCOVER_SECONDS: Final = 30.0
# How long a cluster is asked: one that does not answer is served as if it had all of them.
_CLUSTER_SECONDS: Final = 5.0
# Unless the session waits for a type: the next heartbeat waits with it.
_AWAITED_SECONDS: Final = 5.0


class SyncFailed(KcpctlError):
    """A single pass left something that is not synced; the message says what."""


class Syncer:
    """Brings what is assigned to a SyncTarget to a cluster, and its status back.

    Parameters
    ----------
    upstream: a client bound to the SyncTarget's logical cluster.
    downstream: a client of the cluster; the syncer owns neither and closes neither.
    election: stands by until it is won; ``run_once`` needs none.

    ``run`` blocks until ``stop`` is set. While the SyncTarget is gone or has another uid than the
    options say, it stays alive and touches nothing downstream (decision 10). While it is being
    deleted, what is asked to leave does; with the policy Orphan nothing is touched (2.6). While it
    is suspended only the heartbeat goes on; while the upstream server does not answer, what is
    downstream stays as it is. Types that the workspace does not serve are left alone until it does.
    ``run_once`` makes a single pass and raises what kept it from being complete. Neither may be
    called on the I/O thread, nor both at once.
    """

    def __init__(
        self,
        options: SyncerOptions,
        *,
        upstream: Client,
        downstream: Client,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
        metrics: Metrics | None = None,
        election: Election | None = None,
    ) -> None:
        self._options = options
        self._election = election
        self._upstream = upstream
        self._downstream = downstream
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._identity = f"{socket.gethostname()}_{random_suffix(5, rng)}"
        self._sync_targets = upstream.resource(SYNCTARGETS)
        self._session: Session | None = None
        self._watch = TargetWatch(
            options.sync_target_name, options.sync_target_uid, self._on_verdict, self._on_seen
        )
        self._changed = threading.Condition()
        self._ticked_at = clock.monotonic()
        self._ask_at: float | None = None
        self._discover_at = 0.0
        self.health_address = ""

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set, which a lost Lease does too.

        Raises ConfigError if the health port cannot be had, and LeadershipLost.
        """
        loop = self._upstream.loop
        health = None
        if self._options.health_bind_address:
            address = self._options.health_bind_address
            health = health_server(address, live=self._live, ready=self._ready)
        factory = InformerFactory(
            self._upstream.aio,
            loop,
            name="synctarget",
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
        )
        try:
            if health is not None:
                loop.run(health.start())
                self.health_address = health.address
            if self._leads(stop):
                self._supervise(factory, stop)
        finally:
            self._end_session()
            if self._election is not None:
                self._election.close()
            factory.close()
            if health is not None:
                loop.run(health.close())

        if self._election is not None:
            self._election.check()

    def _leads(self, stop: threading.Event) -> bool:
        """Whether this syncer is the one that works: wait until it is, or until ``stop``."""
        if self._election is None:
            return True
        self._election.campaign(on_lost=stop.set)
        return self._election.wait(stop)

    def _supervise(self, factory: InformerFactory, stop: threading.Event) -> None:
        """Begin and end sessions as the SyncTarget comes and goes."""
        name, watch = self._options.sync_target_name, self._watch
        informer = factory.informer(SYNCTARGETS, field_selector=f"metadata.name={name}")
        registration = informer.add_handler(watch)
        factory.start()
        while not stop.is_set():
            self._ticked_at = self._clock.monotonic()
            if registration.synced:
                watch.synced_without()
            verdict = watch.verdict
            if self._session is not None and not self._goes_on(self._session):
                self._ask_at = self._clock.monotonic()
                self._end_session()
            elif self._session is not None and self._has_more_types(self._session):
                self._end_session()
            elif self._session is None and verdict and verdict.has_syncer and self._is_there():
                self._begin_session(verdict, stop)
            else:
                if self._session is not None:
                    self._session.look()
                with self._changed:
                    self._clock.wait(self._changed, _LOOK_SECONDS)

    def _goes_on(self, session: Session) -> bool:
        """Whether a session does what the SyncTarget says by now."""
        if self._watch.verdict is not session.gate.serves or not session.gate.is_open:
            return False
        return session.suspended or session.admission == self._watch.admission

    def _has_more_types(self, session: Session) -> bool:
        """Whether a side serves a type by now that it did not when the session began."""
        if session.suspended or session.types == ALL_TYPES:
            return False
        return self._types_now(session, _DISCOVER_SECONDS).exceeds(session.types)

    def _types_now(self, session: Session, every_seconds: float) -> ServedTypes:
        """Return the types that are served; those of the session if nobody tells now."""
        known = session.types
        now = self._clock.monotonic()
        if now < self._discover_at:
            return known
        self._discover_at = now + every_seconds
        try:
            return self._types(unless_told=known)
        except KcpctlError as error:
            _log.debug("The types of the workspace cannot be read", error=error)
            return known

    def _types(self, *, unless_told: ServedTypes = ALL_TYPES) -> ServedTypes:
        """Return the types that are served; raises what the upstream client raises.

        Discovery is not for everybody. Then it is those of ``unless_told``, and their informers
        will find out. So it is with a cluster that does not answer.
        """
        found = set()
        for resource in SYNCED_RESOURCES:
            try:
                serves = self._upstream.has_resource(resource)
            except Forbidden:
                serves = resource in unless_told.upstream
            if serves:
                found.add(resource)
        return ServedTypes(frozenset(found), self._types_of_cluster(unless_told.downstream))

    def _types_of_cluster(self, unless_told: frozenset[Resource]) -> frozenset[Resource]:
        try:
            with Deadline.within(_CLUSTER_SECONDS, clock=self._clock):
                return frozenset(filter(self._downstream.has_resource, SYNCED_RESOURCES))
        except KcpctlError as error:
            _log.debug("The types of the cluster cannot be read", error=error)
            return unless_told

    def _is_there(self) -> bool:
        """Whether the watch may be believed that the SyncTarget is served.

        Not after a session whose heartbeat found none: with its whole logical cluster gone a watch
        cannot find out. Then the server is asked, now and then.
        """
        now = self._clock.monotonic()
        if self._ask_at is None:
            return True
        if now < self._ask_at:
            return False
        try:
            there = judge(
                self._sync_targets.get(self._options.sync_target_name),
                self._options.sync_target_uid,
            )
        except KcpctlError as error:
            _log.debug("The SyncTarget cannot be read", error=error)
            there = Verdict.GONE
        self._ask_at = None if there.has_syncer else now + _ABSENT_SECONDS
        return self._ask_at is None

    def _on_verdict(self, verdict: Verdict) -> None:
        """Close the gate at once; the supervisor does the rest. Runs on the I/O thread."""
        session = self._session
        if session is not None and not self._goes_on(session):
            served = verdict is Verdict.ACTIVE
            session.gate.close("lets in other objects by now" if served else verdict.value)
        name = self._options.sync_target_name
        if verdict is Verdict.DRAINING:
            _log.info("What is assigned to the SyncTarget leaves the cluster", name=name)
        elif verdict is not Verdict.ACTIVE:
            _log.warning(
                "The SyncTarget is not synced; nothing is touched downstream",
                name=name,
                reason=verdict.value,
            )
        with self._changed:
            self._changed.notify_all()

    def _on_seen(self, sync_target: Unstructured) -> None:
        if (session := self._session) is not None:
            session.conditions.look(sync_target)

    def _new_session(
        self,
        target: Target,
        types: ServedTypes,
        admission: Admission,
        declared: Callable[[], bool] = lambda: True,
        *,
        serves: Verdict = Verdict.ACTIVE,
    ) -> Session:
        return Session(
            Gate(target, self._sync_targets, serves=serves, clock=self._clock),
            self._options,
            upstream=self._upstream,
            downstream=self._downstream,
            identity=self._identity,
            types=types,
            admission=admission,
            declared=declared,
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
        )

    def _begin_session(self, verdict: Verdict, stop: threading.Event) -> None:
        options, watch = self._options, self._watch
        try:
            types = self._types()
        except KcpctlError as error:
            _log.debug("The types of the workspace cannot be read", error=error)
            with self._changed:
                self._clock.wait(self._changed, _ABSENT_SECONDS)
            return
        self._discover_at = self._clock.monotonic() + _AWAITED_SECONDS
        target = Target(watch.cluster, options.sync_target_name, options.sync_target_uid)
        session = self._session = self._new_session(
            target,
            types,
            watch.admission,
            lambda: watch.declares_capacity,
            serves=verdict,
        )
        # The watch sets its verdict before it looks for a session; so one of the two sees it.
        if not self._goes_on(session):
            session.gate.close("is not served any more")

        def wanted() -> bool:
            self._ticked_at = self._clock.monotonic()
            # A kcp that starts refuses everything for a while, discovery too; an informer of what
            # it does not serve would be waited for without end.
            types = self._types_now(session, _AWAITED_SECONDS)
            return not stop.is_set() and types == session.types

        if not session.start(wanted):
            self._end_session()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.stop()

    def run_once(self, stop: threading.Event | None = None) -> None:
        """Sync everything that is assigned, bring the statuses up, and write one heartbeat.

        Raises SyncFailed naming what could not be synced, also when ``stop`` is set before the
        end; GateClosed when the SyncTarget is not the one; and what kept the servers from
        answering.
        """
        stop = stop or threading.Event()
        target, admission = self._read_target()
        deadline = self._clock.monotonic() + self._options.once_timeout_seconds
        session = self._session = self._new_session(target, self._types(), admission)

        def wanted() -> bool:
            return not stop.is_set() and self._clock.monotonic() < deadline

        try:
            if not session.start(wanted, heartbeat=False):
                raise SyncFailed(
                    "nothing was synced, for want of " + "; ".join(session.waiting_for)
                )
            self._settle(session, wanted)
            session.beat()
        finally:
            self._end_session()

    def _read_target(self) -> tuple[Target, Admission]:
        name, uid = self._options.sync_target_name, self._options.sync_target_uid
        try:
            found: Unstructured | None = self._sync_targets.get(name)
        except NotFound:
            found = None
        verdict = judge(found, uid)
        if found is None or verdict is not Verdict.ACTIVE:
            raise GateClosed(
                f"SyncTarget {name!r} in {self._upstream.url} {verdict.value}; "
                "nothing was touched downstream"
            )
        cluster = cluster_of(found["metadata"].get("annotations"), self._upstream.cluster_name)
        return Target(cluster, name, uid), Admission.of(found.get("spec") or {})

    def _settle(self, session: Session, wanted: Callable[[], bool]) -> None:
        while not session.is_settled:
            if session.is_stuck or not wanted():
                raise SyncFailed(_remainder(session.progress.problems, session.progress.unsettled))
            self._clock.sleep(_LOOK_SECONDS / 10)

    def _live(self) -> str:
        """Whether the supervisor and the heartbeat go round. Called on the I/O thread."""
        if self._election is not None and (not self._election.leading or self._election.problem()):
            return self._election.problem()
        now = self._clock.monotonic()
        if now - self._ticked_at > _ALIVE_SLACK_SECONDS:
            return "the supervisor hangs"
        session = self._session
        beats_at = session.reporter.ticked_at if session is not None else now
        if now - beats_at > _ALIVE_SLACK_SECONDS + self._options.heartbeat_interval_seconds:
            return "the heartbeat hangs"
        return ""

    def _ready(self) -> str:
        if self._election is not None and not self._election.leading:
            return ""  # ready to take over
        session = self._session
        if session is None or not session.gate.is_open:
            return f"SyncTarget {self._options.sync_target_name!r} is not served"
        return "" if session.reporter.beats else "no heartbeat was written yet"


def _remainder(problems: Mapping[str, str], unsettled: list[str]) -> str:
    lines = [f"{what}: {why}" for what, why in sorted(problems.items())]
    lines += [f"{what}: not done in time" for what in unsettled if what not in problems]
    more = f"; and {len(lines) - _PROBLEMS_SHOWN} more" if len(lines) > _PROBLEMS_SHOWN else ""
    return "not everything could be synced: " + "; ".join(lines[:_PROBLEMS_SHOWN]) + more
