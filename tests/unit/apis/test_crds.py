from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis import ClusterRegistration, SyncTarget
from kcpctl.apis.crds import all_crds, crd
from kcpctl.apis.meta import ApiObject

ROOT = Path(__file__).resolve().parents[3]


def schema(type_: type[ApiObject]) -> dict[str, Any]:
    found: dict[str, Any] = crd(type_)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from walk(node["additionalProperties"], f"{path}{{}}")


def test_the_files_in_config_are_what_the_types_say() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "hack" / "update_crds.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_files_are_the_crds_in_yaml() -> None:
    for one in all_crds():
        text = (ROOT / "config" / "crds" / f"{one['metadata']['name']}.yaml").read_text()
        assert yaml.safe_load(text) == one


@pytest.mark.parametrize("type_", [SyncTarget, ClusterRegistration])
def test_every_field_says_what_it_is(type_: type[ApiObject]) -> None:
    silent = [
        path
        for path, node in walk(schema(type_), type_.__name__)
        if not node.get("description") and not re.search(r"(\[\]|\{\}|\.metadata)$", path)
    ]
    assert silent == []


@pytest.mark.parametrize("type_", [SyncTarget, ClusterRegistration])
def test_list_map_keys_are_required_or_have_a_default(type_: type[ApiObject]) -> None:
    for path, node in walk(schema(type_), type_.__name__):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            item = node["items"]
            assert key in item.get("required", ()) or "default" in item["properties"][key], path


def test_spec_has_every_field_of_the_reference() -> None:
    assert set(schema(SyncTarget)["properties"]["spec"]["properties"]) == {
        "cluster", "clusterRef", "kcpCluster", "supportedAPIExports", "supportedResourceTypes",
        "cells", "taints", "location", "unschedulable", "evictAfter", "evictionGracePeriod",
        "capacity", "resourceQuotas", "selector", "connection", "credentials", "deployment",
        "syncer", "maintenance", "deletionPolicy",
    }  # fmt: skip


def test_status_has_every_field_of_the_reference() -> None:
    assert set(schema(SyncTarget)["properties"]["status"]["properties"]) == {
        "observedGeneration", "phase", "conditions", "capacity", "allocatable", "allocated",
        "available", "lastSyncerHeartbeatTime", "lastHeartbeatTime", "lastSyncTime",
        "syncedResources", "resourceCount", "workloadCount", "virtualWorkspaces",
        "tunnelWorkspaces", "syncerIdentity", "syncerVersion", "kubernetesVersion", "nodeCount",
        "capabilities", "supportedResourceVersions", "health",
    }  # fmt: skip


def test_abbreviations_keep_their_capitals() -> None:
    connection = schema(SyncTarget)["properties"]["spec"]["properties"]["connection"]
    assert set(connection["properties"]) == {
        "server", "caBundle", "serverName", "insecureSkipTLSVerify", "proxyURL",
        "kubeconfigSecretRef",
    }  # fmt: skip


def test_quantities_are_checked_for_syntax_and_not_for_their_sign() -> None:
    """Decision 7: a negative capacity gives Valid=False and not 422."""
    quantity = schema(SyncTarget)["properties"]["spec"]["properties"]["capacity"]
    pattern = quantity["additionalProperties"]["pattern"]
    assert re.match(pattern, "-4")
    assert not re.match(pattern, "4x")


def test_the_printer_columns_are_those_of_the_reference() -> None:
    columns = crd(SyncTarget)["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [(one["name"], one.get("priority", 0)) for one in columns] == [
        ("Location", 0),
        ("Ready", 0),
        ("Phase", 0),
        ("Unschedulable", 0),
        ("Last Heartbeat", 0),
        ("Syncer", 1),
        ("Synced API resources", 3),
        ("Key", 4),
        ("Age", 0),
    ]
    assert columns[0]["jsonPath"] == ".spec.location"


def test_sync_targets_are_cluster_scoped_with_a_short_name_and_status() -> None:
    spec = crd(SyncTarget)["spec"]
    assert spec["scope"] == "Cluster"
    assert spec["names"]["shortNames"] == ["st"]
    assert spec["names"]["categories"] == ["kcp"]
    assert spec["versions"][0]["subresources"] == {"status": {}}
