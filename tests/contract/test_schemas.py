"""What an API server lets into SyncTargets and ClusterRegistrations (synctarget.md 1.1.1)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from kcpctl.apis.resource import Resource
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.crds import install_crds, wait_for_crds
from kcpctl.client import Client
from kcpctl.errors import Invalid

_numbers = count(1)
SECRET = {"name": "x"}


@pytest.fixture(scope="module")
def crds(client: Client) -> None:
    install_crds(client)
    wait_for_crds(client, timeout_seconds=30)


def create(client: Client, resource: Resource, spec: dict[str, Any], name: str = "") -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name or f"target-{next(_numbers)}"},
        "spec": spec,
    }
    client.resource(resource).create(body, dry_run=True)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"cells": {"location": "east"}},
        {"cluster": ""},
        {"cluster": "east", "capacity": {"cpu": "-4", "memory": 4, "pods": "110"}},
        {"kcpCluster": "root:test"},
        {"supportedAPIExports": [{"export": "k"}, {"export": "k", "path": "root:compute"}]},
        {"connection": {"server": "http://x", "insecureSkipTLSVerify": True}},
        {"syncer": {"retryBackoff": {"multiplier": 1.5, "maxInterval": "1m30s"}}},
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        {"deletionPolicy": "Orphan", "evictAfter": "2020-01-01T00:00:00Z"},
    ],
)
def test_a_sync_target_that_the_controller_is_to_judge_is_let_in(
    client: Client, spec: dict[str, Any]
) -> None:
    create(client, SYNCTARGETS, spec)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"capacity": {"cpu": "4x"}}, "spec.capacity.cpu"),
        ({"kcpCluster": "Root:x"}, "spec.kcpCluster"),
        ({"supportedAPIExports": ["kubernetes"]}, "spec.supportedAPIExports[0]"),
        ({"supportedAPIExports": [{"export": "k"}, {"export": "k"}]}, "Duplicate"),
        ({"taints": [{"key": "a", "effect": "Bad"}]}, "spec.taints[0].effect"),
        ({"deletionPolicy": "Keep"}, "spec.deletionPolicy"),
        ({"syncer": {"heartbeatInterval": "-1s"}}, "spec.syncer.heartbeatInterval"),
        ({"location": "x" * 64}, "spec.location"),
    ],
)
def test_what_the_schema_forbids_is_refused_with_the_field(
    client: Client, spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        create(client, SYNCTARGETS, spec)
    assert field in str(caught.value)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"cluster": "a", "clusterRef": {"name": "b"}}, "two forms of the same"),
        ({"connection": {"server": "http://x"}}, "https URL"),
        ({"connection": {"server": "x:6443"}}, "https URL"),
        ({"connection": {"server": "https://x", "kubeconfigSecretRef": SECRET}}, "two sources"),
        ({"credentials": {"type": "token"}}, "secretRef is required"),
        ({"syncer": {"retryBackoff": {"multiplier": 1}}}, "greater than 1"),
        (
            {"syncer": {"retryBackoff": {"initialInterval": "2m", "maxInterval": "1m"}}},
            "longer than maxInterval",
        ),
        ({"syncer": {"heartbeatInterval": "0s"}}, "greater than 0"),
        ({"syncer": {"qps": 20, "burst": 10}}, "below qps"),
        ({"syncer": {"burst": 19}}, "below qps, which is 20 by default"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "need values"),
    ],
)
def test_what_a_rule_forbids_is_refused_with_its_message(
    client: Client, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        create(client, SYNCTARGETS, spec)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("name", ["ab", "a" * 64, "a.b"])
def test_a_name_that_fits_no_label_is_refused(client: Client, name: str) -> None:
    with pytest.raises(Invalid, match="3 to 63 characters"):
        create(client, SYNCTARGETS, {}, name)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("change", [{"name": "b"}, None])
def test_a_cluster_ref_cannot_be_changed_or_removed(
    client: Client, change: dict[str, str] | None
) -> None:
    name = f"target-{next(_numbers)}"
    targets = client.resource(SYNCTARGETS)
    targets.create({"metadata": {"name": name}, "spec": {"clusterRef": {"name": "a"}}})
    with pytest.raises(Invalid, match="cannot be changed"):
        targets.patch(name, {"spec": {"clusterRef": change}})
    targets.patch(name, {"spec": {"cells": {"a": "b"}}})


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "exactly one"),
        ({"kubeconfigSecret": SECRET, "clusterEndpoint": {"serverURL": "https://x"}}, "exactly"),
        ({"clusterEndpoint": {"serverURL": "http://x"}}, "https URL"),
    ],
)
def test_a_registration_names_one_way_to_its_cluster(
    client: Client, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        create(client, CLUSTER_REGISTRATIONS, {"location": "x", **spec})


@pytest.mark.usefixtures("crds")
def test_a_registration_needs_a_location(client: Client) -> None:
    with pytest.raises(Invalid, match=r"spec\.location"):
        create(client, CLUSTER_REGISTRATIONS, {"kubeconfigSecret": SECRET})
