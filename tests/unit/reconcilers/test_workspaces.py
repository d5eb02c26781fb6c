"""References to another workspace: resolved, allowed or not, and for how long (1.1, 2.4)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.resource import SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.client import Client
from kcpctl.errors import CrossWorkspaceAccess, Forbidden, NotFound, ServiceUnavailable
from kcpctl.reconcilers.problem import Unusable
from kcpctl.reconcilers.workspaces import Permission, Workspaces

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

REF = {"clusterRef": {"name": "reg", "workspace": "root:b"}, "cells": {"a": "b"}}
SHORT = {"cluster": "root:b:reg", "cells": {"a": "b"}}
USE = ("b", "use", CLUSTER_REGISTRATIONS, "reg")
GET = ("b", "get", SECRETS, "s")


def asked(world: World) -> list[dict[str, Any]]:
    return [body["spec"] for line, body in world.up.bodies if "subjectaccessreviews" in line]


@pytest.fixture
def other(workspaces: World) -> World:
    """A registration in workspace root:b, and one of the same name in the SyncTarget's own."""
    for cluster, content in (("b", b"B"), ("a", b"A")):
        data = {"kubeconfig": base64.b64encode(content).decode()}
        workspaces.add(SECRETS, "s", "kcpctl-system", cluster, data=data)
        spec = {"location": "x", "kubeconfigSecret": {"name": "s"}}
        workspaces.add(CLUSTER_REGISTRATIONS, "reg", cluster=cluster, spec=spec)
    workspaces.add_path("root:b", "b")
    return workspaces


def pass_(world: World, spec: dict[str, Any] = REF) -> float | None:
    """Make a SyncTarget in workspace a if there is none, and reconcile it."""
    if not world.up.names("synctargets"):
        world.add_target(workspace="a", **spec)
        world.reconcile(cluster="a")
    world.up.bodies.clear()
    return world.reconcile(cluster="a")


@pytest.mark.parametrize("spec", [REF, SHORT])
def test_what_is_granted_is_used(other: World, spec: dict[str, Any]) -> None:
    other.grant(*USE)
    other.grant(*GET)
    pass_(other, spec)
    assert other.pool.kubeconfigs == {"a|east": b"B"}
    assert other.condition("Valid", cluster="a") == "True Valid"


def test_the_name_of_the_logical_cluster_is_as_good_as_its_path(other: World) -> None:
    other.grant(*USE)
    other.grant(*GET)
    pass_(other, {**REF, "clusterRef": {"name": "reg", "workspace": "b"}})
    assert other.pool.kubeconfigs == {"a|east": b"B"}


def test_the_workspace_is_asked_for_by_the_names_kcp_gives_it_elsewhere(other: World) -> None:
    other.grant(*USE)
    pass_(other)
    use, get = asked(other)
    assert use["user"] == "system:kcp:serviceaccount:a:kcpctl-system:default"
    assert use["groups"] == ["system:authenticated", "system:cluster:a"]
    assert use["resourceAttributes"] == {
        "verb": "use",
        "group": "tmc.kcp.io",
        "version": "v1alpha1",
        "resource": "clusterregistrations",
        "name": "reg",
    }
    assert get["resourceAttributes"]["namespace"] == "kcpctl-system"
    assert get["resourceAttributes"]["verb"] == "get"


@pytest.mark.parametrize(
    ("grants", "words"),
    [
        (
            [],
            "'use' on clusterregistrations.tmc.kcp.io 'reg' in the workspace 'root:b'",
        ),
        ([USE], "lacks the verb 'get' on secrets 'kcpctl-system/s' in the workspace 'root:b'"),
        ([GET], "lacks the verb 'use'"),
    ],
)
def test_a_refusal_names_what_is_missing_where_and_for_whom(
    other: World, grants: list[Any], words: str
) -> None:
    for grant in grants:
        other.grant(*grant)
    pass_(other)
    assert other.condition("ClusterConnected", cluster="a") == "False PermissionDenied"
    message = other.message("ClusterConnected", cluster="a")
    assert words in message
    assert "'system:cluster:a'" in message
    assert other.pool.kubeconfigs == {}


def test_whether_it_exists_is_told_to_those_alone_who_may_use_it(other: World) -> None:
    pass_(other, {**REF, "clusterRef": {"name": "none", "workspace": "root:b"}})
    assert other.condition("ClusterConnected", cluster="a") == "False PermissionDenied"
    other.grant("b", "use", CLUSTER_REGISTRATIONS, "none")
    other.clock.step(30)
    pass_(other)
    assert other.condition("Valid", cluster="a") == "False ClusterRefNotFound"


def test_the_short_form_does_not_fall_back_to_a_secret_of_the_other_workspace(
    other: World,
) -> None:
    other.add_secret(name="none-kubeconfig", cluster="b")
    other.grant("b", "use", CLUSTER_REGISTRATIONS, "none")
    other.grant("b", "get", SECRETS, "none-kubeconfig")
    pass_(other, {**SHORT, "cluster": "root:b:none"})
    assert other.condition("Valid", cluster="a") == "False ClusterRefNotFound"


def test_a_path_that_leads_nowhere_is_not_found(other: World) -> None:
    requeue = pass_(other, {**SHORT, "cluster": "root:nowhere:reg"})
    assert other.condition("Valid", cluster="a") == "False ClusterRefNotFound"
    assert "Workspace 'root:nowhere' does not exist" in other.message("Valid", cluster="a")
    assert requeue == 30


def test_a_fleet_says_itself_how_a_workspace_comes_into_it(
    other: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cluster(self: Client, name: str) -> Client:
        raise NotFound(f"no endpoint serves {name!r}; bind the export there")

    source = Workspaces(other.client, namespace="kcpctl-system")
    monkeypatch.setattr(Client, "cluster", cluster)
    with pytest.raises(Unusable, match="No endpoint serves 'root:b'; bind the export there"):
        source.resolve("root:b")


def test_a_path_of_ones_own_workspace_needs_no_permission(other: World) -> None:
    other.add_path("root:a", "a")
    pass_(other, {**REF, "clusterRef": {"name": "reg", "workspace": "root:a"}})
    assert other.pool.kubeconfigs == {"a|east": b"A"}
    assert asked(other) == []


def test_an_answer_counts_for_30_seconds_and_no_longer(other: World) -> None:
    other.grant(*USE)
    other.grant(*GET)
    assert pass_(other) == 30
    other.clock.step(20)
    other.up.grants.clear()
    assert pass_(other) == 10
    assert asked(other) == []
    assert other.pool.kubeconfigs == {"a|east": b"B"}
    other.clock.step(10)
    pass_(other)
    assert len(asked(other)) == 1
    assert other.condition("ClusterConnected", cluster="a") == "False PermissionDenied"
    assert other.pool.kubeconfigs == {}


def test_a_refusal_counts_no_longer_either(other: World) -> None:
    assert pass_(other) == 30
    other.grant(*USE)
    other.grant(*GET)
    other.clock.step(30)
    pass_(other)
    assert other.pool.kubeconfigs == {"a|east": b"B"}


def test_the_answer_for_one_workspace_is_no_answer_for_another(other: World) -> None:
    workspaces = Workspaces(other.client, namespace="kcpctl-system", clock=other.clock)
    permission = Permission("use", CLUSTER_REGISTRATIONS, "", "reg")
    other.grant(*USE)
    workspaces.require("a", "b", permission)
    other.up.grants.clear()
    workspaces.require("a", "b", permission)
    for asker, cluster in (("c", "b"), ("b", "a")):
        with pytest.raises(Unusable, match=f"'system:cluster:{asker}'"):
            workspaces.require(asker, cluster, permission)


def test_a_registration_that_goes_takes_the_connection_along(other: World) -> None:
    other.grant(*USE)
    other.grant(*GET)
    pass_(other)
    del other.up.objects[other.path(CLUSTER_REGISTRATIONS, "reg", cluster="b")]
    pass_(other)
    assert other.condition("Valid", cluster="a") == "False ClusterRefNotFound"
    assert other.pool.kubeconfigs == {}


def test_a_server_that_does_not_answer_allows_nothing(other: World) -> None:
    other.up.errors["subjectaccessreviews"] = ServiceUnavailable("later")
    with pytest.raises(ServiceUnavailable):
        pass_(other)
    assert other.pool.kubeconfigs == {}


def test_controllers_that_may_not_ask_say_so(other: World) -> None:
    other.up.errors["subjectaccessreviews"] = Forbidden("no")
    pass_(other)
    assert other.condition("ClusterConnected", cluster="a") == "False PermissionDenied"
    message = other.message("ClusterConnected", cluster="a")
    assert "create on subjectaccessreviews.authorization.k8s.io" in message
    assert "accept that claim in its APIBinding" in message


@pytest.mark.parametrize("spec", [REF, SHORT])
def test_a_server_without_logical_clusters_refuses_the_field(
    world: World, spec: dict[str, Any]
) -> None:
    world.add_target(**spec)
    world.reconcile()
    world.reconcile()
    assert world.condition("Valid") == "False InvalidConfiguration"
    assert "the controllers serve one cluster alone (https://upstream" in world.message("Valid")


@pytest.mark.parametrize("workspace", ["*", "root:*", "../b", "b/c"])
def test_a_workspace_that_can_be_none_is_refused_before_anything_is_sent(
    workspaces: World, workspace: str
) -> None:
    source = Workspaces(workspaces.client, namespace="kcpctl-system", clock=workspaces.clock)
    with pytest.raises(Unusable, match="neither a workspace path"):
        source.resolve(workspace)
    assert workspaces.up.calls == []


def test_what_has_long_not_been_asked_is_forgotten(other: World) -> None:
    source = Workspaces(other.client, namespace="kcpctl-system", clock=other.clock)
    other.grant(*USE)
    source.require("a", "b", Permission("use", CLUSTER_REGISTRATIONS, "", "reg"))
    source.resolve("root:b")
    assert source.paths_of("b") == ["root:b"]
    other.clock.step(61)
    other.add_path("root:c", "c")
    source.resolve("root:c")
    assert source.paths_of("b") == []
    assert source._permissions == {}


def test_nothing_but_the_questions_leaves_the_workspace(other: World) -> None:
    other.grant(*USE)
    other.grant(*GET)
    pass_(other)
    other.connect(cluster="a")
    other.up.calls.clear()
    other.clock.step(30)
    pass_(other)
    elsewhere = [call for call in other.up.calls if "/clusters/a/" not in call]
    assert {call.partition("/clusters/")[2] for call in elsewhere} == {
        "root:b/apis/core.kcp.io/v1alpha1/logicalclusters/cluster",
        "b/apis/authorization.k8s.io/v1/subjectaccessreviews",
    }
    assert "kcp.io/cluster" not in json.dumps(asked(other))


def test_a_reference_is_no_leave_to_go_there(other: World) -> None:
    """Only the checks reach the other workspace; the reconcile itself does not."""
    from kcpctl.client import confine

    source = Workspaces(other.client, namespace="kcpctl-system", clock=other.clock)
    confine("a")
    try:
        source.resolve("root:b")
        with pytest.raises(CrossWorkspaceAccess):
            other.client.cluster("b").resource(SECRETS).get("s", namespace="kcpctl-system")
    finally:
        confine("")
