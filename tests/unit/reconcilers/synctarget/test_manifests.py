"""The rendered objects against golden files; KCPCTL_UPDATE_GOLDEN=1 rewrites those."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.naming import CLUSTER_LABEL
from kcpctl.apis.synctarget_deployment import (
    Deployment,
    LocalReference,
    ResourceRequirements,
    Toleration,
)
from kcpctl.embedded.security.rules import uncovered
from kcpctl.reconcilers.synctarget.manifests import (
    SyncerInputs,
    config_hash,
    downstream_objects,
    secret_object,
    upstream_objects,
)
from kcpctl.reconcilers.synctarget.rollout import CONFIG_HASH_ANNOTATION

GOLDEN = Path(__file__).parent / "golden"
INPUTS = SyncerInputs(
    id="kcp-syncer-us-west1-1nuzj7pw",
    name="us-west1",
    uid="syncTargetUID",
    cluster="1x2y3z",
    namespace="kcp-syncer-us-west1-1nuzj7pw",
    image="kcpctl-syncer:local",
    server="https://upstream:6443/clusters/1x2y3z",
    ca=b"CA",
    token="TOKEN",
    token_renew_at="2026-01-01T19:12:00Z",
)
EVERYTHING = replace(
    INPUTS,
    namespace="shared",
    insecure=True,
    server_name="kube",
    arguments=("--heartbeat-interval=10s",),
    deployment=Deployment(
        replicas=2,
        resources=ResourceRequirements(requests={"cpu": "1"}, limits={"memory": "1Gi"}),
        priority_class_name="high",
        node_selector={"disk": "ssd"},
        tolerations=[Toleration(key="a", operator="Exists")],
        image_pull_secrets=[LocalReference(name="pull")],
    ),
)
CERTIFIED = replace(INPUTS, certificate=True)
OWNER = {
    "apiVersion": "workload.kcp.io/v1alpha1",
    "kind": "SyncTarget",
    "name": "us-west1",
    "uid": "syncTargetUID",
}


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("downstream", downstream_objects(INPUTS)),
        ("downstream-everything", downstream_objects(EVERYTHING)),
        ("upstream", upstream_objects(INPUTS, "kcpctl-system", OWNER)),
        ("upstream-certificate", upstream_objects(CERTIFIED, "kcpctl-system", OWNER)),
    ],
)
def test_the_objects_are_the_golden_ones(name: str, objects: list[Any]) -> None:
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("KCPCTL_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    assert list(yaml.safe_load_all(path.read_text())) == objects


def test_the_deployment_is_last_and_carries_the_hash_twice() -> None:
    deployment = downstream_objects(INPUTS)[-1]
    wanted = {CONFIG_HASH_ANNOTATION: config_hash(INPUTS)}
    assert deployment["kind"] == "Deployment"
    assert deployment["metadata"]["annotations"] == wanted
    assert deployment["spec"]["template"]["metadata"]["annotations"] == wanted


@pytest.mark.parametrize(("replicas", "elects"), [(None, False), (0, False), (1, False), (2, True)])
def test_several_syncers_have_a_lease_and_the_right_to_it_alone(
    replicas: int | None, elects: bool
) -> None:
    objects = downstream_objects(replace(INPUTS, deployment=Deployment(replicas=replicas)))
    by_kind = {one["kind"]: one for one in objects}
    rules = [rule for rule in by_kind["ClusterRole"]["rules"] if "leases" in rule["resources"]]
    arguments = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert ("--leader-elect" in arguments) is elects
    assert [rule["resourceNames"] for rule in rules] == ([[INPUTS.id]] if elects else [])
    assert not any("create" in rule["verbs"] for rule in rules)
    assert ("Lease" in by_kind) is elects


def test_another_token_is_no_other_configuration() -> None:
    """Decision 12: a renewed token must not roll the Deployment."""
    renewed = replace(INPUTS, token="OTHER", token_renew_at="2027-01-01T00:00:00Z")
    assert config_hash(renewed) == config_hash(INPUTS)
    assert downstream_objects(renewed)[-1] == downstream_objects(INPUTS)[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"image": "other"},
        {"server": "https://other"},
        {"ca": b"other"},
        {"arguments": ("--workers=3",)},
        {"deployment": Deployment(replicas=0)},
        {"insecure": True},
    ],
)
def test_anything_else_is_another_configuration(change: dict[str, Any]) -> None:
    assert config_hash(replace(INPUTS, **change)) != config_hash(INPUTS)


def test_the_kubeconfig_names_server_ca_and_token() -> None:
    text = base64.b64decode(secret_object(INPUTS)["data"]["kubeconfig"])
    config = yaml.safe_load(text)
    assert config["clusters"][0]["cluster"] == {
        "server": "https://upstream:6443/clusters/1x2y3z",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert config["users"][0]["user"] == {"token": "TOKEN"}


def test_the_token_is_nowhere_but_in_the_secret() -> None:
    others = [obj for obj in downstream_objects(INPUTS) if obj["kind"] != "Secret"]
    assert "TOKEN" not in str(others)
    assert "TOKEN" not in repr(INPUTS)


def test_nothing_downstream_has_an_owner_upstream() -> None:
    """2.4: the downstream garbage collector would delete it at once."""
    assert "ownerReferences" not in str(downstream_objects(INPUTS))


def test_the_syncers_own_objects_are_not_marked_as_workloads() -> None:
    assert CLUSTER_LABEL not in str(downstream_objects(INPUTS))


def test_no_right_is_a_wildcard() -> None:
    """Decision 11."""
    objects = downstream_objects(INPUTS) + upstream_objects(INPUTS, "ns", OWNER)
    rules = [rule for obj in objects for rule in obj.get("rules", ())]
    for rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
    own = [rule for rule in rules if "workload.kcp.io" in rule["apiGroups"]]
    assert all(rule["resourceNames"] == ["us-west1"] for rule in own)


def test_the_controllers_role_covers_what_it_grants_to_syncers() -> None:
    """RBAC refuses a role that gives away what its author has not."""
    role = yaml.safe_load_all((Path(__file__).parents[4] / "config/rbac/role.yaml").read_text())
    held = next(one for one in role if one["kind"] == "ClusterRole")["rules"]
    objects = upstream_objects(CERTIFIED, "ns", OWNER)
    given = [rule for obj in objects for rule in obj.get("rules", ())]
    assert len(given) > len(upstream_objects(INPUTS, "ns", OWNER)[1]["rules"])
    assert uncovered(held, given) == []
