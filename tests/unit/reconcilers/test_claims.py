"""What a workspace is told to accept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcpctl.apis.convert import decode
from kcpctl.apis.export import CLAIMS, binding
from kcpctl.apis.kcp import APIBinding
from kcpctl.errors import Forbidden, NotFound
from kcpctl.reconcilers.claims import claim_hint, explained, hint_from, no_hint

SECRETS_SPELLED = "get, list, watch, create, patch"
WHERE = "the APIBinding 'kcpctl' of workspace 'root:tenant'"


def accepting_all(**metadata: Any) -> dict[str, Any]:
    """Return a binding as kcp has it when a tenant has accepted all claims."""
    obj: dict[str, Any] = copy.deepcopy(binding("root:provider"))
    annotations = {"kcp.io/cluster": "abc", "kcp.io/path": "root:tenant"}
    obj["metadata"] |= {"annotations": annotations, **metadata}
    names = ("group", "resource", "verbs")
    claims = [{name: claim[name] for name in names} for claim in obj["spec"]["permissionClaims"]]
    obj["status"] = {"exportPermissionClaims": copy.deepcopy(claims)}
    return obj


def of_secrets(obj: dict[str, Any], where: str) -> dict[str, Any]:
    claims = obj["spec"]["permissionClaims"]
    if where == "status":
        claims = obj["status"]["exportPermissionClaims"]
    found: dict[str, Any] = next(claim for claim in claims if claim["resource"] == "secrets")
    return found


def rejected(obj: dict[str, Any]) -> None:
    of_secrets(obj, "spec")["state"] = "Rejected"


def never_answered(obj: dict[str, Any]) -> None:
    obj["spec"]["permissionClaims"] = []


def other_verbs(obj: dict[str, Any]) -> None:
    of_secrets(obj, "spec")["verbs"] = ["get", "list", "watch"]


def wildcard(obj: dict[str, Any]) -> None:
    of_secrets(obj, "spec")["verbs"] = ["*"]


def by_label(obj: dict[str, Any]) -> None:
    of_secrets(obj, "spec")["selector"] = {"matchLabels": {"for": "kcpctl"}}


def claimed_by_an_older_version(obj: dict[str, Any]) -> None:
    for where in ("spec", "status"):
        of_secrets(obj, where)["verbs"] = ["get", "list", "watch", "patch"]


def not_claimed(obj: dict[str, Any]) -> None:
    claims = obj["status"]["exportPermissionClaims"]
    claims.remove(of_secrets(obj, "status"))


RESPELL = f"accept it in {WHERE} with the verbs spelled as the export does ({SECRETS_SPELLED})"
RELABEL = f"{WHERE} opens secrets only with the labels for=kcpctl: label it so"
OF_THE_PROVIDER = (
    "the APIExport 'kcpctl' in 'root:provider' does not claim secrets: its provider has to apply "
    "config/kcp of this version there"
)
ACCEPT = f"accept the permission claim on secrets (verbs {SECRETS_SPELLED}) in {WHERE}"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (never_answered, ACCEPT),
        (rejected, ACCEPT),
        (
            other_verbs,
            f"the permission claim on secrets does not allow create, patch: {RESPELL}",
        ),
        (
            wildcard,
            f"the permission claim on secrets does not allow {SECRETS_SPELLED}: {RESPELL}",
        ),
        (by_label, RELABEL),
        (not_claimed, OF_THE_PROVIDER),
        (
            claimed_by_an_older_version,
            OF_THE_PROVIDER.replace("claim secrets", "claim create on secrets"),
        ),
    ],
)
def test_the_hint_names_who_has_to_do_what_and_where(
    change: Callable[[dict[str, Any]], None], hint: str
) -> None:
    obj = accepting_all()
    change(obj)
    assert claim_hint(decode(obj, APIBinding), "secrets") == hint


def test_there_is_no_hint_where_all_is_accepted_as_it_is_claimed() -> None:
    found = decode(accepting_all(), APIBinding)
    assert [claim_hint(found, claim.group_resource) for claim in CLAIMS] == [""] * len(CLAIMS)


def test_a_wildcard_on_both_sides_allows_every_verb() -> None:
    obj = accepting_all()
    wildcard(obj)
    of_secrets(obj, "status")["verbs"] = ["*"]
    assert claim_hint(decode(obj, APIBinding), "secrets") == ""


def test_there_is_no_hint_for_what_the_controllers_never_claim() -> None:
    assert claim_hint(decode(accepting_all(), APIBinding), "pods") == ""


def test_a_workspace_without_a_path_is_called_by_its_name() -> None:
    obj = accepting_all(annotations={"kcp.io/cluster": "abc"})
    rejected(obj)
    assert claim_hint(decode(obj, APIBinding), "secrets").endswith("of workspace 'abc'")


class _Bindings:
    def binding(self, cluster: str) -> APIBinding | None:
        obj = accepting_all()
        never_answered(obj)
        return decode(obj, APIBinding) if cluster == "abc" else None


def test_the_hint_is_of_the_binding_of_the_cluster() -> None:
    hint = hint_from(_Bindings())
    assert hint("abc", "secrets") == ACCEPT
    assert hint("other", "secrets") == ""


def test_an_error_is_explained_by_the_claim_that_is_missing() -> None:
    details = {"group": "rbac.authorization.k8s.io", "kind": "clusterroles", "name": "x"}
    refused = Forbidden("clusterroles ... is forbidden", details=details)
    told = explained(refused, "abc", hint_from(_Bindings()))
    assert told == (
        "clusterroles ... is forbidden; accept the permission claim on "
        "clusterroles.rbac.authorization.k8s.io (verbs get, create, patch, delete) in " + WHERE
    )
    assert explained(refused, "abc", no_hint) == "clusterroles ... is forbidden"


def test_an_error_that_is_no_refusal_is_left_as_it_is() -> None:
    gone = NotFound("gone", details={"kind": "secrets"})
    assert explained(gone, "abc", hint_from(_Bindings())) == "gone"
