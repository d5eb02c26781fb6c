"""Nobody may hand out rights that they do not have themselves."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.rbac import RBAC_GROUP, Authorizer
from kcpctl.embedded.security.rules import uncovered
from kcpctl.embedded.status import forbidden, not_found
from kcpctl.embedded.user import MASTERS, Attributes, UserInfo

__all__ = ["check_escalation"]

_GRANTING: Final = ("rules", "roleRef", "subjects", "aggregationRule")


def check_escalation(
    registry: Registry,
    authorizer: Authorizer,
    user: UserInfo,
    info: ResourceInfo,
    cluster: str,
    namespace: str,
    obj: dict[str, Any],
) -> None:
    """Raise 403 when ``user`` writes a role or binding that grants more than ``user`` holds.

    A change of something else in the object (an annotation) passes. The verbs ``escalate`` on
    roles and ``bind`` on the role that is bound lift the rule, and so does membership of
    ``system:masters``. Other kinds always pass.
    """
    if info.group != RBAC_GROUP or MASTERS in user.groups:
        return
    old = registry.find(info, cluster, namespace, obj["metadata"].get("name", ""))
    if old is not None and all(old.get(field) == obj.get(field) for field in _GRANTING):
        return
    if info.plural in ("roles", "clusterroles"):
        verb, resource, name = "escalate", info.plural, obj["metadata"].get("name", "")
        wanted = obj.get("rules") or []
    else:
        ref = obj.get("roleRef") or {}
        cluster_role = ref.get("kind") == "ClusterRole"
        verb, resource = "bind", "clusterroles" if cluster_role else "roles"
        name = ref.get("name", "")
    attributes = Attributes(
        verb,
        group=RBAC_GROUP,
        version="v1",
        resource=resource,
        namespace=namespace,
        name=name,
        cluster=cluster,
    )
    if authorizer.authorize(user, attributes).allowed:
        return
    if verb == "bind":
        rules = authorizer.role_rules(cluster, namespace, ref)
        if rules is None:
            raise not_found(info, name)
        wanted = rules
    held = [grant.rule for grant in authorizer.grants(user, cluster, namespace)]
    too_much = uncovered(held, wanted)
    if too_much:
        groups = " ".join(f'"{group}"' for group in user.groups)
        raise forbidden(
            info,
            obj["metadata"].get("name", ""),
            f'user "{user.username}" (groups=[{groups}]) is attempting to grant RBAC permissions '
            "not currently held:\n" + "\n".join(too_much),
        )
