from __future__ import annotations

import base64
from typing import Any, cast

import yaml

from kcpctl.apis.resource import Resource
from kcpctl.cli.demo import DemoTracker, create_objects
from kcpctl.errors import AlreadyExists


def target(
    name: str, *true: str, why: dict[str, str] | None = None
) -> tuple[str, str, dict[str, Any]]:
    conditions = [{"type": kind, "status": "True"} for kind in true]
    conditions += [
        {"type": kind, "status": "False", "reason": "Progressing", "message": message}
        for kind, message in (why or {}).items()
    ]
    return "SyncTarget", name, {"status": {"conditions": conditions}}


def deployment(name: str, available: int) -> tuple[str, str, dict[str, Any]]:
    return (
        "Deployment",
        name,
        {"spec": {"replicas": 2}, "status": {"availableReplicas": available}},
    )


def test_a_condition_is_told_once_and_in_its_usual_order() -> None:
    tracker = DemoTracker()
    assert tracker.observe(target("east", "ClusterConnected", "Valid")) == [
        ("synctarget east", "Valid"),
        ("synctarget east", "ClusterConnected"),
    ]
    assert tracker.observe(target("east", "ClusterConnected", "Valid")) == []


def test_a_heartbeat_before_the_rollouts_end_is_told_after_it() -> None:
    tracker = DemoTracker()
    tracker.observe(target("east", "Valid", "ClusterConnected"))
    assert tracker.observe(target("east", "Valid", "ClusterConnected", "HeartbeatHealthy")) == []
    everything = ("Valid", "ClusterConnected", "SyncerDeployed", "HeartbeatHealthy", "Ready")
    assert [text for _, text in tracker.observe(target("east", *everything))] == [
        "SyncerDeployed",
        "HeartbeatHealthy",
        "Ready",
    ]


def test_a_deployment_is_told_when_all_replicas_are_available() -> None:
    tracker = DemoTracker()
    assert tracker.observe(deployment("web-east", 1)) == []
    assert tracker.observe(deployment("web-east", 2)) == [
        ("deployment web-east", "availableReplicas 2")
    ]


def test_a_synced_deployment_is_told_with_its_cluster_and_namespace() -> None:
    seen = ("east", "web-east", {"metadata": {"namespace": "kcp-abc"}})
    assert DemoTracker().observe(seen) == [
        ("deployment web-east", "synced to east (namespace kcp-abc)")
    ]


def test_what_is_missing_names_the_reason() -> None:
    tracker = DemoTracker(["east"])
    assert tracker.missing() == [
        "synctarget east: Valid was not reported",
        "deployment web-east: synced was not seen",
    ]
    tracker.observe(target("east", "Valid", "ClusterConnected", why={"SyncerDeployed": "0 of 1"}))
    assert tracker.missing()[0] == "synctarget east: SyncerDeployed is False (Progressing): 0 of 1"


def test_nothing_is_missing_when_all_was_seen() -> None:
    tracker = DemoTracker(["east"])
    tracker.observe(
        target("east", "Valid", "ClusterConnected", "SyncerDeployed", "HeartbeatHealthy", "Ready")
    )
    tracker.observe(("east", "web-east", {"metadata": {"namespace": "kcp-abc"}}))
    tracker.observe(deployment("web-east", 2))
    assert tracker.missing() == []


class Workspace:
    """A workspace that has all of the demo's objects already, and keeps what is applied."""

    def __init__(self) -> None:
        self.applied: list[dict[str, Any]] = []

    def resource(self, resource: Resource) -> Workspace:
        return self

    def create(self, obj: dict[str, Any]) -> None:
        raise AlreadyExists(obj["metadata"]["name"])

    def apply(self, obj: dict[str, Any], *, field_manager: str, force: bool) -> None:
        self.applied.append(obj)


def test_a_second_demo_brings_the_kubeconfigs_up_to_date() -> None:
    workspace = Workspace()
    create_objects(cast(Any, workspace), {"east": {"server": "https://other:1"}}, "abc")
    (secret,) = workspace.applied
    text = base64.b64decode(secret["data"]["kubeconfig"])
    assert yaml.safe_load(text) == {"server": "https://other:1"}
