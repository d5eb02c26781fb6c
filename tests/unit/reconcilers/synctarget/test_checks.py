"""Health is a figure of the conditions, and changes only with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.conditions import Condition
from kcpctl.apis.synctarget_status import HealthCheck
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.reconcilers.synctarget.checks import health_of

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World


def condition(text: str) -> Condition:
    type_, _, rest = text.partition("=")
    status, _, reason = rest.partition("/")
    return Condition(type=type_, status=status, reason=reason, message="for 17 seconds")


@pytest.mark.parametrize(
    ("conditions", "score"),
    [
        (["Valid=True"], 100),
        (["Valid=True", "HeartbeatHealthy=Unknown/NoHeartbeatYet"], 50),
        (["Valid=True", "HeartbeatHealthy=True", "ClusterConnected=False/Unauthorized"], 66),
        (["Valid=False/ValidationFailed"], 0),
        (["Valid=True", "SyncerReady=False/SyncerError", "ResourcesAvailable=True"], 66),
        # Nobody deploys it; and these say something else than how the target is.
        (["Valid=True", "SyncerDeployed=False/NotManaged"], 100),
        (["Valid=True", "Ready=False/Unhealthy", "Schedulable=False/Cordoned"], 100),
    ],
)
def test_the_score_is_the_share_of_what_is_healthy(conditions: list[str], score: int) -> None:
    found = health_of([condition(one) for one in conditions])
    assert found is not None
    assert found.score == score


def test_a_check_tells_the_reason_and_no_figures() -> None:
    found = health_of([condition("HeartbeatHealthy=False/ErrorHeartbeat"), condition("Valid=True")])
    assert found is not None
    assert found.checks == [
        HealthCheck(name="HeartbeatHealthy", healthy=False, message="ErrorHeartbeat"),
        HealthCheck(name="Valid", healthy=True),
    ]


def test_nothing_to_go_by_is_no_health() -> None:
    assert health_of([condition("Ready=False/Terminating")]) is None


def test_it_is_written_with_the_conditions_and_never_alone(world: World) -> None:
    world.make_ready()
    health = world.target().status.health
    assert health is not None
    assert (health.score, len(health.checks)) == (100, 4)
    world.clock.step(61)
    world.reconcile()
    health = world.target().status.health
    assert health is not None
    assert health.score == 75
    assert [call for call in world.up.writes() if "synctargets" in call] != []
    world.reconcile()
    assert world.up.writes() == []


def test_a_condition_of_another_writer_counts_as_soon_as_it_is_there(world: World) -> None:
    world.make_ready()
    path = world.path(SYNCTARGETS, "east")
    obj = world.up.objects[path]
    theirs = {
        "type": "SyncerReady",
        "status": "False",
        "reason": "SyncFailed",
        "severity": "Warning",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = obj["status"]
    world.up.put(path, {**obj, "status": {**status, "conditions": [*status["conditions"], theirs]}})
    world.reconcile()
    health = world.target().status.health
    assert health is not None
    assert (health.score, len(health.checks)) == (80, 5)
    world.take()
    world.reconcile()
    assert world.up.calls == []
