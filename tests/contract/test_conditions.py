"""The syncer's conditions: what a JSON Patch of a custom resource's status holds to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kcpctl.apis.conditions import ERROR, false, true
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.crds import install_crds, wait_for_crds
from kcpctl.client import Client, PatchType
from kcpctl.errors import Invalid
from kcpctl.syncer.gate import Gate, GateClosed
from kcpctl.syncer.own_conditions import OwnConditions
from kcpctl.syncer.target import Target

WORKS = true("SyncerReady", "SyncerConnected", "It works")
LOST = false("SyncerReady", ERROR, "SyncerDisconnected", "It is lost")


@pytest.fixture
def uid(client: Client) -> Iterator[str]:
    install_crds(client)
    wait_for_crds(client, timeout_seconds=30)
    targets = client.resource(SYNCTARGETS)
    made = targets.create(
        {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": SYNCTARGETS.kind,
            "metadata": {"name": "conditions"},
        }
    )
    yield made["metadata"]["uid"]
    targets.delete("conditions")


def of(client: Client, uid: str) -> OwnConditions:
    target = Target(client.cluster_name, "conditions", uid)
    gate = Gate(target, client.resource(SYNCTARGETS))
    return OwnConditions(gate, client.aio.resource(SYNCTARGETS))


def stored(client: Client) -> list[tuple[str, str]]:
    conditions = client.resource(SYNCTARGETS).get("conditions")["status"]["conditions"]
    return [(one["type"], one.get("reason", "")) for one in conditions]


def test_a_syncers_condition_is_kept_beside_those_of_others(client: Client, uid: str) -> None:
    conditions = of(client, uid)
    conditions.want(LOST)
    client.loop.run(conditions.write())
    assert stored(client) == [("SyncerReady", "SyncerDisconnected")]
    theirs = [{"type": type_, "status": "True"} for type_ in ("Ready", "Alpha", "SyncerReady", "Z")]
    targets = client.resource(SYNCTARGETS)
    patched = targets.patch("conditions", {"status": {"conditions": theirs}}, subresource="status")
    conditions.look(patched)
    conditions.want(WORKS)
    conditions.want(true("ClusterConnected", "Connected"))
    client.loop.run(conditions.write())
    assert stored(client) == [
        ("Ready", ""),
        ("Alpha", ""),
        ("ClusterConnected", "Connected"),
        ("SyncerReady", "SyncerConnected"),
        ("Z", ""),
    ]


def test_another_uid_is_refused(client: Client, uid: str) -> None:
    conditions = of(client, "another")
    conditions.want(WORKS)
    with pytest.raises(GateClosed):
        client.loop.run(conditions.write())
    assert "status" not in client.resource(SYNCTARGETS).get("conditions")


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_a_failed_test_of_the_metadata_refuses_the_patch(
    client: Client, uid: str, field: str
) -> None:
    """A merge patch would not be refused for the uid."""
    value: dict[str, Any] = {"type": "SyncerReady", "status": "True"}
    ops: list[Unstructured] = [
        {"op": "test", "path": f"/metadata/{field}", "value": "another"},
        {"op": "add", "path": "/status", "value": {"conditions": [value]}},
    ]
    targets = client.resource(SYNCTARGETS)
    with pytest.raises(Invalid):
        targets.patch("conditions", ops, type=PatchType.JSON, subresource="status")
    assert "status" not in targets.get("conditions")
