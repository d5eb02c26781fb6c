"""Leader election: the elector on a fake clock, against a Lease in memory."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.client import AsyncClient, ClientConfig, WriteGate
from kcpctl.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    KcpctlError,
    LeadershipLost,
    NotFound,
    NotLeading,
    TransportError,
    UsageError,
)
from kcpctl.manager.election import Election
from kcpctl.manager.election.elector import LeaderElector
from kcpctl.manager.election.metrics import ElectionMetrics
from kcpctl.manager.election.options import ElectionOptions, new_identity
from kcpctl.manager.election.record import LeaderRecord
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock


class MemoryLease:
    """One Lease with versions, watchers, and faults."""

    def __init__(self) -> None:
        self.lease: Unstructured | None = None
        self.version = 10
        self.broken: KcpctlError | None = None
        self.hangs = False
        self.watchable = True
        self.uncreatable: KcpctlError | None = None
        self.unwatchable: KcpctlError = TransportError("no watch")
        self.calls: list[str] = []
        self._history: list[Unstructured | None] = []
        self._news = asyncio.Event()

    async def _begin(self, call: str) -> None:
        self.calls.append(call)
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken is not None:
            raise self.broken

    def put(self, lease: Unstructured | None) -> Unstructured | None:
        self.version += 1
        if lease is not None:
            metadata = {**lease["metadata"], "resourceVersion": str(self.version)}
            lease = {**lease, "metadata": metadata}
        self.lease = lease
        self._history.append(lease)
        self._news.set()
        self._news = asyncio.Event()
        return lease

    def held_by(self, holder: str, seconds: int = 15, renewed: str = "then") -> None:
        record = LeaderRecord(holder, seconds, "then", renewed, 3)
        self.put(record.into({"metadata": {"name": "lease", "labels": {"a": "b"}}}, {}))

    @property
    def record(self) -> LeaderRecord:
        return LeaderRecord.of(self.lease or {})

    async def read(self) -> Unstructured:
        await self._begin("read")
        if self.lease is None:
            raise NotFound("no lease")
        return self.lease

    async def create(self, lease: Unstructured) -> Unstructured:
        await self._begin("create")
        if self.uncreatable is not None:
            raise self.uncreatable
        if self.lease is not None:
            raise AlreadyExists("there is one")
        made = self.put(lease)
        assert made is not None
        return made

    async def update(self, lease: Unstructured) -> Unstructured:
        await self._begin("update")
        if self.lease is None:
            raise NotFound("no lease")
        if self.lease["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            raise Conflict("another version")
        made = self.put(lease)
        assert made is not None
        return made

    async def changes(self, resource_version: str) -> AsyncGenerator[Unstructured | None, None]:
        await self._begin("watch")
        if not self.watchable:
            raise self.unwatchable
        seen = len(self._history) - (self.version - int(resource_version))
        while True:
            news = self._news
            while seen < len(self._history):
                seen += 1
                yield self._history[seen - 1]
            await news.wait()


class Contender:
    """An elector and what it said."""

    def __init__(self, clock: FakeClock, api: MemoryLease, name: str, **options: Any) -> None:
        self.metrics = Metrics()
        self.gate = WriteGate(clock)
        self.leaders: list[str] = []
        self.elector = LeaderElector(
            api,
            ElectionOptions(name="lease", namespace="ns", identity=name, **options),
            self.gate,
            clock=clock,
            rng=random.Random(1),
            metrics=ElectionMetrics(
                self.metrics, "lease", remaining_seconds=lambda: self.gate.remaining_seconds
            ),
            on_leader=self.leaders.append,
        )
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        self.task = asyncio.ensure_future(self._run())
        return self.task

    async def _run(self) -> None:
        await self.elector.campaign()
        await self.elector.hold()

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
        await self.elector.release()

    @property
    def lost(self) -> str:
        assert self.task is not None
        error = self.task.exception() if self.task.done() else None
        return str(error) if isinstance(error, LeadershipLost) else ""


class Race:
    """The clock, the Lease and the contenders of a test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = MemoryLease()
        self.contenders: list[Contender] = []

    def contender(self, name: str = "one", **options: Any) -> Contender:
        made = Contender(self.clock, self.api, name, **options)
        self.contenders.append(made)
        return made

    async def leader(self, name: str = "one", **options: Any) -> Contender:
        contender = self.contender(name, **options)
        contender.begin()
        await self.settle()
        assert contender.elector.leading
        return contender

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def pass_seconds(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(int(seconds / step)):
            self.clock.step(step)
            await self.settle()


@pytest.fixture
async def race() -> Any:
    race = Race()
    yield race
    race.api.broken, race.api.hangs = None, False
    for contender in race.contenders:
        await contender.end()


# The settings.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lease_seconds": 10}, "longer than the renew deadline"),
        ({"retry_seconds": 9}, "times the retry period"),
        ({"retry_seconds": 0}, "longer than zero"),
        ({"renew_deadline_seconds": -1}, "longer than zero"),
        ({"lease_seconds": 15.5}, "whole seconds"),
        ({"identity": ""}, "an identity"),
    ],
)
def test_durations_that_cannot_work_are_refused(wrong: dict[str, Any], says: str) -> None:
    """LE-02."""
    with pytest.raises(UsageError, match=says):
        ElectionOptions(**{"name": "lease", "namespace": "ns", "identity": "me", **wrong})


def test_the_defaults_are_those_of_the_field() -> None:
    """LE-01."""
    options = ElectionOptions(name="lease", namespace="ns", identity="me")

    durations = (options.lease_seconds, options.renew_deadline_seconds, options.retry_seconds)
    assert durations == (15, 10, 2)


def test_no_two_processes_have_one_identity() -> None:
    assert new_identity() != new_identity()


def test_a_lease_keeps_what_an_election_does_not_know() -> None:
    """LE-19, LE-20."""
    lease = {
        "metadata": {"name": "lease", "labels": {"theirs": "1"}},
        "spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "other"},
    }
    record = LeaderRecord("me", 15, "then", "now", 3)

    written = record.into(lease, {"ours": "2"})

    assert LeaderRecord.of(written) == record
    assert written["metadata"]["labels"] == {"theirs": "1", "ours": "2"}
    assert written["spec"]["strategy"] == "OldestEmulationVersion"
    assert written["spec"]["preferredHolder"] == "other"


# Winning.


async def test_whoever_finds_no_lease_makes_one(race: Race) -> None:
    """LE-04."""
    one = await race.leader("one", labels={"app": "mine"})

    assert race.api.record.holder == "one"
    assert race.api.record.lease_seconds == 15
    assert race.api.record.transitions == 0
    assert race.api.lease is not None
    assert race.api.lease["metadata"]["labels"] == {"app": "mine"}
    assert one.leaders == ["one"]


async def test_a_lease_that_others_renew_is_left_alone(race: Race) -> None:
    """LE-05, LE-06: as long as it changes, whatever its times say."""
    race.api.held_by("other")
    one = race.contender()
    one.begin()
    await race.settle()

    for number in range(10):
        await race.pass_seconds(10)
        race.api.held_by("other", renewed=f"renewal {number}")
        await race.settle()

    assert not one.elector.leading
    assert one.leaders == ["other"]  # LE-14: once
    assert "update" not in race.api.calls


async def test_a_lease_is_taken_one_duration_after_it_was_last_seen_to_change(race: Race) -> None:
    """LE-06, LE-07: a newcomer has to see it unchanged for all of its duration."""
    race.api.held_by("other", seconds=15, renewed="1990-01-01T00:00:00.000000Z")
    one = race.contender()
    one.begin()
    await race.settle()

    await race.pass_seconds(14.5)
    assert one.leaders == ["other"]
    await race.pass_seconds(0.5)

    assert one.elector.leading
    assert race.api.record.holder == "one"
    assert race.api.record.transitions == 4
    assert one.leaders == ["other", "one"]


async def test_a_jump_of_the_wall_clock_changes_nothing(race: Race) -> None:
    """LE-06."""
    race.api.held_by("other")
    one = race.contender()
    one.begin()
    await race.settle()

    race.clock.jump(3600)
    await race.pass_seconds(14)

    assert not one.elector.leading


async def test_a_released_lease_is_taken_at_once(race: Race) -> None:
    one, two = await race.leader("one"), race.contender("two")
    two.begin()
    await race.settle()

    await one.end()
    await race.settle()  # no time passes

    assert two.elector.leading
    assert race.api.record.holder == "two"


async def test_a_deleted_lease_is_made_again_at_once(race: Race) -> None:
    race.api.held_by("other")
    one = race.contender()
    one.begin()
    await race.settle()

    race.api.put(None)
    await race.settle()

    assert one.elector.leading


async def test_of_two_that_reach_for_it_one_wins(race: Race) -> None:
    """LE-08: writes carry the version that was read."""
    contenders = [race.contender(name) for name in ("one", "two", "three")]
    for contender in contenders:
        contender.begin()
    await race.settle()
    await race.pass_seconds(60)

    assert [contender.elector.leading for contender in contenders].count(True) == 1


async def test_without_a_watch_it_is_asked_every_retry_period(race: Race) -> None:
    """LE-03."""
    race.api.held_by("other", seconds=60)
    race.api.watchable = False
    one = race.contender()
    one.begin()
    await race.settle()

    await race.pass_seconds(24)

    # Every 2 to 2.4 seconds, and once at the beginning.
    assert 10 <= race.api.calls.count("read") <= 13
    race.api.held_by("")
    await race.pass_seconds(2.5)
    assert one.elector.leading


async def test_a_lease_of_before_an_outage_is_taken_without_a_word(
    race: Race, caplog: pytest.LogCaptureFixture
) -> None:
    race.api.held_by("gone")
    race.api.watchable, race.api.unwatchable = False, Gone("too old resource version: 1 (9)")
    one = race.contender()
    one.begin()
    await race.settle()

    await race.pass_seconds(18)

    assert one.elector.leading
    assert caplog.records == []


async def test_an_election_waits_for_a_server_that_is_down(race: Race) -> None:
    race.api.broken = TransportError("down")
    one = race.contender()
    one.begin()
    await race.settle()
    await race.pass_seconds(600, step=1)
    assert len(race.api.calls) <= 300

    race.api.broken = None
    await race.pass_seconds(2.5)

    assert one.elector.leading


# Holding.


async def test_the_leader_renews_every_retry_period(race: Race) -> None:
    """LE-09, LE-10: in one request, and acquire time and transitions stay."""
    await race.leader()
    acquired = race.api.record.acquired
    race.api.calls.clear()

    await race.pass_seconds(20)

    assert race.api.calls == ["update"] * 10
    assert race.api.record.acquired == acquired
    assert race.api.record.renewed > acquired
    assert race.api.record.transitions == 0


async def test_a_lease_that_somebody_labelled_is_read_and_renewed(race: Race) -> None:
    """LE-10: counted as the slow path."""
    one = await race.leader()
    race.api.put(race.api.lease)
    race.api.calls.clear()

    await race.pass_seconds(2)

    assert race.api.calls == ["update", "read", "update"]
    assert one.elector.leading
    assert b'leader_election_slowpath_total{name="lease"} 1.0' in one.metrics.render()


async def test_a_lease_that_somebody_deleted_is_made_again_by_its_leader(race: Race) -> None:
    one = await race.leader()
    race.api.put(None)

    await race.pass_seconds(2)

    assert one.elector.leading
    assert race.api.record.holder == "one"


async def test_a_deleted_lease_that_cannot_be_made_again_is_tried_until_the_deadline(
    race: Race,
) -> None:
    """As while a kcp starts: its rights are not known yet."""
    one = await race.leader()
    race.api.put(None)
    race.api.uncreatable = Forbidden("not yet")
    await race.pass_seconds(6)
    race.api.uncreatable = None
    await race.pass_seconds(2)
    assert (one.elector.leading, race.api.record.holder) == (True, "one")

    race.api.put(None)
    race.api.uncreatable = Forbidden("never again")
    await race.pass_seconds(14)
    assert "was not renewed for 10s" in one.lost


async def test_a_leader_that_finds_another_holder_has_lost_at_once(race: Race) -> None:
    one = await race.leader()
    race.api.held_by("usurper")

    await race.pass_seconds(2)

    assert "usurper" in one.lost
    assert not one.elector.leading
    assert one.gate.remaining_seconds == 0
    assert b'leader_election_master_status{name="lease"} 0.0' in one.metrics.render()


@pytest.mark.parametrize("fault", ["refused", "hangs"])
async def test_leadership_is_lost_at_the_renew_deadline(race: Race, fault: str) -> None:
    """LE-11."""
    one = await race.leader()
    if fault == "refused":
        race.api.broken = TransportError("down")
    else:
        race.api.hangs = True

    await race.pass_seconds(9.5)
    assert not one.lost
    await race.pass_seconds(1)

    assert "not renewed for 10s" in one.lost
    assert one.gate.remaining_seconds == 0


async def test_a_short_outage_is_survived(race: Race) -> None:
    one = await race.leader()
    race.api.broken = TransportError("down")
    await race.pass_seconds(7)
    race.api.broken = None
    await race.pass_seconds(20)

    assert one.elector.leading
    assert one.gate.remaining_seconds > 10


# The gate.


async def test_the_gate_is_open_while_leading_and_closes_before_others_may_take_over(
    race: Race,
) -> None:
    """LE-17, LE-24."""
    one = await race.leader("one")
    one.gate.check("PATCH", "a write")
    race.api.hangs = True  # a process that is stopped does not renew either
    others_may_at = race.clock.boottime() + 15

    await race.pass_seconds(12.5)
    one.gate.check("GET", "a read")
    await race.pass_seconds(0.5)

    assert race.clock.boottime() <= others_may_at - 2
    with pytest.raises(NotLeading, match="a write was not sent"):
        one.gate.check("PATCH", "a write")
    one.gate.check("GET", "a read")


async def test_the_gate_counts_from_before_the_renewal_was_sent(race: Race) -> None:
    one = await race.leader("one")
    race.api.hangs = True
    await race.pass_seconds(4)
    left = one.gate.remaining_seconds

    assert left == 15 - 2 - 4


def test_a_closed_gate_stays_closed() -> None:
    clock = FakeClock()
    gate = WriteGate(clock)
    gate.open_until(clock.boottime() + 10)
    gate.close()
    gate.open_until(clock.boottime() + 10)

    with pytest.raises(NotLeading):
        gate.check("POST", "a write")


# Giving back.


async def test_release_empties_the_holder_for_others(race: Race) -> None:
    """LE-15, LE-16: it reads first."""
    one = await race.leader()
    race.api.calls.clear()

    await one.end()

    assert race.api.calls == ["read", "update"]
    assert race.api.record.holder == ""
    assert race.api.record.lease_seconds == 1
    assert one.gate.remaining_seconds == 0


async def test_release_leaves_the_lease_of_another_alone(race: Race) -> None:
    """LE-16."""
    one = await race.leader()
    race.api.held_by("other")

    await one.end()

    assert race.api.record.holder == "other"


async def test_release_tries_again_after_a_conflict(race: Race) -> None:
    """LE-16."""
    one = await race.leader()
    update = race.api.update

    async def conflict_once(lease: Unstructured) -> Unstructured:
        race.api.update = update  # type: ignore[method-assign]
        raise Conflict("somebody labelled it")

    race.api.update = conflict_once  # type: ignore[method-assign]
    await one.end()

    assert race.api.record.holder == ""


async def test_release_gives_up_after_two_seconds(race: Race) -> None:
    """LE-16, mended: the renew deadline is too long for a process that is to end."""
    one = await race.leader()
    race.api.hangs = True
    ending = asyncio.ensure_future(one.end())
    await race.settle()

    await race.pass_seconds(1.5)
    assert not ending.done()
    await race.pass_seconds(1)

    assert ending.done()


async def test_a_contender_that_never_led_releases_nothing(race: Race) -> None:
    race.api.held_by("other")
    one = race.contender()
    one.begin()
    await race.settle()
    race.api.calls.clear()

    await one.end()

    assert race.api.calls == []


async def test_no_request_follows_the_end(race: Race) -> None:
    """LE-12."""
    one = await race.leader()
    await one.end()
    race.api.calls.clear()

    await race.pass_seconds(60)

    assert race.api.calls == []


# Health.


async def test_it_is_unhealthy_to_believe_to_lead_with_a_lease_that_ran_out(race: Race) -> None:
    """LE-18."""
    one = await race.leader()
    assert one.elector.problem() == ""

    race.clock.step(16)  # nothing runs meanwhile, as in a process that hangs

    assert "ran out" in one.elector.problem()
    await one.end()
    assert one.elector.problem() == ""


@pytest.mark.parametrize("seed", range(20))
async def test_two_never_lead_at_once(race: Race, seed: int) -> None:
    """Whatever is refused, hangs or conflicts: gates are never open together."""
    rng = random.Random(seed)
    contenders = [race.contender(name) for name in ("one", "two", "three")]
    running = list(contenders)
    for contender in contenders:
        contender.begin()
    faults: list[Callable[[], object]] = [
        lambda: setattr(race.api, "broken", TransportError("down")),
        lambda: setattr(race.api, "hangs", True),
        lambda: race.api.put(race.api.lease),
        lambda: setattr(race.api, "watchable", rng.random() < 0.5),
    ]
    for _ in range(80):
        race.api.broken, race.api.hangs = None, False
        if rng.random() < 0.5:
            rng.choice(faults)()
        if rng.random() < 0.03 and len(running) > 1:
            await running.pop().end()
        await race.pass_seconds(rng.choice([1, 3, 8]))
        assert sum(one.gate.remaining_seconds > 0 for one in contenders) <= 1


def test_an_elector_that_fails_on_a_bug_ends_the_run_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_: LeaderElector) -> None:
        raise KeyError("metadata")

    monkeypatch.setattr(LeaderElector, "campaign", fail)
    connect = partial(AsyncClient.plain, ClientConfig(server="http://127.0.0.1:1"))
    options = ElectionOptions(name="lease", namespace="ns", identity="one")
    election, stop = Election(connect, options, WriteGate()), threading.Event()
    election.campaign(on_lost=stop.set)
    assert not election.wait(stop)
    election.close()
    with pytest.raises(LeadershipLost, match="KeyError"):
        election.check()
