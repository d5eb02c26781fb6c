"""The demo: a workspace, two clusters, two SyncTargets and a Deployment on each."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import STATE_LABEL_PREFIX, STATE_SYNC, sync_target_key
from kcpctl.apis.resource import DEPLOYMENTS, NAMESPACES, SECRETS, WORKSPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.errors import AlreadyExists

__all__ = [
    "CLUSTERS",
    "WORKSPACE",
    "DemoTracker",
    "Observation",
    "create_objects",
    "make_workspace",
]

WORKSPACE: Final = "demo"
CLUSTERS: Final = ("east", "west")

# The order in which a SyncTarget usually gets there.
_CONDITIONS: Final = ("Valid", "ClusterConnected", "SyncerDeployed", "HeartbeatHealthy", "Ready")
_WORKSPACE_TIMEOUT_SECONDS = 20.0
_FIELD_MANAGER: Final = "kcpctl-demo"

Observation = tuple[str, str, Unstructured]
"""(kind, name, object): what an informer saw; kind is SyncTarget, Deployment or the cluster."""


def make_workspace(client: Client) -> str:
    """Create the workspace ``root:demo`` and return the name of its logical cluster."""
    workspaces = client.cluster("root").resource(WORKSPACES)
    body = {
        "apiVersion": WORKSPACES.api_version,
        "kind": WORKSPACES.kind,
        "metadata": {"name": WORKSPACE},
    }
    _create(workspaces, body)
    workspace = workspaces.wait_until(
        WORKSPACE, _is_ready, timeout_seconds=_WORKSPACE_TIMEOUT_SECONDS
    )
    assert workspace is not None
    return str(workspace["spec"]["cluster"])


def _is_ready(workspace: Unstructured | None) -> bool:
    return workspace is not None and workspace.get("status", {}).get("phase") == "Ready"


def create_objects(
    demo: Client, kubeconfigs: Mapping[str, Mapping[str, Any]], cluster: str
) -> None:
    """Create the credentials, SyncTargets and Deployments in the demo's workspace.

    ``kubeconfigs`` has the kubeconfig of each downstream cluster by its name; ``cluster`` is the
    name of the workspace's logical cluster, of which the state labels are made.
    """
    namespace = "kcpctl-system"
    _create(
        demo.resource(NAMESPACES),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
    )
    for name, kubeconfig in kubeconfigs.items():
        # Also over an older one: after a restart the cluster may have another port.
        secret = _secret(namespace, name, kubeconfig)
        demo.resource(SECRETS).apply(secret, field_manager=_FIELD_MANAGER, force=True)
        _create(demo.resource(SYNCTARGETS), _sync_target(name))
        _create(demo.resource(DEPLOYMENTS), _deployment(name, sync_target_key(cluster, name)))


def _create(resource: Any, body: Unstructured) -> None:
    """Create what is not there yet: a restarted control plane is empty, a slow one is not."""
    try:
        resource.create(body)
    except AlreadyExists:
        return


def _secret(namespace: str, name: str, kubeconfig: Mapping[str, Any]) -> Unstructured:
    text = yaml.safe_dump(dict(kubeconfig))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-kubeconfig", "namespace": namespace},
        "data": {"kubeconfig": base64.b64encode(text.encode()).decode()},
    }


def _sync_target(name: str) -> Unstructured:
    return {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": {"name": name},
        "spec": {
            "cluster": name,
            "location": name,
            "cells": {"location": name},
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        },
    }


def _deployment(target: str, key: str) -> Unstructured:
    labels = {"app": f"web-{target}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"web-{target}",
            "namespace": "default",
            "labels": {**labels, STATE_LABEL_PREFIX + key: STATE_SYNC},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "nginx:stable"}]},
            },
        },
    }


class DemoTracker:
    """Turns what the informers see into lines for a person, and knows what is still missing.

    ``observe`` returns the lines of one observation, each at most once in the tracker's life.
    """

    def __init__(self, clusters: Sequence[str] = CLUSTERS) -> None:
        self._clusters = tuple(clusters)
        self._said: set[tuple[str, str]] = set()
        self._why: dict[str, str] = {}

    def observe(self, observation: Observation) -> list[tuple[str, str]]:
        """Return (subject, text) lines for what is new."""
        kind, name, obj = observation
        if kind == "SyncTarget":
            return self._sync_target(name, obj)
        if kind == "Deployment":
            return self._deployment(name, obj)
        namespace = obj["metadata"].get("namespace", "")
        return self._once(f"deployment {name}", f"synced to {kind} (namespace {namespace})")

    def _once(self, subject: str, text: str, mark: str = "") -> list[tuple[str, str]]:
        key = (subject, mark or text.split(" ", 1)[0])
        if key in self._said:
            return []
        self._said.add(key)
        return [(subject, text)]

    def _sync_target(self, name: str, obj: Unstructured) -> list[tuple[str, str]]:
        lines = []
        found = {c["type"]: c for c in obj.get("status", {}).get("conditions", ())}
        subject = f"synctarget {name}"
        for kind in _CONDITIONS:
            condition = found.get(kind, {"status": "Unknown", "reason": "", "message": ""})
            if condition["status"] == "True" and self._said_before(subject, kind):
                lines += self._once(subject, kind)
                self._why.pop(f"{subject} {kind}", None)
            elif condition["status"] != "True" and kind in found:
                reason = f"{kind} is {condition['status']} ({condition.get('reason', '')})"
                self._why[f"{subject} {kind}"] = f"{reason}: {condition.get('message', '')}"
        return lines

    def _said_before(self, subject: str, kind: str) -> bool:
        """Whether all steps before ``kind`` were told: a heartbeat may come before the rollout's
        end is seen, but a person reads the steps in their order."""
        return all((subject, one) in self._said for one in _CONDITIONS[: _CONDITIONS.index(kind)])

    def _deployment(self, name: str, obj: Unstructured) -> list[tuple[str, str]]:
        available = obj.get("status", {}).get("availableReplicas", 0)
        wanted = obj.get("spec", {}).get("replicas", 1)
        if available < wanted:
            return []
        return self._once(f"deployment {name}", f"availableReplicas {available}")

    def missing(self) -> list[str]:
        """Return one phrase for each thing that was not seen yet, the deepest reason first."""
        phrases = []
        for cluster in self._clusters:
            subject = f"synctarget {cluster}"
            for kind in _CONDITIONS:
                if (subject, kind) not in self._said:
                    why = self._why.get(f"{subject} {kind}", f"{kind} was not reported")
                    phrases.append(f"{subject}: {why.rstrip(': ')}")
                    break
            for mark in ("synced", "availableReplicas"):
                if (f"deployment web-{cluster}", mark) not in self._said:
                    phrases.append(f"deployment web-{cluster}: {mark} was not seen")
                    break
        return phrases
