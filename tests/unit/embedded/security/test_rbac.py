from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.security.bootstrap import bootstrap_rbac
from kcpctl.embedded.security.escalation import check_escalation
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import ANONYMOUS, Attributes, UserInfo

World = Any
JANE = UserInfo("jane", groups=("dev", "system:authenticated"))
ADMIN = UserInfo("admin", groups=("system:masters", "system:authenticated"))
READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
RBAC = "rbac.authorization.k8s.io"


def get(namespace: str = "default", **fields: str) -> Attributes:
    return Attributes("get", resource="configmaps", namespace=namespace, **fields)


def test_without_a_binding_nothing_is_allowed(world: World) -> None:
    world.role("reader", READ, namespace="default")
    decision = world.authorizer.authorize(JANE, get())
    assert not decision.allowed
    assert decision.reason == ""


def test_a_binding_to_a_role_that_is_missing_says_so(world: World) -> None:
    world.bind("b", "gone", {"kind": "User", "name": "jane"}, namespace="default")
    decision = world.authorizer.authorize(JANE, get())
    assert not decision.allowed
    assert decision.reason == f'RBAC: role.{RBAC} "gone" not found'


def test_a_role_binding_holds_in_its_namespace_only(world: World) -> None:
    world.role("reader", READ, namespace="default")
    world.bind("b", "reader", {"kind": "User", "name": "jane"}, namespace="default")
    decision = world.authorizer.authorize(JANE, get())
    assert decision.allowed
    assert decision.reason == (
        'RBAC: allowed by RoleBinding "b/default" of Role "reader" to User "jane"'
    )
    assert not world.authorizer.authorize(JANE, get("kube-system")).allowed
    assert not world.authorizer.authorize(JANE, get("")).allowed


def test_a_cluster_role_bound_in_a_namespace_gives_no_paths(world: World) -> None:
    paths = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    world.role("mixed", READ, paths)
    subject = {"kind": "Group", "name": "dev"}
    world.bind("b", "mixed", subject, namespace="default", kind="ClusterRole")
    assert world.authorizer.authorize(JANE, get()).allowed
    assert not world.authorizer.authorize(JANE, Attributes("get", path="/metrics")).allowed
    world.bind("b", "mixed", subject)
    decision = world.authorizer.authorize(JANE, Attributes("get", path="/metrics"))
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "mixed" to Group "dev"'
    )


def test_a_service_account_is_named_with_its_namespace(world: World) -> None:
    world.role("reader", READ, namespace="default")
    subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
    world.bind("b", "reader", subject, namespace="default")
    bot = UserInfo("system:serviceaccount:default:bot")
    decision = world.authorizer.authorize(bot, get())
    assert decision.reason.endswith('to ServiceAccount "bot/default"')
    other = UserInfo("system:serviceaccount:kube-system:bot")
    assert not world.authorizer.authorize(other, get()).allowed


def test_a_decision_follows_the_objects_at_once(world: World) -> None:
    world.role("reader", READ, namespace="default")
    assert not world.authorizer.authorize(JANE, get()).allowed
    world.bind("b", "reader", {"kind": "User", "name": "jane"}, namespace="default")
    assert world.authorizer.authorize(JANE, get()).allowed
    world.delete(RBAC, "rolebindings", "default", "b")
    assert not world.authorizer.authorize(JANE, get()).allowed


def test_masters_may_do_everything_and_only_they_may_ask_all_clusters(world: World) -> None:
    everywhere = get(cluster="*")
    world.role("all", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
    world.bind("b", "all", {"kind": "User", "name": "jane"})
    assert world.authorizer.authorize(ADMIN, everywhere).allowed
    assert not world.authorizer.authorize(JANE, everywhere).allowed


def test_rights_in_one_logical_cluster_are_none_in_another(workspaces: World) -> None:
    other = workspaces.workspace("other")
    workspaces.role("reader", READ)
    workspaces.bind("b", "reader", {"kind": "User", "name": "jane"})
    assert workspaces.authorizer.authorize(JANE, get()).allowed
    assert not workspaces.authorizer.authorize(JANE, get(cluster=other)).allowed


@pytest.mark.parametrize(
    ("user", "path", "allowed"),
    [
        (JANE, "/api/v1", True),
        (JANE, "/openapi/v3", True),
        (JANE, "/metrics", False),
        (ANONYMOUS, "/api", False),
        (ANONYMOUS, "/healthz", True),
        (ANONYMOUS, "/version", True),
    ],
)
def test_the_default_roles_open_what_a_real_server_opens(
    workspaces: World, user: UserInfo, path: str, allowed: bool
) -> None:
    cluster = workspaces.workspace("demo")
    attributes = Attributes("get", path=path, cluster=cluster)
    assert workspaces.authorizer.authorize(user, attributes).allowed is allowed


def test_admin_edit_and_view_differ_as_they_should(world: World) -> None:
    for role in ("admin", "edit", "view"):
        subject = {"kind": "User", "name": role}
        world.bind(role, role, subject, namespace="default", kind="ClusterRole")

    def may(user: str, verb: str, group: str, resource: str) -> bool:
        attributes = Attributes(verb, group=group, resource=resource, namespace="default")
        return bool(world.authorizer.authorize(UserInfo(user), attributes).allowed)

    assert may("view", "list", "apps", "deployments")
    assert not may("view", "get", "", "secrets")
    assert not may("view", "create", "apps", "deployments")
    assert may("edit", "create", "apps", "deployments")
    assert may("edit", "get", "", "secrets")
    assert not may("edit", "create", RBAC, "roles")
    assert may("admin", "create", RBAC, "roles")


def test_bootstrapping_twice_changes_nothing(world: World) -> None:
    before = world.registry.store.revision
    bootstrap_rbac(world.registry, "root")
    assert world.registry.store.revision == before


# -- escalation ---------------------------------------------------------------------------


def info(world: World, plural: str) -> ResourceInfo:
    found: ResourceInfo = world.registry.info("root", RBAC, "v1", plural)
    return found


def grant(world: World, user: UserInfo, plural: str, obj: dict[str, Any]) -> None:
    namespace = "" if plural.startswith("cluster") else "default"
    target = info(world, plural)
    check_escalation(world.registry, world.authorizer, user, target, "root", namespace, obj)


ROLE = {"metadata": {"name": "big"}, "rules": [READ]}


def binding(kind: str, name: str) -> dict[str, Any]:
    ref = {"apiGroup": RBAC, "kind": kind, "name": name}
    return {"metadata": {"name": "b"}, "roleRef": ref}


def test_nobody_writes_a_role_with_more_rights_than_their_own(world: World) -> None:
    with pytest.raises(StatusError) as refused:
        grant(world, JANE, "clusterroles", ROLE)
    assert refused.value.code == 403
    assert refused.value.message == (
        f'clusterroles.{RBAC} "big" is forbidden: user "jane" '
        '(groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not '
        'currently held:\n{APIGroups:[""], Resources:["configmaps"], Verbs:["get" "list"]}'
    )


def test_nobody_binds_a_role_with_more_rights_than_their_own(world: World) -> None:
    with pytest.raises(StatusError, match="not currently held"):
        grant(world, JANE, "rolebindings", binding("ClusterRole", "cluster-admin"))
    with pytest.raises(StatusError, match="not found") as missing:
        grant(world, JANE, "rolebindings", binding("Role", "gone"))
    assert missing.value.code == 404


def test_rights_that_one_has_may_be_handed_on(world: World) -> None:
    world.role("reader", READ)
    world.bind("b", "reader", {"kind": "User", "name": "jane"})
    grant(world, JANE, "clusterroles", ROLE)
    grant(world, JANE, "rolebindings", binding("ClusterRole", "reader"))


@pytest.mark.parametrize(
    ("verb", "resource", "plural", "obj"),
    [
        ("escalate", "clusterroles", "clusterroles", ROLE),
        ("escalate", "roles", "roles", ROLE),
        ("bind", "clusterroles", "rolebindings", binding("ClusterRole", "cluster-admin")),
    ],
)
def test_escalate_and_bind_lift_the_rule(
    world: World, verb: str, resource: str, plural: str, obj: dict[str, Any]
) -> None:
    world.role("lift", {"apiGroups": [RBAC], "resources": [resource], "verbs": [verb]})
    world.bind("lift", "lift", {"kind": "User", "name": "jane"})
    grant(world, JANE, plural, obj)


def test_masters_and_other_kinds_pass(world: World) -> None:
    grant(world, ADMIN, "clusterroles", ROLE)
    pods = world.registry.info("root", "", "v1", "pods")
    nothing: dict[str, Any] = {"metadata": {}}
    check_escalation(world.registry, world.authorizer, JANE, pods, "root", "default", nothing)


def test_what_grants_nothing_new_passes(world: World) -> None:
    world.role("big", READ)
    grant(world, JANE, "clusterroles", {**ROLE, "metadata": {"name": "big", "labels": {"a": "b"}}})
    more = {"metadata": {"name": "big"}, "rules": [READ, {**READ, "verbs": ["delete"]}]}
    with pytest.raises(StatusError, match="not currently held"):
        grant(world, JANE, "clusterroles", more)
