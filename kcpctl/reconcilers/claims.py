"""What a workspace has to accept before the controllers can do their work in it (4.6).

On a kcp a Secret that is not shown and a write that is refused look alike, whatever is missing; the
APIBinding of the workspace tells what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kcpctl.apis.export import CLAIMS
from kcpctl.apis.kcp import AcceptableClaim, APIBinding
from kcpctl.errors import ApiError, Forbidden

__all__ = ["Bindings", "Hint", "claim_hint", "explained", "hint_from", "no_hint"]

_WANTED: Final = {claim.group_resource: claim.verbs for claim in CLAIMS}

Hint = Callable[[str, str], str]
"""Returns what a logical cluster has to do for the resource (``leases.coordination.k8s.io``) to be
open to the controllers, as half a sentence; "" when nothing is known to be missing. No I/O."""


class Bindings(Protocol):
    """Who knows by which APIBinding a logical cluster is served. Any thread, no I/O."""

    def binding(self, cluster: str) -> APIBinding | None:
        """Return the APIBinding as it was last seen; None for a cluster that has none."""


def no_hint(*_: str) -> str:
    """Know nothing: on servers where nobody has to accept anything."""
    return ""


def hint_from(bindings: Bindings) -> Hint:
    """Return the hint that looks into the bindings."""

    def hint(cluster: str, group_resource: str) -> str:
        found = bindings.binding(cluster)
        return "" if found is None else claim_hint(found, group_resource)

    return hint


def explained(error: ApiError, cluster: str, hint: Hint) -> str:
    """Return the message of an error, and the claim to accept where that is why."""
    if not isinstance(error, Forbidden):
        return error.message
    resource, group = error.details.get("kind", ""), error.details.get("group", "")
    missing = hint(cluster, f"{resource}.{group}" if group else resource)
    return f"{error.message}; {missing}" if missing else error.message


def claim_hint(binding: APIBinding, group_resource: str) -> str:
    """Return what is missing between the export's claim on a resource and its use, "" if nothing.

    The checks are in the order in which people have to act: the provider, then the tenant.
    """
    wanted = _WANTED.get(group_resource)
    if wanted is None:
        return ""
    claims = binding.status.export_permission_claims
    claimed = next((one for one in claims if one.group_resource == group_resource), None)
    if claimed is None:
        return _of_the_provider(binding, group_resource)
    if unclaimed := [verb for verb in wanted if not {verb, "*"} & set(claimed.verbs)]:
        return _of_the_provider(binding, f"{_verbs(unclaimed)} on {group_resource}")
    where = f"the APIBinding {binding.metadata.name!r} of workspace {_workspace(binding)!r}"
    spelled = _verbs(claimed.verbs)
    mine = [one for one in binding.accepted_claims if one.group_resource == group_resource]
    if not mine:
        return f"accept the permission claim on {group_resource} (verbs {spelled}) in {where}"
    both = {verb for claim in mine for verb in claim.verbs} & set(claimed.verbs)
    if lacking := [verb for verb in wanted if not both & {verb, "*"}]:
        return (
            f"the permission claim on {group_resource} does not allow {_verbs(lacking)}: accept "
            f"it in {where} with the verbs spelled as the export does ({spelled})"
        )
    return _restricted(mine, group_resource, where)


def _of_the_provider(binding: APIBinding, missing: str) -> str:
    export = binding.export
    return (
        f"the APIExport {export.name!r} in {export.path!r} does not claim {missing}: its provider "
        "has to apply config/kcp of this version there"
    )


def _restricted(claims: Sequence[AcceptableClaim], group_resource: str, where: str) -> str:
    if any(claim.selector.get("matchAll") for claim in claims):
        return ""
    labels = [one for claim in claims for one in claim.selector.get("matchLabels", {}).items()]
    named = ", ".join(f"{key}={value}" for key, value in labels) or "those of its selector"
    return f"{where} opens {group_resource} only with the labels {named}: label it so"


def _verbs(verbs: Sequence[str]) -> str:
    return ", ".join(verbs)


def _workspace(binding: APIBinding) -> str:
    return binding.path or binding.cluster
