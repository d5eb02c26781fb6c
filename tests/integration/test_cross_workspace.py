"""A SyncTarget on a cluster that is registered in another workspace, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    EVENTS,
    LOGICAL_CLUSTERS,
    SECRETS,
)
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.testing import ControlPlane, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Site

CACHE_SECONDS = 1.0
RULES = [
    {
        "apiGroups": ["tmc.kcp.io"],
        "resources": ["clusterregistrations"],
        "resourceNames": ["east"],
        "verbs": ["use"],
    },
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["east-kubeconfig"],
        "verbs": ["get"],
    },
]


@pytest.fixture(scope="module")
def server() -> Iterator[ControlPlane]:
    """A control plane of our own: the controllers here serve all of its workspaces."""
    with ControlPlane() as running:
        yield running


class Pair:
    """Two workspaces: the SyncTarget's own one, and the one that has the registration."""

    def __init__(
        self, server: ControlPlane, downstream: ControlPlane, directory: Path, stack: ExitStack
    ) -> None:
        from tests.integration.conftest import Controllers, Site

        self.own = Site(server, directory, stack)
        self.other = Site(server, directory, stack)
        self.other.secret("east-kubeconfig", self.other.kubeconfig(downstream))
        self.other.upstream.resource(CLUSTER_REGISTRATIONS).create(
            {
                "apiVersion": CLUSTER_REGISTRATIONS.api_version,
                "kind": CLUSTER_REGISTRATIONS.kind,
                "metadata": {"name": "east"},
                "spec": {"location": "eu", "kubeconfigSecret": {"name": "east-kubeconfig"}},
            }
        )
        stack.enter_context(
            Controllers(server.config, everywhere=True, reference_cache_seconds=CACHE_SECONDS)
        )

    @property
    def path(self) -> str:
        """The path of the other workspace."""
        found = self.other.upstream.resource(LOGICAL_CLUSTERS).get("cluster")
        path: str = found["metadata"]["annotations"]["kcp.io/path"]
        return path

    def grant(self, rules: list[Unstructured], subject: dict[str, str]) -> None:
        name = "kcpctl-use-east"
        rbac = "rbac.authorization.k8s.io"
        reference = {"apiGroup": rbac, "kind": "ClusterRole", "name": name}
        for resource, body in (
            (CLUSTER_ROLES, {"rules": rules}),
            (
                CLUSTER_ROLE_BINDINGS,
                {"roleRef": reference, "subjects": [{"apiGroup": rbac, **subject}]},
            ),
        ):
            self.other.upstream.resource(resource).apply(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": name},
                    **body,
                },
                field_manager="test",
            )

    def revoke(self) -> None:
        self.other.upstream.resource(CLUSTER_ROLE_BINDINGS).delete("kcpctl-use-east")


@pytest.fixture
def pair(server: ControlPlane, plain_cluster: ControlPlane, tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(server, plain_cluster, tmp_path, stack)


def spec(workspace: str) -> dict[str, Any]:
    return {"clusterRef": {"name": "east", "workspace": workspace}, "cells": {"location": "east"}}


def test_what_is_granted_there_is_connected_and_what_is_revoked_is_not(pair: Pair) -> None:
    group = {"kind": "Group", "name": f"system:cluster:{pair.own.cluster}"}
    pair.own.target(**spec(pair.path))
    found = pair.own.await_condition("ClusterConnected", "False", "PermissionDenied")
    for words in ("'use'", "clusterregistrations.tmc.kcp.io", pair.path, group["name"]):
        assert words in found["message"]
    # The name behind the path is for those who may know it.
    assert pair.other.cluster not in found["message"]

    pair.grant(RULES[:1], group)
    eventually(lambda: "'get' on secrets" in pair.own.condition("ClusterConnected")["message"])

    pair.grant(RULES, group)
    pair.own.await_condition("ClusterConnected", "True", "Connected")
    pair.own.await_condition("Valid", "True")

    pair.revoke()
    pair.own.await_condition("ClusterConnected", "False", "PermissionDenied", seconds=25)


def test_the_short_form_and_the_user_of_the_service_account_do_as_well(pair: Pair) -> None:
    user = f"system:kcp:serviceaccount:{pair.own.cluster}:kcpctl-system:default"
    pair.grant(RULES, {"kind": "User", "name": user})
    pair.own.target(cluster=f"{pair.path}:east", cells={"location": "east"})
    pair.own.await_condition("ClusterConnected", "True", "Connected")


def test_a_path_that_does_not_exist_is_not_found(pair: Pair) -> None:
    pair.own.target(**spec("root:nowhere"))
    found = pair.own.await_condition("Valid", "False", "ClusterRefNotFound")
    assert "'root:nowhere'" in found["message"]


def test_what_is_granted_to_one_workspace_is_not_granted_to_another(pair: Pair) -> None:
    """Same names everywhere, and the other workspace has a SyncTarget of that name too."""
    pair.grant(RULES, {"kind": "Group", "name": f"system:cluster:{pair.other.cluster}"})
    pair.other.target(cluster="east", cells={"location": "east"})
    pair.own.target(**spec(pair.other.cluster))
    pair.other.await_condition("ClusterConnected", "True", "Connected")
    pair.own.await_condition("ClusterConnected", "False", "PermissionDenied")
    pair.other.await_condition("ClusterConnected", "True", "Connected")

    assert reasons(pair.own).isdisjoint({"Connected", "ClusterConnected"})
    assert "PermissionDenied" not in reasons(pair.other)
    assert not names(pair.own.upstream, "east-kubeconfig")


def test_a_registration_is_not_held_by_a_workspace_that_uses_it(pair: Pair) -> None:
    pair.grant(RULES, {"kind": "Group", "name": f"system:cluster:{pair.own.cluster}"})
    pair.own.target(**spec(pair.other.cluster))
    pair.own.await_condition("ClusterConnected", "True", "Connected")
    pair.other.upstream.resource(CLUSTER_REGISTRATIONS).delete("east")
    pair.own.await_condition("Valid", "False", "ClusterRefNotFound")


def test_controllers_of_one_logical_cluster_refuse_the_field(
    site: Site, plain_cluster: ControlPlane
) -> None:
    site.controllers()
    site.target(**spec("root"))
    found = site.await_condition("Valid", "False", "InvalidConfiguration")
    assert "serve one cluster alone" in found["message"]
    assert site.upstream.resource(SYNCTARGETS).get("east")


def reasons(site: Site) -> set[str]:
    events = site.upstream.resource(EVENTS).list().items
    return {event["reason"] for event in events if event["regarding"]["kind"] == "SyncTarget"}


def names(client: Client, name: str) -> bool:
    return any(one["metadata"]["name"] == name for one in client.resource(SECRETS).list().items)
