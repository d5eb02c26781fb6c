"""What a consumer lets an export do in its workspace: the claims that its APIBinding accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "EVENTS",
    "GroupResource",
    "accepted_claim",
    "accepted_claims",
    "allows",
    "claimed",
    "is_bound",
    "selects",
]

Json = dict[str, Any]


class GroupResource(NamedTuple):
    """A resource in any version; ``group`` is "" for the core group."""

    group: str
    plural: str

    @property
    def normal(self) -> GroupResource:
        """The resource that claims name: Events are one resource in two groups."""
        return EVENTS if self == ("events.k8s.io", "events") else self


EVENTS: Final = GroupResource("", "events")


def claimed(claim: Json) -> GroupResource:
    """Return what a claim is about."""
    return GroupResource(claim.get("group") or "", claim.get("resource") or "")


def is_bound(binding: Json, resource: GroupResource) -> bool:
    """Whether a binding brings a resource into its workspace."""
    bound = (binding.get("status") or {}).get("boundResources") or ()
    return any(GroupResource(one.get("group") or "", one["resource"]) == resource for one in bound)


def accepted_claims(binding: Json) -> Iterator[Json]:
    """Yield the claims that a binding accepts."""
    for claim in (binding.get("spec") or {}).get("permissionClaims") or ():
        if claim.get("state") == "Accepted":
            yield claim


def accepted_claim(binding: Json, resource: GroupResource) -> Json | None:
    """Return the first claim on a resource that a binding accepts."""
    found = (one for one in accepted_claims(binding) if claimed(one) == resource.normal)
    return next(found, None)


def allows(export: Json, binding: Json, resource: GroupResource, verb: str) -> bool:
    """Whether an accepted claim on a resource allows a verb.

    It does when both export and binding *name* the verb, or ``*``: a word like any other in this,
    so that with ``["*"]`` here and ``["get"]`` there nothing is allowed, as in kcp.
    """
    return any(
        _common_verbs(export, claim) & {verb, "*"}
        for claim in accepted_claims(binding)
        if claimed(claim) == resource.normal
    )


def _common_verbs(export: Json, accepted: Json) -> frozenset[str]:
    for claim in (export.get("spec") or {}).get("permissionClaims") or ():
        if claimed(claim) == claimed(accepted) and _identity(claim) == _identity(accepted):
            return frozenset(claim.get("verbs") or ()) & frozenset(accepted.get("verbs") or ())
    return frozenset()


def _identity(claim: Json) -> str:
    return claim.get("identityHash") or ""


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Whether a claim's selector (matchAll, matchLabels, matchExpressions) admits labels."""
    selector = selector or {}
    if selector.get("matchAll"):
        return True
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_satisfied(rule, labels) for rule in selector.get("matchExpressions") or ())


def _satisfied(rule: Json, labels: Mapping[str, str]) -> bool:
    value, operator = labels.get(rule.get("key", "")), rule.get("operator")
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    return (value in (rule.get("values") or ())) is (operator == "In")
