"""The shell, against two servers in memory. Row numbers are those of synctarget.md 5.2."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.naming import sync_target_key
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, PODS, SECRETS, SERVICE_ACCOUNTS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.clusters import ConnectionState
from kcpctl.controller import Request
from kcpctl.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    TerminalError,
    TooManyRequests,
    TransportError,
)
from kcpctl.reconcilers.turns import Postponed
from kcpctl.runtime import Deadline

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

STATUS = "PATCH /apis/workload.kcp.io/v1alpha1/synctargets/east/status"
MAIN = STATUS.removesuffix("/status")


def test_row_68_an_external_target_is_reported_and_a_second_pass_writes_nothing(
    world: World,
) -> None:
    world.add_target(kcpCluster="root:test")
    assert world.reconcile() is None
    assert world.up.writes() == [MAIN]
    assert world.reconcile() == 60.0
    assert world.up.writes() == [STATUS]
    assert world.condition("Ready") == "Unknown WaitingForSyncer"
    assert world.condition("SyncerDeployed") == "True NotManaged"
    assert world.reconcile() == 60.0
    assert world.up.calls == []


def test_row_69_supported_api_exports_alone_are_valid(world: World) -> None:
    world.add_target(supportedAPIExports=[{"export": "kubernetes"}])
    world.reconcile()
    world.reconcile()
    assert world.condition("Valid") == "True Valid"


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"cells": {"location": "east"}}, "V1"),
        ({"location": "nowhere"}, "V1"),
        ({"cluster": "east"}, "V2"),
        ({"cluster": "east", "cells": {"a": "b"}, "capacity": {"cpu": "-4"}}, "V3"),
    ],
)
def test_row_70_an_invalid_spec_is_one_status_write_and_then_peace(
    world: World, spec: dict[str, Any], rule: str
) -> None:
    world.add_target(**spec)
    world.reconcile()
    world.up.writes()

    assert world.reconcile() is None
    assert world.up.writes() == [STATUS]
    assert world.condition("Valid") == "False ValidationFailed"
    assert world.message("Valid").startswith(f"{rule}: ")
    assert world.condition("Ready") == "False ValidationFailed"
    assert world.target().status.phase == "Failed"
    assert world.recorder.take() == ["Warning ValidationFailed"]
    assert world.reconcile() is None
    assert world.up.calls == []


def test_row_70_a_mended_spec_goes_on(world: World) -> None:
    world.add_secret()
    world.add_target(cluster="east")
    world.reconcile()
    world.reconcile()
    world.change_spec(cells={"location": "east"})
    world.reconcile()
    assert world.condition("Valid") == "True Valid"
    assert world.target().status.phase == "Deploying"


def test_row_71_the_happy_path(world: World) -> None:
    world.add_secret()
    world.add_target()
    world.reconcile()
    phases = []
    steps: list[Callable[[], None]] = [lambda: None, world.connect, world.roll_out, world.beat]
    for step in steps:
        step()
        world.reconcile()
        phases.append(world.target().status.phase)
    assert phases == ["Deploying", "Deploying", "NotReady", "Ready"]
    assert {one.type: f"{one.status} {one.reason}" for one in world.target().status.conditions} == {
        "Ready": "True Ready",
        "Valid": "True Valid",
        "ClusterConnected": "True Connected",
        "SyncerDeployed": "True Deployed",
        "HeartbeatHealthy": "True HeartbeatReceived",
        "Schedulable": "True Schedulable",
    }
    assert world.target().status.observed_generation == world.target().metadata.generation
    assert world.recorder.take() == [
        "Normal Validated",
        "Normal SyncerDeployed",
        "Normal Ready",
    ]


def test_a_second_pass_over_a_ready_target_makes_no_call_at_all(world: World) -> None:
    world.make_ready()
    assert world.reconcile() == pytest.approx(60.0)
    assert world.up.calls == []
    assert world.down.calls == []


def test_a_heartbeat_on_a_ready_target_makes_no_call_at_all(world: World) -> None:
    world.make_ready()
    world.clock.step(20)
    world.beat()
    assert world.reconcile() == pytest.approx(60.0)
    assert world.up.calls == []
    assert world.down.calls == []


def test_the_first_pass_writes_finalizer_and_key_and_nothing_else(world: World) -> None:
    """Decision 5."""
    world.add_target()
    assert world.reconcile() is None
    assert world.up.calls == [MAIN]
    meta = world.target().metadata
    assert meta.finalizers == ["workload.kcp.io/synctarget"]
    assert meta.labels["internal.workload.kcp.io/key"] == sync_target_key("root", "east")


def test_the_older_finalizer_is_replaced(world: World) -> None:
    world.add_target()
    path = world.path(SYNCTARGETS, "east")
    world.up.objects[path]["metadata"]["finalizers"] = ["workload.kcp.io/synctarget-cleanup", "x"]
    world.reconcile()
    assert world.target().metadata.finalizers == ["x", "workload.kcp.io/synctarget"]


def test_row_72_a_deploy_error_is_reported_raised_and_its_time_stays(world: World) -> None:
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.reconcile()
    world.connect()
    world.down.errors["/deployments/"] = Forbidden("no rights on deployments")
    with pytest.raises(Forbidden):
        world.reconcile()
    assert world.condition("SyncerDeployed") == "False DeploymentFailed"
    assert "no rights on deployments" in world.message("SyncerDeployed")
    assert world.condition("Ready") == "False DeploymentFailed"
    assert world.target().status.phase == "Failed"
    since = world.since("SyncerDeployed")
    world.up.writes()

    world.clock.step(30)
    with pytest.raises(Forbidden):
        world.reconcile()
    assert world.since("SyncerDeployed") == since
    assert STATUS not in world.up.writes()

    world.down.errors.clear()
    world.reconcile()
    assert world.condition("SyncerDeployed") == "False Progressing"


def test_a_write_that_the_workspace_has_not_accepted_is_told_with_the_claim(world: World) -> None:
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.connect()
    world.reconcile()
    world.connect()
    details = {"kind": "serviceaccounts", "name": "x"}
    world.up.errors["/serviceaccounts/"] = Forbidden("not for you", details=details)
    world.hints["root", "serviceaccounts"] = "accept the claim in the APIBinding 'kcpctl'"
    with pytest.raises(Forbidden):
        world.reconcile()
    assert world.message("SyncerDeployed") == (
        "The syncer could not be deployed: not for you; accept the claim in the APIBinding 'kcpctl'"
    )


BUSY = [TooManyRequests, ServiceUnavailable, Conflict, TransportError]


def test_a_cluster_has_a_minute_for_what_a_pass_asks_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_ready()
    kept = []

    def ensure(*_: object) -> None:
        kept.append(Deadline.current())
        raise DeadlineExceeded("not done within 60 s")

    monkeypatch.setattr(world.reconciler._deployer, "ensure", ensure)
    with pytest.raises(DeadlineExceeded):
        world.reconcile()
    assert kept != [None]
    assert Deadline.current() is None
    assert world.condition("SyncerDeployed") == "True Deployed"


def test_a_pass_whose_turn_it_is_not_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_ready()
    world.change_spec(unschedulable=True)
    world.up.writes()

    def turn(*_: object) -> None:
        raise Postponed(1.0)

    monkeypatch.setattr(world.reconciler._turns, "turn", turn)
    assert world.reconcile() == 1.0
    assert world.up.writes() == []


@pytest.mark.parametrize("error", BUSY)
def test_a_server_that_is_busy_delays_a_deployment_and_is_told_of(
    world: World, error: type[Exception]
) -> None:
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.connect()
    world.reconcile()
    world.connect()
    world.take()
    world.down.errors["/deployments/"] = error("slow down")
    with pytest.raises(error):
        world.reconcile()
    assert world.condition("ClusterConnected") == "True Connected"
    assert world.condition("SyncerDeployed") == "Unknown DeploymentDelayed"
    assert world.message("SyncerDeployed") == "The syncer could not be deployed yet: slow down"
    assert world.recorder.take() == []
    world.down.errors.clear()
    world.reconcile()
    assert world.condition("SyncerDeployed") == "False Progressing"


@pytest.mark.parametrize("error", BUSY)
def test_a_server_that_is_busy_says_nothing_against_a_syncer_that_runs(
    world: World, error: type[Exception]
) -> None:
    world.make_ready()
    world.change_spec(deployment={"image": "next"})
    world.down.errors["/deployments/"] = error("slow down")
    with pytest.raises(error):
        world.reconcile()
    assert world.condition("SyncerDeployed") == "True Deployed"
    assert world.condition("Ready") == "True Ready"
    # Its heartbeat is looked at all the same.
    world.clock.step(301)
    with pytest.raises(error):
        world.reconcile()
    assert world.condition("Ready") == "False Unhealthy"


def test_row_73_five_minutes_of_silence_are_unhealthy_and_a_beat_mends_it(world: World) -> None:
    world.make_ready()
    world.clock.step(299)
    world.reconcile()
    assert world.condition("Ready") == "True Ready"
    assert world.condition("HeartbeatHealthy") == "False ErrorHeartbeat"
    world.clock.step(2)
    world.reconcile()
    assert world.condition("Ready") == "False Unhealthy"
    assert world.target().status.phase == "NotReady"
    world.beat()
    world.reconcile()
    assert world.condition("Ready") == "True Ready"
    assert world.recorder.take() == [
        "Warning HeartbeatMissed",
        "Normal HeartbeatResumed",
        "Normal Ready",
    ]


def test_row_74_the_requeue_is_exactly_at_the_expiry(world: World) -> None:
    world.make_ready()
    world.clock.step(10)
    assert world.reconcile() == pytest.approx(50.0)
    world.clock.step(80)
    assert world.reconcile() == pytest.approx(210.0)
    assert world.condition("HeartbeatHealthy") == "False ErrorHeartbeat"
    world.clock.step(210)
    assert world.reconcile() == pytest.approx(300.0)  # the grace of an unhealthy target
    world.clock.step(300)
    # What is left is the renewal of the token, hours away.
    assert (world.reconcile() or 0) > 3600


def test_row_75_a_heartbeat_that_cannot_be_read_is_unknown(world: World) -> None:
    world.make_ready()
    path = world.path(SYNCTARGETS, "east")
    world.up.objects[path]["status"]["lastSyncerHeartbeatTime"] = "yesterday"
    world.reconcile()
    assert world.condition("Ready") == "Unknown HealthCheckFailed"


def test_row_76_a_key_with_a_namespace_is_an_error_and_dropped(world: World) -> None:
    with pytest.raises(TerminalError, match="cluster-scoped"):
        world.reconciler.reconcile(Request.from_key("root|default/east"))


def test_row_77_a_deleted_object_is_no_error_and_leaves_nothing(world: World) -> None:
    assert world.reconcile("gone") is None
    assert world.up.calls == []
    assert world.pool.removed == ["root|gone"]
    assert world.rollouts.stopped == ["root|gone"]


def test_row_78_a_status_write_goes_to_the_status_endpoint_with_both_guards(world: World) -> None:
    world.make_ready()
    before = world.target().metadata
    world.clock.step(61)
    world.reconcile()
    (line, body), *others = world.up.bodies
    assert (line, others) == (STATUS, [])
    assert body["metadata"] == {"uid": before.uid, "resourceVersion": before.resource_version}
    assert "lastHeartbeatTime" not in body["status"]
    assert "lastSyncerHeartbeatTime" not in body["status"]


def test_an_object_that_changed_meanwhile_is_a_conflict_and_no_event(world: World) -> None:
    world.make_ready()
    world.clock.step(61)
    world.up.errors[STATUS] = Conflict("changed")
    with pytest.raises(Conflict):
        world.reconcile()
    assert world.recorder.take() == []


def test_row_79_the_same_name_in_two_workspaces_never_crosses(workspaces: World) -> None:
    workspaces.make_ready(cluster="one")
    assert {path.split("/")[2] for path in workspaces.up.objects} == {"one"}
    workspaces.add_target(workspace="two")
    workspaces.reconcile(cluster="two")
    workspaces.reconcile(cluster="two")

    # The Secret of workspace one is not found from two.
    assert workspaces.condition("ClusterConnected", cluster="two") == "False CredentialsMissing"
    assert workspaces.condition("Ready", cluster="one") == "True Ready"
    assert all("/clusters/two/" in call for call in workspaces.up.calls)
    assert all(line.startswith("two/east ") for line in workspaces.recorder.lines)
    one, two = workspaces.target(cluster="one"), workspaces.target(cluster="two")
    key = "internal.workload.kcp.io/key"
    assert one.metadata.labels[key] != two.metadata.labels[key]


def test_row_80_another_image_changes_the_deployment_once(world: World) -> None:
    world.make_ready()
    world.change_spec(deployment={"image": "example.com/syncer:2"})
    world.reconcile()
    world.reconcile()
    applied = [call for call in world.down.writes() if "/deployments/" in call]
    assert len(applied) == 1
    assert world.recorder.take() == ["Normal SyncerUpdated"]
    assert world.condition("SyncerDeployed") == "False Progressing"
    assert world.target().status.phase == "Deploying"


def test_row_80_another_capacity_is_copied_and_deploys_nothing(world: World) -> None:
    world.make_ready()
    world.change_spec(capacity={"cpu": "8"})
    world.reconcile()
    assert world.target().status.capacity == {"cpu": "8"}
    assert world.down.writes() == []
    world.change_spec(capacity=None)
    world.reconcile()
    # From now on it is the syncer's to write what it finds.
    assert world.target().status.capacity == {"cpu": "8"}


def test_row_82_a_cluster_that_goes_and_comes_back(world: World) -> None:
    world.make_ready()
    world.disconnect()
    world.reconcile()
    assert world.condition("ClusterConnected") == "False ConnectionFailed"
    assert world.condition("SyncerDeployed") == "Unknown ClusterUnreachable"
    assert world.condition("Ready") == "False ConnectionFailed"
    assert world.target().status.phase == "NotReady"
    assert world.rollouts.stopped[-1] == "root|east"
    assert world.recorder.take() == ["Warning ConnectionFailed"]

    world.connect()
    world.reconcile()
    assert world.condition("Ready") == "True Ready"
    assert world.down.writes() == []


def test_row_83_the_controller_never_writes_the_heartbeat(world: World) -> None:
    world.make_ready()
    for seconds in (61, 300, 1):
        world.clock.step(seconds)
        world.reconcile()
    world.beat()
    world.reconcile()
    for _, body in world.up.bodies:
        status = (body or {}).get("status", {})
        assert "lastSyncerHeartbeatTime" not in status
        assert "lastHeartbeatTime" not in status
        assert "lastSyncTime" not in status


def test_never_a_heartbeat_is_unknown_in_the_grace_and_unhealthy_after_it(world: World) -> None:
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.reconcile()
    world.connect()
    world.reconcile()
    world.roll_out()
    assert world.reconcile() == pytest.approx(60.0)
    assert world.condition("Ready") == "Unknown WaitingForSyncer"
    world.clock.step(59)
    assert world.reconcile() == pytest.approx(1.0)
    world.clock.step(1)
    world.reconcile()
    assert world.condition("Ready") == "False Unhealthy"
    assert world.condition("HeartbeatHealthy") == "False HeartbeatMissing"


def test_a_jump_of_the_wall_clock_changes_nothing(world: World) -> None:
    """Decision 4."""
    world.make_ready()
    for jump in (3600, -7200):
        world.clock.jump(jump)
        world.reconcile()
        assert world.up.calls == []


def test_a_restarted_controller_trusts_the_stamp_it_finds_if_no_other_comes(world: World) -> None:
    world.make_ready()
    world.clock.step(239)
    world.reconciler = world.new_reconciler()
    assert world.reconcile() == pytest.approx(60.0)
    assert world.condition("HeartbeatHealthy") == "True HeartbeatReceived"
    world.clock.step(60)
    assert world.reconcile() == pytest.approx(1.0)
    assert world.condition("HeartbeatHealthy") == "False ErrorHeartbeat"
    assert world.condition("Ready") == "True Ready"
    world.clock.step(1)
    world.reconcile()
    assert world.condition("Ready") == "False Unhealthy"
    world.reconciler = world.new_reconciler()
    world.up.calls.clear()
    world.reconcile()
    assert world.up.writes() == []


def test_a_controller_whose_clock_is_an_hour_ahead_takes_over(world: World) -> None:
    """Not a single healthy target becomes unhealthy for that."""
    world.make_ready()
    world.clock.jump(3600)
    world.reconciler = world.new_reconciler()
    world.reconcile()
    assert world.up.writes() == []
    assert world.condition("Ready") == "True Ready"


def test_a_restarted_controller_reads_the_tokens_age_and_writes_nothing(world: World) -> None:
    world.make_ready()
    world.reconciler = world.new_reconciler()
    world.reconcile()
    assert world.down.writes() == []
    assert world.up.writes() == []


def test_a_token_is_renewed_when_a_fifth_is_left_and_only_its_secret_changes(
    world: World,
) -> None:
    """Decision 12."""
    world.make_ready()
    deployment = next(path for path in world.down.objects if "/deployments/" in path)
    version = world.down.objects[deployment]["metadata"]["resourceVersion"]
    secret = next(path for path in world.down.objects if "/secrets/" in path)
    before = world.down.objects[secret]["data"]

    world.clock.step(0.8 * 86_400 - 1)
    world.beat()
    world.reconcile()
    assert world.down.writes() == []
    assert world.reconcile() == pytest.approx(1.0)
    world.clock.step(1)
    world.reconcile()
    assert world.down.writes() == [f"PATCH {secret}"]
    assert world.down.objects[secret]["data"] != before
    assert world.down.objects[deployment]["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "CredentialsMissing", "is empty"),
        (b"garbage", "InvalidConfiguration", "is not a kubeconfig"),
        (None, "CredentialsMissing", "does not exist"),
    ],
)
def test_a_secret_that_is_missing_empty_or_garbage_is_named(
    world: World, content: bytes | None, reason: str, words: str
) -> None:
    if content is not None:
        world.add_secret(content)
    world.add_target()
    world.reconcile()
    world.reconcile()
    assert world.condition("ClusterConnected") == f"False {reason}"
    message = world.message("ClusterConnected")
    assert words in message
    assert "kcpctl-system/east-kubeconfig" in message
    assert "'root'" in message
    assert world.condition("Ready") == f"False {reason}"
    assert world.condition("SyncerDeployed") == "Unknown ClusterUnreachable"
    assert world.target().status.phase == "Deploying"
    world.take()
    assert world.reconcile() is None
    assert world.up.calls == []


def test_a_kubeconfig_that_is_no_use_leaves_the_one_before_it_in_use(world: World) -> None:
    world.make_ready()
    world.add_secret(b"garbage")
    for _ in range(2):
        world.reconcile()
    assert world.condition("ClusterConnected") == "True NewCredentialsFailed"
    message = world.message("ClusterConnected")
    assert message.startswith("Connected to https://east with the credentials of before; the new")
    assert "kcpctl-system/east-kubeconfig" in message
    assert message.endswith("; correct the kubeconfig there")
    assert world.condition("Ready") == "True Ready"
    assert world.recorder.take() == ["Warning NewCredentialsFailed"]
    assert not world.down.calls
    world.add_secret()
    world.reconcile()
    assert world.condition("ClusterConnected") == "True Connected"
    assert world.recorder.take() == []


def test_credentials_that_are_refused_while_those_before_them_work_are_told_once(
    world: World,
) -> None:
    world.make_ready()
    since = world.since("ClusterConnected")
    refused = (ConnectionState.DEGRADED, "Unauthorized", "degraded")
    world.pool.set("root|east", *refused, rotation="401 from https://east")
    for _ in range(2):
        world.clock.step(20)
        world.beat()
        world.reconcile()
    assert world.condition("ClusterConnected") == "True NewCredentialsFailed"
    assert world.since("ClusterConnected") == since
    told = "the new ones fail: 401 from https://east; put valid credentials into key"
    assert told in world.message("ClusterConnected")
    assert world.recorder.take() == ["Warning NewCredentialsFailed"]


def test_a_connection_that_is_lost_meanwhile_is_not_kept_for_a_kubeconfig_that_is_no_use(
    world: World,
) -> None:
    world.make_ready()
    world.add_secret(b"garbage")
    world.disconnect()
    world.reconcile()
    assert world.condition("ClusterConnected") == "False InvalidConfiguration"
    assert "root|east" not in world.pool.kubeconfigs


def test_a_connection_is_not_kept_for_a_kubeconfig_from_elsewhere(world: World) -> None:
    """It may be of another cluster."""
    spec: dict[str, Any] = {"cells": {"location": "east"}}
    for number, content in enumerate((b"good", b"garbage")):
        world.add_secret(content, name=f"secret-{number}")
    world.add_target(**spec, connection={"kubeconfigSecretRef": {"name": "secret-0"}})
    world.reconcile()
    world.reconcile()
    world.connect()
    world.reconcile()
    assert world.condition("ClusterConnected") == "True Connected"
    world.change_spec(connection={"kubeconfigSecretRef": {"name": "secret-1"}})
    world.reconcile()
    assert world.condition("ClusterConnected") == "False InvalidConfiguration"


def test_what_is_kept_of_a_logical_cluster_is_dropped_with_it(workspaces: World) -> None:
    for cluster in ("one", "two"):
        workspaces.make_ready(cluster=cluster)
    workspaces.reconciler.remove(lambda key: key.startswith("one|"))
    assert [belongs("one|east") for belongs in workspaces.rollouts.removed] == [True]
    assert len(workspaces.reconciler._observer._seen) == 1
    assert len(workspaces.reconciler._deployer._tokens) == 1


def test_a_secret_that_is_mended_connects(world: World) -> None:
    world.add_secret(b"garbage")
    world.add_target()
    world.reconcile()
    world.reconcile()
    world.add_secret()
    world.reconcile()
    assert world.condition("ClusterConnected") == "Unknown NotChecked"
    assert world.pool.kubeconfigs == {"root|east": b"apiVersion: v1\nkind: Config\n"}


def test_a_cluster_ref_without_registration_is_not_valid_until_it_comes(world: World) -> None:
    world.add_secret(name="reg-secret")
    world.add_target(clusterRef={"name": "reg"}, cells={"location": "east"})
    world.reconcile()
    world.reconcile()
    assert world.condition("Valid") == "False ClusterRefNotFound"
    world.add(
        CLUSTER_REGISTRATIONS,
        "reg",
        spec={"location": "x", "kubeconfigSecret": {"name": "reg-secret"}},
    )
    world.reconcile()
    assert world.condition("Valid") == "True Valid"
    assert "root|east" in world.pool.kubeconfigs


def test_an_external_target_gets_no_identity_and_no_connection(world: World) -> None:
    world.add_target(kcpCluster="root:test")
    world.reconcile()
    world.reconcile()
    assert world.up.names("serviceaccounts") == []
    assert world.pool.kubeconfigs == {}
    assert world.condition("ClusterConnected") == ""
    world.beat()
    world.reconcile()
    assert world.condition("Ready") == "True Ready"
    assert world.target().status.phase == "Ready"


def test_the_identity_upstream_belongs_to_the_target(world: World) -> None:
    world.make_ready()
    (name,) = world.up.names("serviceaccounts")
    account = world.up.objects[SERVICE_ACCOUNTS.path(namespace="kcpctl-system", name=name)]
    (owner,) = account["metadata"]["ownerReferences"]
    assert owner["uid"] == world.target().metadata.uid


def test_a_namespace_of_somebody_else_is_used_but_not_marked(world: World) -> None:
    world.add_secret()
    world.add_target(cluster="east", cells={"location": "east"}, deployment={"namespace": "shared"})
    path = world.add_downstream(resource_namespace(), "shared")
    world.reconcile()
    world.reconcile()
    world.connect()
    world.reconcile()
    assert "labels" not in world.down.objects[path]["metadata"]
    deployments = [path for path in world.down.objects if "/deployments/" in path]
    assert len(deployments) == 1
    assert "/namespaces/shared/" in deployments[0]


def deploy_in(world: World, namespace: str) -> None:
    """Let the target's syncer be in that namespace."""
    world.change_spec(deployment={"namespace": namespace})
    world.reconcile()


def namespaces(world: World) -> list[str]:
    """Return the names of the cluster's namespaces."""
    return [
        obj["metadata"]["name"] for obj in world.down.objects.values() if obj["kind"] == "Namespace"
    ]


def syncers_places(world: World) -> set[str]:
    """Return the namespaces that the syncer's own objects are in."""
    uid = world.target().metadata.uid
    return {
        obj["metadata"].get("namespace", "")
        for obj in world.down.objects.values()
        if obj["metadata"].get("labels", {}).get("workload.kcp.io/synctarget-uid") == uid
    }


def test_another_namespace_takes_the_old_one_away_with_all_that_is_in_it(world: World) -> None:
    world.make_ready()
    (before,) = namespaces(world)
    deploy_in(world, "first")
    assert namespaces(world) == ["first"]
    assert world.down.names("deployments") == [before]
    assert syncers_places(world) == {"", "first"}
    deploy_in(world, "second")
    assert syncers_places(world) == {"", "second"}
    world.reconcile()
    world.take()
    world.reconcile()
    assert world.down.calls == []


def test_the_old_syncer_ends_before_the_new_one_begins(world: World) -> None:
    world.make_ready()
    deploy_in(world, "next")
    about = [call for call in world.down.writes() if "/deployments/" in call]
    assert [call.split()[0] for call in about] == ["DELETE", "PATCH"]
    assert "/namespaces/next/" in about[1]


def test_pruning_takes_nothing_of_others(world: World) -> None:
    world.make_ready()
    other = {"labels": {"workload.kcp.io/synctarget-uid": "another", "app": "x"}}
    world.add_downstream(resource_namespace(), "theirs")
    deploy_in(world, "theirs")
    kept = {
        world.add_downstream(DEPLOYMENTS, "another-syncer", "theirs", metadata=dict(other)),
        world.add_downstream(SECRETS, "unmarked", "theirs"),
        world.add_downstream(resource_namespace(), "labelled", metadata=dict(other)),
    }
    deploy_in(world, "next")
    assert kept <= set(world.down.objects)
    assert "theirs" in namespaces(world)
    assert syncers_places(world) == {"", "next"}


def test_on_a_server_that_is_both_pruning_leaves_the_identity_upstream(world: World) -> None:
    world.make_ready()
    (name,) = world.up.names("serviceaccounts")
    path = SERVICE_ACCOUNTS.path(namespace="kcpctl-system", name=name)
    world.down.put(path, world.up.objects[path])
    deploy_in(world, "next")
    assert path in world.down.objects


def test_an_old_namespace_of_ours_that_others_moved_into_stays(world: World) -> None:
    world.make_ready()
    deploy_in(world, "ours")
    world.add_downstream(SERVICE_ACCOUNTS, "default", "ours")
    theirs = world.add_downstream(SECRETS, "theirs", "ours")
    deploy_in(world, "next")
    assert theirs in world.down.objects
    assert world.down.objects["/api/v1/namespaces/ours"]["metadata"]["labels"] == {}


def test_what_the_server_makes_in_every_namespace_keeps_none(world: World) -> None:
    world.make_ready()
    deploy_in(world, "ours")
    world.add_downstream(SERVICE_ACCOUNTS, "default", "ours")
    world.add_downstream(CONFIG_MAPS, "kube-root-ca.crt", "ours")
    world.add_downstream(SECRETS, "t", "ours", type="kubernetes.io/service-account-token")
    deploy_in(world, "next")
    assert namespaces(world) == ["next"]


def test_a_pod_of_the_old_syncer_that_still_ends_keeps_no_namespace(world: World) -> None:
    world.make_ready()
    deploy_in(world, "ours")
    marks = {"labels": {"workload.kcp.io/synctarget-uid": world.target().metadata.uid}}
    world.add_downstream(PODS, "syncer-1", "ours", metadata=marks)
    deploy_in(world, "next")
    assert namespaces(world) == ["next"]


@pytest.mark.parametrize("number", range(24))
def test_a_prune_that_is_cut_off_anywhere_is_done_again(world: World, number: int) -> None:
    world.make_ready()
    world.change_spec(deployment={"namespace": "next"})
    world.cut_off_call(number)
    for _ in range(4):
        try:
            world.reconcile()
        except ServiceUnavailable:
            world.reconciler = world.new_reconciler()
    assert syncers_places(world) == {"", "next"}
    assert namespaces(world) == ["next"]


def deploy_external(world: World) -> tuple[str, str]:
    """Deploy with --syncer-auth external; return the syncer's id, the namespace's name too."""
    world.options = replace(world.options, syncer_auth="external")
    world.reconciler = world.new_reconciler()
    world.add_secret()
    world.add_target()
    for _ in range(2):
        world.reconcile()
    world.connect()
    world.reconcile()
    (name,) = world.down.names("deployments")
    return name, SECRETS.path(namespace=name, name=name)


def test_with_external_auth_no_token_is_made_and_no_secret_touched(world: World) -> None:
    name, secret = deploy_external(world)
    assert not [call for call in world.up.calls if call.endswith("/token")]
    assert not [call for call in world.down.writes() if "/secrets/" in call]
    assert world.condition("SyncerDeployed") == "False WaitingForSecret"
    assert world.target().status.phase == "Deploying"
    told = world.message("SyncerDeployed")
    assert told.startswith(f"The Secret '{name}' in namespace '{name}' of the cluster does not")
    assert "https://upstream:6443 there under the key 'kubeconfig'" in told
    assert world.up.names("serviceaccounts") == [name]
    assert secret not in world.down.objects


def test_with_external_auth_a_secret_without_its_key_is_named(world: World) -> None:
    name, _ = deploy_external(world)
    path = world.add_downstream(SECRETS, name, name, data={"config": "eA=="})
    before = copy.deepcopy(world.down.objects[path])
    world.reconcile()
    assert "has no key 'kubeconfig'; put a kubeconfig for" in world.message("SyncerDeployed")
    world.down.put(path, {**before, "data": {"kubeconfig": "eA=="}})
    world.reconcile()
    assert world.condition("SyncerDeployed") == "False Progressing"


def test_with_external_auth_a_running_syncer_costs_no_call_and_no_renewal(world: World) -> None:
    deploy_external(world)
    world.roll_out()
    world.beat()
    world.reconcile()
    assert world.condition("Ready") == "True Ready"
    world.take()
    assert world.reconcile() == pytest.approx(60.0)  # the heartbeat's expiry, not a token's
    world.clock.step(90_000)
    world.reconcile()
    assert world.down.calls == []
    assert not [call for call in world.up.calls if call.endswith("/token")]


def test_the_secret_of_external_auth_goes_with_the_syncers_own_namespace(world: World) -> None:
    name, _ = deploy_external(world)
    world.add_downstream(SECRETS, name, name, data={"kubeconfig": "eA=="})
    world.roll_out()
    deploy_in(world, "next")
    assert namespaces(world) == ["next"]


def test_changing_to_external_auth_changes_the_deployment_once_and_leaves_the_secret(
    world: World,
) -> None:
    world.make_ready()
    (name,) = world.down.names("secrets")
    secret = copy.deepcopy(world.down.objects[SECRETS.path(namespace=name, name=name)])
    world.options = replace(world.options, syncer_auth="external")
    world.reconciler = world.new_reconciler()
    world.reconcile()
    world.down.calls.clear()
    world.reconcile()
    assert world.down.writes() == []
    assert world.down.objects[SECRETS.path(namespace=name, name=name)] == secret


def resource_namespace() -> Any:
    from kcpctl.apis.resource import NAMESPACES

    return NAMESPACES


def test_a_secret_that_was_taken_away_downstream_comes_back(world: World) -> None:
    """A restarted controller sees that the running syncer has lost its kubeconfig."""
    world.make_ready()
    secret = next(path for path in world.down.objects if "/secrets/" in path)
    del world.down.objects[secret]
    world.reconciler = world.new_reconciler()
    world.reconcile()
    assert secret in world.down.objects


def test_secrets_are_never_in_events_or_conditions(world: World) -> None:
    world.add_secret(b"garbage s3cret-token")
    world.add_target()
    world.reconcile()
    world.reconcile()
    told = [one.message for one in world.target().status.conditions] + world.recorder.lines
    assert not [text for text in told if "s3cret-token" in text]


def test_the_deployment_is_what_the_watch_looks_at(world: World) -> None:
    world.make_ready()
    paths = [path for path in world.down.objects if f"/{DEPLOYMENTS.plural}/" in path]
    assert len(paths) == 1
    assert world.down.names(SECRETS.plural) == [paths[0].rpartition("/")[2]]


@pytest.mark.parametrize("number", range(20))
def test_a_deployment_that_is_cut_off_anywhere_is_simply_done_again(
    world: World, number: int
) -> None:
    """A crash between any two writes of the deploy sequence: every point, enumerated."""
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.reconcile()
    world.connect()
    world.cut_off_call(number)
    steps: list[Callable[[], None]] = [lambda: None, world.roll_out, world.beat, lambda: None]
    for step in steps:
        step()
        try:
            world.reconcile()
        except ServiceUnavailable:
            world.reconciler = world.new_reconciler()
            world.reconcile()
    assert world.condition("Ready") == "True Ready"
    assert len(world.down.names("deployments")) == 1
    assert len(world.up.names("serviceaccounts")) == 1


@pytest.mark.parametrize("edit", ["replicas", "image"])
def test_a_deployment_that_somebody_edited_is_put_right(world: World, edit: str) -> None:
    world.make_ready()
    path = next(path for path in world.down.objects if "/deployments/" in path)
    edited = copy.deepcopy(world.down.objects[path])
    if edit == "replicas":
        edited["spec"]["replicas"] = 0
    else:
        edited["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    world.down.put(path, edited)
    world.reconcile()
    assert f"PATCH {path}" in world.down.writes()
    assert world.down.objects[path]["spec"]["replicas"] == 1
    world.reconcile()
    assert world.down.writes() == []


def test_a_target_that_goes_while_its_status_is_written_is_no_error(world: World) -> None:
    world.make_ready()
    world.clock.step(61)
    world.up.errors[STATUS] = NotFound("gone")
    world.reconcile()
    assert world.recorder.take() == []


def test_other_options_count_from_the_next_pass_on(world: World) -> None:
    world.make_ready()
    world.clock.step(20)
    assert world.reconcile() == pytest.approx(40)
    shorter = replace(world.options, heartbeat_threshold_seconds=15, unhealthy_threshold_seconds=30)
    world.reconciler.options = shorter
    assert world.reconcile() == pytest.approx(10)
    assert world.condition("HeartbeatHealthy") == "False ErrorHeartbeat"


def test_another_image_by_default_rolls_the_syncers_out_that_name_none(world: World) -> None:
    world.make_ready()
    world.reconciler.options = replace(world.options, syncer_image="kcpctl-syncer:2")
    world.reconcile()
    (deployment,) = (obj for path, obj in world.down.objects.items() if "/deployments/" in path)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "kcpctl-syncer:2"
