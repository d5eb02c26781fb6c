"""The decisions, as tables and as properties over arbitrary snapshots."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.conditions import READY, Condition, get_condition, set_condition
from kcpctl.apis.meta import ObjectMeta
from kcpctl.apis.synctarget_deployment import Deployment
from kcpctl.apis.synctarget_status import PHASES, SyncTargetStatus
from kcpctl.apis.workload import SyncTarget, SyncTargetSpec
from kcpctl.clusters import ConnectionState, ConnectionStatus
from kcpctl.reconcilers.problem import Problem
from kcpctl.reconcilers.synctarget.health import Heartbeat
from kcpctl.reconcilers.synctarget.rollout import Rollout
from kcpctl.reconcilers.synctarget.status import Decision, Snapshot, decide

NOW = 1_700_000_000.0
RUNNING = Rollout(generation=1, available=1, observed=True)
ROLLING = Rollout(generation=1, observed=True)
FRESH = Heartbeat(age_seconds=5.0, waited_seconds=30.0)


def connection(state: ConnectionState, reason: str = "", message: str = "") -> ConnectionStatus:
    return ConnectionStatus("root|east", state, 0.0, reason, message, server="https://east")


UP = connection(ConnectionState.READY, "Connected")
DOWN = connection(ConnectionState.DISCONNECTED, "Unauthorized", "401")


def target(*, managed: bool = True, deleting: bool = False, **status: Any) -> SyncTarget:
    spec = SyncTargetSpec(cluster="east", cells={"a": "b"}) if managed else SyncTargetSpec()
    return SyncTarget(
        metadata=ObjectMeta(
            name="east",
            uid="u",
            generation=3,
            deletion_timestamp="2026-01-01T00:00:00Z" if deleting else None,
        ),
        spec=spec,
        status=SyncTargetStatus(**status),
    )


def snapshot(**changes: Any) -> Snapshot:
    base = Snapshot(target=target(), connection=UP, rollout=RUNNING, heartbeat=FRESH, now=NOW)
    return msgspec.structs.replace(base, **changes)


def ready(decision: Decision) -> str:
    found = get_condition(decision.status.conditions, READY)
    assert found is not None
    return f"{found.status} {found.reason}"


INVALID = Problem("ValidationFailed", "V1: no")
NO_REF = Problem("ClusterRefNotFound", "no such registration", "Warning")
NO_SECRET = Problem("CredentialsMissing", "no Secret")
SEVERE = Condition(
    type="SyncerReady", status="False", severity="Error", reason="SyncerDisconnected"
)
MILD = Condition(
    type="SyncerAuthorized", status="False", severity="Warning", reason="SyncerUnauthorized"
)

TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("deletion wins over everything", {"target": target(deleting=True), "invalid": INVALID},
     "False Terminating", "Terminating"),
    ("then an invalid spec", {"invalid": INVALID, "connection": DOWN},
     "False ValidationFailed", "Failed"),
    ("a missing registration is one too", {"invalid": NO_REF},
     "False ValidationFailed", "Failed"),
    ("then missing credentials", {"credentials": NO_SECRET, "connection": None,
     "rollout": None}, "False CredentialsMissing", "Deploying"),
    ("then the connection", {"connection": DOWN, "rollout": None},
     "False Unauthorized", "Deploying"),
    ("then a failed deployment", {"rollout": Rollout(error="no rights")},
     "False DeploymentFailed", "Failed"),
    ("which its controller may report", {"rollout": Rollout(observed=True, failure="quota")},
     "False DeploymentFailed", "Failed"),
    ("or its Pods", {"rollout": Rollout(observed=True, missing_image="no such image")},
     "False ImagePullError", "Failed"),
    ("then a rollout under way", {"rollout": ROLLING}, "False Progressing", "Deploying"),
    ("then what is not known: connection", {"connection": None, "rollout": None},
     "Unknown NotChecked", "Deploying"),
    ("then what is not known: deployment", {"rollout": None}, "Unknown NotChecked", "Deploying"),
    ("then a health check that failed", {"heartbeat": Heartbeat(error="garbage")},
     "Unknown HealthCheckFailed", "NotReady"),
    ("never a heartbeat, in the grace", {"heartbeat": Heartbeat(None, 59.9)},
     "Unknown WaitingForSyncer", "NotReady"),
    ("never a heartbeat, after it", {"heartbeat": Heartbeat(None, 60.0)},
     "False Unhealthy", "NotReady"),
    ("five minutes of silence", {"heartbeat": Heartbeat(300.0, 900.0)},
     "False Unhealthy", "NotReady"),
    ("a severe optional condition", {"target": target(conditions=[SEVERE])},
     "False SyncerDisconnected", "NotReady"),
    ("a mild one does not count", {"target": target(conditions=[MILD])}, "True Ready", "Ready"),
    ("an overdue heartbeat is a warning", {"heartbeat": Heartbeat(61.0, 900.0)},
     "True Ready", "Ready"),
    ("everything fine", {}, "True Ready", "Ready"),
    ("External asks for the heartbeat only",
     {"target": target(managed=False), "connection": None, "rollout": None},
     "True Ready", "Ready"),
    ("External without one", {"target": target(managed=False), "connection": None,
     "rollout": None, "heartbeat": Heartbeat()}, "Unknown WaitingForSyncer", "NotReady"),
    ("scaled to zero is deployed", {"rollout": Rollout(desired=0, observed=True)},
     "True Ready", "Ready"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "wanted", "phase"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_ready_and_phase_follow_decisions_2_and_3(
    changes: dict[str, Any], wanted: str, phase: str
) -> None:
    decision = decide(snapshot(**changes))
    assert ready(decision) == wanted
    assert decision.status.phase == phase


def test_a_target_that_was_ready_and_lost_its_cluster_is_not_ready() -> None:
    was = target(phase="Ready", observed_generation=3)
    lost = decide(snapshot(target=was, connection=DOWN, rollout=None))
    assert lost.status.phase == "NotReady"


def test_a_new_generation_that_rolls_out_is_deploying_again() -> None:
    was = target(phase="Ready", observed_generation=2)
    assert decide(snapshot(target=was, rollout=ROLLING)).status.phase == "Deploying"


def test_an_overdue_heartbeat_is_said_in_the_message() -> None:
    decision = decide(snapshot(heartbeat=Heartbeat(61.0, 900.0)))
    found = get_condition(decision.status.conditions, READY)
    assert found is not None
    assert "overdue" in found.message


@pytest.mark.parametrize(
    ("heartbeat", "seconds"),
    [
        (Heartbeat(10.0, 30.0), 50.0),
        (Heartbeat(90.0, 300.0), 210.0),
        (Heartbeat(300.0, 900.0), 300.0),
        (Heartbeat(None, 20.0), 40.0),
        (Heartbeat(None, 60.0), 300.0),
        (Heartbeat(error="x"), None),
    ],
)
def test_row_74_the_next_look_is_exactly_at_the_next_threshold(
    heartbeat: Heartbeat, seconds: float | None
) -> None:
    assert decide(snapshot(heartbeat=heartbeat)).requeue_after_seconds == seconds


def test_the_grace_of_an_unhealthy_target_is_nothing_to_one_with_a_fresh_heartbeat() -> None:
    healthy = target()
    healthy.spec.eviction_grace_period = "1s"
    decision = decide(snapshot(target=healthy, unhealthy_seconds=1000.0))
    assert decision.requeue_after_seconds == 55.0
    found = get_condition(decision.status.conditions, "Schedulable")
    assert found is not None
    assert found.status == "True"


def test_the_grace_begins_when_the_syncer_is_deployed() -> None:
    waiting = Heartbeat(None, None)
    assert decide(snapshot(heartbeat=waiting)).requeue_after_seconds == 60.0
    not_deployed = decide(snapshot(heartbeat=waiting, rollout=ROLLING))
    assert not_deployed.requeue_after_seconds is None


def test_an_invalid_spec_asks_for_no_requeue_and_keeps_what_was_observed() -> None:
    before = decide(snapshot()).status
    spoilt = msgspec.structs.replace(target(), status=before)
    spoilt.metadata.generation = 4
    decision = decide(snapshot(target=spoilt, invalid=INVALID))
    assert decision.requeue_after_seconds is None
    kept = get_condition(decision.status.conditions, "SyncerDeployed")
    assert kept is not None
    assert (kept.status, kept.observed_generation) == ("True", 3)


def test_the_capacity_of_an_invalid_spec_is_not_copied() -> None:
    wrong = target(capacity={"cpu": "4"})
    wrong.spec.capacity = {"cpu": "-1"}
    invalid = Problem("ValidationFailed", "V3: no")
    assert decide(snapshot(target=wrong, invalid=invalid)).status.capacity == {"cpu": "4"}


def test_a_declared_capacity_is_said_until_it_is_gone_or_somebody_says_more() -> None:
    declaring = target()
    declaring.spec.capacity = {"cpu": "10"}
    status = decide(snapshot(target=declaring)).status
    found = get_condition(status.conditions, "ResourcesAvailable")
    assert found is not None
    assert (found.status, found.reason) == ("True", "Declared")
    assert status.capacity == {"cpu": "10"}
    silent = msgspec.structs.replace(target(), status=status)
    after = decide(snapshot(target=silent)).status.conditions
    assert get_condition(after, "ResourcesAvailable") is None
    full = Condition(type="ResourcesAvailable", status="False", reason="QuotaExceeded")
    theirs = msgspec.structs.replace(declaring, status=SyncTargetStatus(conditions=[full]))
    kept = decide(snapshot(target=theirs)).status.conditions
    assert get_condition(kept, "ResourcesAvailable") == full


def test_from_managed_to_external_the_connection_is_no_longer_told() -> None:
    before = decide(snapshot()).status
    external = SyncTarget(
        metadata=ObjectMeta(name="east", generation=4),
        spec=SyncTargetSpec(
            cluster="east", cells={"a": "b"}, deployment=Deployment(mode="External")
        ),
        status=before,
    )
    after = decide(snapshot(target=external, connection=None, rollout=None)).status
    assert get_condition(after.conditions, "ClusterConnected") is None
    assert after.phase == "Ready"


def test_conditions_of_the_syncer_are_kept() -> None:
    decision = decide(snapshot(target=target(conditions=[MILD], syncer_version="1")))
    assert get_condition(decision.status.conditions, "SyncerAuthorized") == MILD
    assert decision.status.syncer_version == "1"


heartbeats = st.builds(
    Heartbeat,
    st.none() | st.floats(0, 1000),
    st.none() | st.floats(0, 1000),
    st.sampled_from(["", "", "", "garbage"]),
)
connections = st.none() | st.builds(
    connection, st.sampled_from(ConnectionState), st.sampled_from(["ConnectionFailed", "x"])
)
rollouts = st.none() | st.builds(
    Rollout,
    generation=st.integers(1, 3),
    desired=st.integers(0, 2),
    available=st.integers(0, 2),
    observed=st.booleans(),
    failure=st.sampled_from(["", "quota"]),
    error=st.sampled_from(["", "", "refused"]),
)
optional = st.lists(st.sampled_from([SEVERE, MILD]), unique_by=lambda one: one.type)
targets = st.builds(
    target,
    managed=st.booleans(),
    deleting=st.booleans(),
    phase=st.sampled_from(["", *PHASES]),
    observed_generation=st.integers(0, 3),
    conditions=optional,
)
problems = st.sampled_from([None, None, None, INVALID, NO_SECRET])
snapshots = st.builds(
    Snapshot,
    target=targets,
    invalid=st.sampled_from([None, None, INVALID, NO_REF]),
    credentials=problems,
    connection=connections,
    rollout=rollouts,
    heartbeat=heartbeats,
    unhealthy_seconds=st.none() | st.floats(0, 1000),
    now=st.just(NOW),
)


@given(snapshots)
def test_every_snapshot_has_a_phase_and_one_verdict(given_snapshot: Snapshot) -> None:
    status = decide(given_snapshot).status
    assert status.phase in PHASES
    assert [one.type for one in status.conditions].count(READY) == 1
    assert status.conditions[0].type == READY
    assert (status.phase == "Ready") == (status.conditions[0].status == "True")
    deleting = given_snapshot.target.metadata.deletion_timestamp is not None
    assert (status.phase == "Terminating") == deleting


@given(snapshots)
def test_deciding_again_on_what_was_written_changes_nothing(given_snapshot: Snapshot) -> None:
    """A status that is written wakes the controller: that must not make it write again."""
    once = decide(given_snapshot)
    written = msgspec.structs.replace(given_snapshot.target, status=once.status)
    later = msgspec.structs.replace(given_snapshot, target=written, now=NOW + 1000)
    assert decide(later).status == once.status


@given(snapshots)
def test_only_false_has_a_severity_and_all_times_are_set(given_snapshot: Snapshot) -> None:
    for one in decide(given_snapshot).status.conditions:
        if one in (SEVERE, MILD):
            continue
        assert (one.severity != "") <= (one.status == "False")
        assert one.last_transition_time


@given(snapshots)
def test_a_ready_target_has_nothing_against_it(given_snapshot: Snapshot) -> None:
    status = decide(given_snapshot).status
    if status.phase != "Ready":
        return
    against = [
        one.type
        for one in status.conditions
        if one.status != "True" and (one.severity == "Error" or one.status == "Unknown")
    ]
    assert against == []
    age = given_snapshot.heartbeat.age_seconds
    assert age is not None
    assert age < 300


@given(snapshots)
def test_a_requeue_is_in_the_future(given_snapshot: Snapshot) -> None:
    after = decide(given_snapshot).requeue_after_seconds
    assert after is None or after > 0


def test_set_condition_is_what_keeps_the_times() -> None:
    first = decide(snapshot()).status.conditions
    again = set_condition(first, Condition(type=READY, status="True", reason="Ready"), NOW + 5)
    assert again[0].last_transition_time == first[0].last_transition_time


@pytest.mark.parametrize(
    ("reason", "way_out"),
    [
        ("Unauthorized", "put valid credentials into Secret a/b"),
        ("CertificateInvalid", "correct Secret a/b"),
        ("ConnectionFailed", "start the cluster, or correct the server in Secret a/b"),
    ],
)
def test_a_failed_connection_names_its_credentials_and_the_way_out(
    reason: str, way_out: str
) -> None:
    down = connection(ConnectionState.DISCONNECTED, reason, "no")
    decision = decide(snapshot(connection=down, source="Secret a/b", rollout=None))
    for type_ in ("ClusterConnected", "Ready"):
        found = get_condition(decision.status.conditions, type_)
        assert found is not None
        assert found.message == f"no; {way_out}"


CONNECTING = connection(ConnectionState.CONNECTING, "NotChecked")


@pytest.mark.parametrize("was", [UP, DOWN])
@pytest.mark.parametrize("now", ["Pending", "Connecting", "Draining", "Gone"])
def test_a_connection_that_is_made_anew_is_no_news(was: ConnectionStatus, now: str) -> None:
    """A restarted controller begins with this; what it wrote before stands until it knows."""
    anew = connection(ConnectionState(now), "NotChecked")
    rollout = RUNNING if was is UP else None
    before = decide(snapshot(connection=was, rollout=rollout)).status
    again = target()
    again.status = before
    after = decide(snapshot(target=again, connection=anew, rollout=None, now=NOW + 60))
    assert after.status == before


@pytest.mark.parametrize("state", list(ConnectionState))
def test_each_state_of_a_connection_has_its_condition(state: ConnectionState) -> None:
    decision = decide(snapshot(connection=connection(state, "ConnectionFailed", "no")))
    found = get_condition(decision.status.conditions, "ClusterConnected")
    assert found is not None
    expected = "Unknown"
    if state in {"Syncing", "Ready", "Degraded"}:
        expected = "True"
    elif state is ConnectionState.DISCONNECTED:
        expected = "False"
    assert found.status == expected
    assert ("first connection" in found.message) == (state in {"Pending", "Connecting"})


@pytest.mark.parametrize("change", ["generation", "credentials", "never connected"])
def test_a_new_connection_is_news_after_a_change(change: str) -> None:
    again = target()
    was = (
        snapshot(credentials=NO_SECRET, connection=None)
        if change == "credentials"
        else (snapshot(connection=None) if change == "never connected" else snapshot())
    )
    again.status = decide(was).status
    if change == "generation":
        again.metadata.generation = 4
    after = decide(snapshot(target=again, connection=CONNECTING, rollout=None))
    found = get_condition(after.status.conditions, "ClusterConnected")
    assert found is not None
    assert (found.status, found.reason) == ("Unknown", "NotChecked")


def test_a_suspension_that_the_syncer_tells_of_leaves_ready() -> None:
    theirs = Condition(type="SyncerReady", status="False", severity="Info", reason="Suspended")
    decision = decide(snapshot(target=target(conditions=[theirs])))
    assert get_condition(decision.status.conditions, "SyncerReady") == theirs
    assert ready(decision) == "True Ready"
    verdict = get_condition(decision.status.conditions, READY)
    assert verdict is not None
    assert "suspended" in verdict.message


def test_what_the_syncer_fails_at_is_told_and_ready_stays() -> None:
    theirs = Condition(type="SyncerReady", status="False", severity="Warning", reason="SyncFailed")
    decision = decide(snapshot(target=target(conditions=[theirs])))
    assert ready(decision) == "True Ready"
    verdict = get_condition(decision.status.conditions, READY)
    assert verdict is not None
    assert verdict.message.endswith("not everything is synced (SyncFailed)")
