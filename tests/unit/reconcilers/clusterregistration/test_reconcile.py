"""ClusterRegistrations: connecting, looking, making SyncTargets, letting go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import Forbidden, Invalid, ServiceUnavailable
from kcpctl.reconcilers.clusterregistration.reconcile import FINALIZER, pool_key
from kcpctl.reconcilers.clusterregistration.sync_target import FIELD_MANAGER

if TYPE_CHECKING:
    from tests.unit.reconcilers.clusterregistration.conftest import Registry

SYNC_TARGET = "synctarget-east"


# Connecting and looking.


def test_the_finalizer_comes_before_anything_else(registry: Registry) -> None:
    registry.add()

    assert registry.reconcile() is None

    assert registry.stored["metadata"]["finalizers"] == [FINALIZER]
    assert registry.world.pool.kubeconfigs == {}


def test_missing_credentials_are_told_with_the_way_out(registry: Registry) -> None:
    registry.add()
    registry.reconcile()
    registry.reconcile()

    assert registry.condition("Connected") == ("False", "CredentialsMissing")
    assert registry.condition("Ready") == ("False", "CredentialsMissing")
    assert registry.condition("Healthy") == ("Unknown", "NotConnected")
    assert registry.status["phase"] == "Failed"
    assert "kubectl -n kcpctl-system create secret" in str(registry.status)
    assert registry.world.recorder.take() == ["Warning CredentialsMissing"]


def test_garbage_credentials_are_told(registry: Registry) -> None:
    registry.world.add_secret(b"garbage")
    registry.add()
    registry.reconcile()
    registry.reconcile()

    assert registry.condition("Connected") == ("False", "InvalidConfiguration")


def test_a_cluster_is_registered_then_ready(registry: Registry) -> None:
    registry.world.add_secret()
    registry.add_node("one")
    registry.add()
    registry.reconcile()
    registry.reconcile()
    assert registry.status["phase"] == "Registered"

    registry.connect()
    assert registry.reconcile() == 30

    assert registry.status["phase"] == "Ready"
    assert registry.condition("Connected") == ("True", "Connected")
    assert registry.condition("Healthy") == ("True", "Healthy")
    assert registry.world.recorder.take() == ["Normal Ready"]


def test_what_was_found_is_in_the_status(registry: Registry) -> None:
    registry.add_node("one")
    registry.add_node("two", ready=False)
    registry.add_node("three", cordoned=True)
    registry.make_ready()

    status = registry.status

    assert status["capacity"] == {"cpu": "12", "memory": "48Gi"}
    assert status["allocatable"] == {"cpu": "3500m", "memory": "15Gi"}
    assert status["capabilities"]["kubernetesVersion"] == "v1.36.0"
    assert status["capabilities"]["nodeCount"] == 3
    assert status["capabilities"]["supportedAPIVersions"] == ["apps/v1", "v1"]
    assert status["capabilities"]["availableResources"] == ["deployments.apps"]
    assert status["lastHeartbeatTime"]


def test_a_declared_capacity_wins(registry: Registry) -> None:
    registry.add_node("one")
    registry.make_ready(capacity={"cpu": "100"})

    assert registry.status["capacity"] == {"cpu": "100"}
    assert registry.status["allocatable"] == {"cpu": "3500m", "memory": "15Gi"}


def test_a_second_pass_makes_no_request(registry: Registry) -> None:
    registry.add_node("one")
    registry.make_ready(createSyncTarget=True)
    registry.reconcile()
    registry.world.up.calls.clear()
    registry.world.down.calls.clear()

    registry.reconcile()

    assert registry.world.up.calls == []
    assert registry.world.down.calls == []


def test_at_rest_it_looks_each_interval_and_writes_every_five_minutes(registry: Registry) -> None:
    registry.add_node("one")
    registry.make_ready(healthCheckInterval="1m")
    for _ in range(10):
        registry.world.clock.step(registry.reconcile() or 0)

    assert registry.world.down.calls.count("GET /apis") == 9
    assert len(registry.world.up.writes()) == 1


@pytest.mark.parametrize(("asked", "seconds"), [("1ns", 1.0), ("0s", 30.0), ("2s", 2.0)])
def test_no_interval_is_so_short_that_it_keeps_a_worker_busy(
    registry: Registry, asked: str, seconds: float
) -> None:
    registry.make_ready(healthCheckInterval=asked)
    assert registry.reconcile() == seconds


def test_figures_that_hardly_move_are_not_written(registry: Registry) -> None:
    for number in range(200):
        registry.add_node(f"node-{number}")
    registry.make_ready()
    registry.add_node("node-200")
    registry.world.clock.step(30)

    registry.reconcile()

    # The number of Nodes is news, half a percent of their capacity is not.
    assert registry.status["capabilities"]["nodeCount"] == 201
    assert registry.status["capacity"]["cpu"] == "800"


def test_a_cluster_that_is_gone_is_failed_and_keeps_what_was_found(registry: Registry) -> None:
    registry.add_node("one")
    registry.make_ready()
    registry.disconnect()

    registry.reconcile()

    assert registry.status["phase"] == "Failed"
    assert registry.condition("Connected") == ("False", "ConnectionFailed")
    assert registry.condition("Healthy") == ("Unknown", "NotConnected")
    assert registry.status["capacity"] == {"cpu": "4", "memory": "16Gi"}
    assert registry.world.recorder.take() == ["Warning ConnectionFailed"]
    assert registry.world.down.calls == []


def test_a_restart_of_the_controllers_is_no_news(registry: Registry) -> None:
    registry.make_ready()
    registry.world.pool.statuses.clear()
    registry.world.pool.kubeconfigs.clear()

    registry.reconcile()

    assert registry.condition("Connected") == ("True", "Connected")
    assert registry.world.up.writes() == []


def test_a_cluster_that_answers_with_errors_is_not_healthy(registry: Registry) -> None:
    registry.make_ready()
    registry.world.down.errors["/apis"] = ServiceUnavailable("too busy")
    registry.world.clock.step(30)
    registry.reconcile()
    assert registry.condition("Healthy") == ("False", "HealthCheckFailed")
    assert registry.status["phase"] == "Failed"

    registry.world.down.errors.clear()
    registry.reconcile()

    assert registry.condition("Healthy") == ("True", "Healthy")
    assert registry.status["phase"] == "Ready"


def test_without_the_right_to_list_nodes_it_is_ready_without_figures(registry: Registry) -> None:
    registry.world.down.errors["/nodes"] = Forbidden("no")
    registry.make_ready()

    assert registry.status["phase"] == "Ready"
    assert "capacity" not in registry.status
    assert "may not list nodes" in str(registry.status["conditions"])


def test_a_server_of_long_ago_tells_its_versions_only(registry: Registry) -> None:
    registry.world.down.served["/apis"] = {
        "kind": "APIGroupList",
        "groups": [{"name": "apps", "versions": [{"version": "v1"}]}],
    }
    registry.make_ready()

    assert registry.status["capabilities"]["supportedAPIVersions"] == ["apps/v1", "v1"]
    assert "availableResources" not in registry.status["capabilities"]


def test_one_that_is_gone_is_forgotten(registry: Registry) -> None:
    registry.make_ready()
    registry.world.up.objects.clear()

    assert registry.reconcile() is None

    assert registry.world.pool.statuses == {}
    assert len(registry.reconciler._looks) == 0


# The SyncTarget.


def test_a_sync_target_is_made_on_request(registry: Registry) -> None:
    registry.make_ready(
        createSyncTarget=True,
        labels={"region": "eu"},
        capacity={"cpu": "10"},
        taints=[{"key": "gpu", "effect": "NoSchedule"}],
    )

    made = registry.world.up.objects[registry.world.path(SYNCTARGETS, SYNC_TARGET)]

    assert made["spec"] == {
        "clusterRef": {"name": "east"},
        "cells": {"location": "eu"},
        "location": "eu",
        "capacity": {"cpu": "10"},
        "taints": [{"key": "gpu", "effect": "NoSchedule"}],
    }
    assert made["metadata"]["labels"] == {"region": "eu"}
    [owner] = made["metadata"]["ownerReferences"]
    assert owner["uid"] == registry.stored["metadata"]["uid"]
    assert registry.status["syncTargetRef"] == {"name": SYNC_TARGET}
    assert registry.condition("SyncTargetCreated") == ("True", "Created")


def test_a_location_that_is_no_label_is_none_of_the_cells(registry: Registry) -> None:
    registry.make_ready(createSyncTarget=True, location="Frankfurt am Main")
    made = registry.world.up.objects[registry.world.path(SYNCTARGETS, SYNC_TARGET)]
    assert made["spec"]["cells"] == {"location": "east"}
    assert made["spec"]["location"] == "Frankfurt am Main"


def test_a_sync_target_that_the_server_refuses_is_told_and_not_tried_for_ever(
    registry: Registry,
) -> None:
    registry.world.up.errors["/synctargets/"] = Invalid('metadata.labels: Invalid value: "a b"')
    registry.make_ready(createSyncTarget=True, labels={"a b": "c"})
    assert registry.condition("SyncTargetCreated") == ("False", "Refused")
    assert registry.condition("Ready") == ("True", "Ready")


def test_a_negative_capacity_is_said(registry: Registry) -> None:
    registry.add(capacity={"cpu": "-4"})
    registry.reconcile()
    registry.reconcile()
    assert registry.condition("Ready") == ("False", "InvalidConfiguration")
    assert registry.status["phase"] == "Failed"


def test_a_change_of_the_registration_reaches_its_sync_target(registry: Registry) -> None:
    registry.make_ready(createSyncTarget=True)
    registry.add(createSyncTarget=True, location="us")
    registry.stored["metadata"]["finalizers"] = [FINALIZER]

    registry.reconcile()

    made = registry.world.up.objects[registry.world.path(SYNCTARGETS, SYNC_TARGET)]
    assert made["spec"]["location"] == "us"


def test_what_left_the_registration_leaves_its_sync_target_though_an_apply_removes_nothing(
    registry: Registry,
) -> None:
    registry.make_ready(createSyncTarget=True, labels={"old": "a"})
    path = registry.world.path(SYNCTARGETS, SYNC_TARGET)
    made = registry.world.up.objects[path]
    made["metadata"]["labels"]["mine"] = "b"
    made["metadata"]["managedFields"] = [
        {"manager": FIELD_MANAGER, "fieldsV1": {"f:metadata": {"f:labels": {"f:old": {}}}}}
    ]
    registry.add(createSyncTarget=True)
    registry.stored["metadata"]["finalizers"] = [FINALIZER]

    registry.reconcile()

    _, body, _ = [body for line, body in registry.world.up.bodies if line == f"PATCH {path}"]
    assert body["metadata"]["labels"] == {"old": None}
    assert {"uid", "resourceVersion"} <= body["metadata"].keys()


def test_none_is_made_when_another_names_the_registration(registry: Registry) -> None:
    registry.world.add_target("mine", cluster="east", cells={"a": "b"})
    registry.make_ready(createSyncTarget=True)

    assert registry.world.up.names("synctargets") == ["mine"]
    assert registry.condition("SyncTargetCreated") == ("", "")


def test_a_namesake_is_left_alone(registry: Registry) -> None:
    registry.world.add_target(SYNC_TARGET, kcpCluster="root:elsewhere")
    registry.make_ready(createSyncTarget=True)

    assert registry.condition("SyncTargetCreated") == ("False", "Conflict")
    found = registry.world.up.objects[registry.world.path(SYNCTARGETS, SYNC_TARGET)]
    assert found["spec"] == {"kcpCluster": "root:elsewhere"}
    assert registry.status["phase"] == "Ready"


def test_a_name_that_no_sync_target_can_have_is_told() -> None:
    from kcpctl.reconcilers.clusterregistration.sync_target import name_problem

    assert name_problem("synctarget-east") == ""
    assert "by hand" in name_problem("synctarget-east.example.com")
    assert "by hand" in name_problem("synctarget-" + "e" * 60)


# Deletion.


def delete(registry: Registry) -> None:
    registry.world.client.resource(CLUSTER_REGISTRATIONS).delete("east")
    registry.world.up.calls.clear()


def test_one_that_nobody_names_is_let_go(registry: Registry) -> None:
    registry.make_ready()
    delete(registry)

    assert registry.reconcile() is None

    assert registry.world.up.names("clusterregistrations") == []
    assert pool_key(registry.key) in registry.world.pool.removed


def test_its_own_sync_target_goes_first_and_may_use_the_credentials(registry: Registry) -> None:
    registry.make_ready(createSyncTarget=True)
    path = registry.world.path(SYNCTARGETS, SYNC_TARGET)
    registry.world.up.objects[path]["metadata"]["finalizers"] = ["workload.kcp.io/synctarget"]
    delete(registry)

    assert registry.reconcile() == 30
    assert registry.world.up.objects[path]["metadata"]["deletionTimestamp"]
    assert registry.condition("Deleting") == ("True", "InUse")
    assert registry.condition("Ready") == ("False", "Terminating")
    registry.world.up.calls.clear()
    registry.reconcile()
    assert registry.world.up.calls == []  # once is enough

    del registry.world.up.objects[path]
    registry.reconcile()
    assert registry.world.up.names("clusterregistrations") == []


def test_the_sync_targets_of_others_are_named_and_left_to_them(registry: Registry) -> None:
    registry.world.add_target("mine", cluster="east", cells={"a": "b"})
    registry.make_ready()
    delete(registry)

    registry.reconcile()

    assert "deleted first: mine" in str(registry.status)
    assert "deletionTimestamp" not in str(
        registry.world.up.objects[registry.world.path(SYNCTARGETS, "mine")]
    )


@pytest.mark.parametrize("text", ["", "nonsense", "5", "s"])
def test_a_duration_that_is_none_is_quoted(text: str) -> None:
    from kcpctl.apis.duration import parse_duration

    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_credentials_that_fail_while_those_before_them_work_are_told_once(
    registry: Registry,
) -> None:
    registry.world.add_secret()
    registry.add_node("one")
    registry.add()
    for _ in range(2):
        registry.reconcile()
    registry.connect()
    registry.reconcile()
    registry.world.recorder.take()
    registry.world.add_secret(b"garbage")
    for _ in range(2):
        registry.reconcile()
    assert registry.condition("Connected") == ("True", "NewCredentialsFailed")
    assert registry.condition("Ready") == ("True", "Ready")
    assert registry.world.recorder.take() == ["Warning NewCredentialsFailed"]


def test_what_is_kept_of_a_logical_cluster_is_dropped_with_it(registry: Registry) -> None:
    registry.world.add_secret()
    registry.add_node("one")
    registry.add()
    for _ in range(2):
        registry.reconcile()
    registry.connect()
    registry.reconcile()
    registry.reconciler.remove(lambda key: key.startswith("other|"))
    assert len(registry.reconciler._looks) == 1
    registry.reconciler.remove(lambda key: key.startswith("root|"))
    assert len(registry.reconciler._looks) == 0
