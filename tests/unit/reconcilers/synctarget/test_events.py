"""Events are for transitions only (2.10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.conditions import Condition, false, true
from kcpctl.apis.synctarget_status import SyncTargetStatus
from kcpctl.reconcilers.synctarget.conditions import not_all_synced, valid_condition
from kcpctl.reconcilers.synctarget.events import transitions


def status(*conditions: str) -> SyncTargetStatus:
    """Return a status with conditions such as ``Valid=False/ValidationFailed``."""
    parsed = []
    for one in conditions:
        type_, _, rest = one.partition("=")
        value, _, reason = rest.partition("/")
        parsed.append(Condition(type=type_, status=value, reason=reason, message="why"))
    return SyncTargetStatus(conditions=parsed)


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ("", "Valid=True/Valid", "Normal Validated"),
        ("", "Valid=False/ValidationFailed", "Warning ValidationFailed"),
        ("Valid=True/Valid", "Valid=False/ClusterRefNotFound", "Warning ClusterRefNotFound"),
        ("Valid=False/ValidationFailed", "Valid=True/Valid", "Normal Validated"),
        ("", "ClusterConnected=True/Connected", ""),
        ("", "ClusterConnected=False/ConnectionFailed", "Warning ConnectionFailed"),
        (
            "ClusterConnected=False/ConnectionFailed",
            "ClusterConnected=False/Unauthorized",
            "Warning Unauthorized",
        ),
        (
            "SyncerDeployed=False/Progressing",
            "SyncerDeployed=True/Deployed",
            "Normal SyncerDeployed",
        ),
        ("", "SyncerDeployed=True/NotManaged", ""),
        ("", "SyncerDeployed=False/Progressing", ""),
        ("", "SyncerDeployed=False/DeploymentFailed", "Warning DeploymentFailed"),
        (
            "SyncerDeployed=False/Progressing",
            "SyncerDeployed=False/ImagePullError",
            "Warning ImagePullError",
        ),
        ("Schedulable=True/Schedulable", "Schedulable=False/Cordoned", "Normal Cordoned"),
        ("Schedulable=False/Cordoned", "Schedulable=False/Evicting", "Warning EvictionStarted"),
        ("Schedulable=False/Evicting", "Schedulable=False/Evicted", "Normal Drained"),
        ("Schedulable=False/Evicted", "Schedulable=False/Cordoned", ""),
        ("Schedulable=False/Evicted", "Schedulable=True/Schedulable", "Normal Uncordoned"),
        ("", "Schedulable=True/Schedulable", ""),
        ("", "Schedulable=True/EvictAfterIgnored", "Warning EvictAfterIgnored"),
        ("HeartbeatHealthy=Unknown/NoHeartbeatYet", "HeartbeatHealthy=True/HeartbeatReceived", ""),
        (
            "HeartbeatHealthy=True/HeartbeatReceived",
            "HeartbeatHealthy=False/ErrorHeartbeat",
            "Warning HeartbeatMissed",
        ),
        (
            "HeartbeatHealthy=False/ErrorHeartbeat",
            "HeartbeatHealthy=True/HeartbeatReceived",
            "Normal HeartbeatResumed",
        ),
        ("Ready=Unknown/WaitingForSyncer", "Ready=True/Ready", "Normal Ready"),
        ("Ready=True/Ready", "Ready=False/Unhealthy", ""),
        ("Ready=True/Ready", "Ready=False/SyncerDisconnected", "Warning SyncerDisconnected"),
        ("Ready=False/SyncerDisconnected", "Ready=False/SyncerDisconnected", ""),
    ],
)
def test_each_transition_has_its_event(before: str, after: str, event: str) -> None:
    old = status(before) if before else status()
    found = [f"{one.type} {one.reason}" for one in transitions(old, status(after))]
    assert found == ([event] if event else [])


texts = st.lists(
    st.sampled_from(
        [
            "Valid=True/Valid",
            "ClusterConnected=False/Unauthorized",
            "SyncerDeployed=True/Deployed",
            "HeartbeatHealthy=False/ErrorHeartbeat",
            "Ready=True/Ready",
        ]
    ),
    unique=True,
)


def test_fields_without_effect_are_told_when_they_are_set_and_when_others_are() -> None:
    def valid(*ignored: str) -> SyncTargetStatus:
        return SyncTargetStatus(conditions=[valid_condition(None, ignored)])

    def reasons(old: SyncTargetStatus, new: SyncTargetStatus) -> list[str]:
        return [one.reason for one in transitions(old, new)]

    assert reasons(status(), valid("spec.a")) == ["Validated", "FieldsIgnored"]
    assert reasons(valid(), valid("spec.a")) == ["FieldsIgnored"]
    assert reasons(valid("spec.a"), valid("spec.a", "spec.b")) == ["FieldsIgnored"]
    assert reasons(valid("spec.a"), valid("spec.a")) == []
    assert reasons(valid("spec.a"), valid()) == []


@given(texts)
def test_a_status_that_stays_has_no_events(conditions: list[str]) -> None:
    assert transitions(status(*conditions), status(*conditions)) == []


def test_what_the_syncer_fails_at_is_told_once() -> None:
    """Its condition is in both statuses; what the controller made of it is not."""

    def failing(reason: str, told: str) -> SyncTargetStatus:
        message = not_all_synced(told) if told else ""
        return SyncTargetStatus(
            conditions=[
                true("Ready", "Ready", message),
                false("SyncerReady", "Warning", reason, "shop/web"),
            ]
        )

    def events(old: SyncTargetStatus, new: SyncTargetStatus) -> list[tuple[str, str, str]]:
        return [(one.type, one.reason, one.message) for one in transitions(old, new)]

    once = [("Warning", "SyncFailed", "shop/web")]
    assert events(failing("SyncFailed", ""), failing("SyncFailed", "SyncFailed")) == once
    assert events(failing("SyncFailed", "SyncFailed"), failing("SyncFailed", "SyncFailed")) == []
    assert events(
        failing("NamespaceCollision", "SyncFailed"),
        failing("NamespaceCollision", "NamespaceCollision"),
    ) == [("Warning", "NamespaceCollision", "shop/web")]
