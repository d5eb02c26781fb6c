"""What a consumer lets an export do in its workspace: the claims that its APIBinding accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kcpctl.apis import label_selector
from kcpctl.embedded.exports.claims import accepted_claims, exported_claims

__all__ = [
    "EVENTS",
    "GroupResource",
    "accepted_claim",
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


def accepted_claim(binding: Json, resource: GroupResource) -> Json | None:
    """Return the first claim on a resource that a binding accepts."""
    claims = accepted_claims(binding).values()
    return next((one for one in claims if claimed(one) == resource.normal), None)


def allows(export: Json, binding: Json, resource: GroupResource, verb: str) -> bool:
    """Whether an accepted claim on a resource allows a verb.

    It does when both export and binding *name* the verb, or ``*``: a word like any other in this,
    so that with ``["*"]`` here and ``["get"]`` there nothing is allowed, as in kcp.
    """
    exported = exported_claims(export)
    return any(
        {verb, "*"} & {*claim["verbs"]} & {*exported[key]["verbs"]}
        for key, claim in accepted_claims(binding).items()
        if key in exported and claimed(claim) == resource.normal
    )


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Whether a claim's selector (matchAll, matchLabels, matchExpressions) admits labels."""
    return bool(selector and selector.get("matchAll")) or label_selector.selects(selector, labels)
