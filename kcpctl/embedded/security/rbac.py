"""The RBAC authorizer, over the Role and Binding objects of each logical cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.security.rules import Rule, allows
from kcpctl.embedded.user import MASTERS, Attributes, Decision, UserInfo
from kcpctl.logicalcluster import WILDCARD

__all__ = ["FOREIGN_IDENTITY", "RBAC_GROUP", "Authorizer", "Grant"]

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
FOREIGN_IDENTITY: Final = "authorization.kcp.io/identity"
"""Extra of a ServiceAccount outside its cluster: the user names that rules may know it by."""

_ACCOUNT_PREFIX: Final = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule that holds for a user, and the sentence that says through which binding."""

    rule: Rule
    reason: str
    cluster_wide: bool


class Authorizer:
    """Decides by the rules of the cluster that a request is for.

    Members of ``system:masters`` may do everything everywhere; requests to all clusters at once
    (``*``) are for them alone. Decisions follow a change of the objects at once: bindings are
    cached per cluster and dropped by the registry's events. Event loop's thread only.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._bindings: dict[tuple[str, str], list[dict[str, Any]]] = {}
        registry.subscribe(self._changed)

    def _changed(self, event: Event) -> None:
        if event.info.group == RBAC_GROUP and event.info.plural.endswith("bindings"):
            self._bindings.pop((event.cluster, event.namespace), None)

    def authorize(self, user: UserInfo, attributes: Attributes) -> Decision:
        """Decide; a refusal has a reason only when a binding names a role that is missing."""
        if MASTERS in user.groups:
            return Decision(True)
        if attributes.cluster == WILDCARD:
            return Decision(False)
        missing: list[str] = []
        for grant in self.grants(user, attributes.cluster, attributes.namespace, missing):
            if allows(grant.rule, attributes):
                return Decision(True, f"RBAC: allowed by {grant.reason}")
        return Decision(False, f"RBAC: {', '.join(missing)}" if missing else "")

    def grants(
        self, user: UserInfo, cluster: str, namespace: str, missing: list[str] | None = None
    ) -> Iterator[Grant]:
        """Yield what holds for ``user``, cluster-wide bindings first.

        Roles that bindings name and that do not exist are appended to ``missing``.
        """
        scopes = ("", namespace) if namespace else ("",)
        for scope in scopes:
            for binding in self._in_scope(cluster, scope):
                subject = _matching_subject(binding, user)
                if subject is None:
                    continue
                ref = binding["roleRef"]
                rules = self.role_rules(cluster, scope, ref)
                if rules is None:
                    if missing is not None:
                        missing.append(
                            f'{ref["kind"].lower()}.{RBAC_GROUP} "{ref["name"]}" not found'
                        )
                    continue
                reason = _reason(binding, scope, subject)
                for rule in rules:
                    yield Grant(rule, reason, cluster_wide=not scope)

    def role_rules(self, cluster: str, namespace: str, ref: dict[str, Any]) -> list[Rule] | None:
        """Return the rules of the role that a binding refers to; None when there is none."""
        plural, where = (
            ("clusterroles", "") if ref["kind"] == "ClusterRole" else ("roles", namespace)
        )
        info = self._registry.info(cluster, RBAC_GROUP, "v1", plural)
        role = self._registry.find(info, cluster, where, ref["name"])
        return None if role is None else list(role.get("rules") or ())

    def _in_scope(self, cluster: str, namespace: str) -> list[dict[str, Any]]:
        key = (cluster, namespace)
        found = self._bindings.get(key)
        if found is None:
            plural = "rolebindings" if namespace else "clusterrolebindings"
            info = self._registry.info(cluster, RBAC_GROUP, "v1", plural)
            found = self._registry.list(info, cluster, namespace or None)
            self._bindings[key] = found
        return found


def _matching_subject(binding: dict[str, Any], user: UserInfo) -> dict[str, Any] | None:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User":
            matches = name == user.username or name in user.extra.get(FOREIGN_IDENTITY, ())
        elif kind == "Group":
            matches = name in user.groups
        elif kind == "ServiceAccount":
            matches = user.username == f"{_ACCOUNT_PREFIX}{subject.get('namespace', '')}:{name}"
        else:
            matches = False
        if matches:
            found: dict[str, Any] = subject
            return found
    return None


def _reason(binding: dict[str, Any], namespace: str, subject: dict[str, Any]) -> str:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    name = binding["metadata"]["name"]
    where = f"{name}/{namespace}" if namespace else name
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace', '')}"
    ref = binding["roleRef"]
    return f'{kind} "{where}" of {ref["kind"]} "{ref["name"]}" to {subject["kind"]} "{who}"'
