"""Permission claims: what an export asks for, what a binding accepts, and what is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from kcpctl.embedded.exports.conditions import CLAIMS_APPLIED, mark_false, mark_true

__all__ = ["ClaimKey", "accepted_claims", "apply_claims", "exported_claims"]

Json = dict[str, Any]
_VALID: Final = "PermissionClaimsValid"
_SHOWN_INVALID: Final = 10
_SHOWN_MISMATCHES: Final = 5


class ClaimKey(NamedTuple):
    """What a claim is about; claims of an export and a binding with one key belong together."""

    resource: str
    group: str
    identity: str

    @classmethod
    def of(cls, claim: Json) -> ClaimKey:
        """Return the key of a claim."""
        return cls(claim["resource"], claim.get("group", ""), claim.get("identityHash", ""))


def exported_claims(export: Json) -> dict[ClaimKey, Json]:
    """Return the claims of an APIExport."""
    claims = (export.get("spec") or {}).get("permissionClaims") or ()
    return {ClaimKey.of(claim): claim for claim in claims}


def accepted_claims(binding: Json) -> dict[ClaimKey, Json]:
    """Return the claims that an APIBinding accepts, without their state."""
    claims = (binding.get("spec") or {}).get("permissionClaims") or ()
    return {
        ClaimKey.of(claim): {key: value for key, value in claim.items() if key != "state"}
        for claim in claims
        if claim.get("state") == "Accepted"
    }


def apply_claims(
    status: Json, binding: Json, export: Json, is_known: Callable[[ClaimKey], bool], now: str
) -> None:
    """Write into ``status`` which claims hold, and what is wrong with the others."""
    exported, accepted = exported_claims(export), accepted_claims(binding)
    expected = sorted(exported.keys() & accepted.keys())
    unexpected = sorted(accepted.keys() - exported.keys())
    invalid = [_unexpected(key) for key in unexpected]
    mismatches = [
        text for key in expected if (text := _mismatch(key, accepted[key], exported[key]))
    ]
    if mismatches:
        shown = mismatches[:_SHOWN_MISMATCHES]
        message = (
            f"{len(mismatches)} permission claim(s) have mismatched verbs or selectors (showing "
            f"first {len(shown)}): {', '.join(shown)}"
        )
        reason = "PermissionClaimsMismatch"
        mark_false(status, _VALID, reason, message, now, severity="Warning")
    elif invalid:
        shown = invalid[:_SHOWN_INVALID]
        message = (
            f"{len(invalid)} unexpected and/or invalid permission claims (showing first "
            f"{len(shown)}): {_aggregate(shown)}"
        )
        mark_false(status, _VALID, "InvalidPermissionClaims", message, now)
    else:
        mark_true(status, _VALID, now)
    unknown = [key for key in expected if not is_known(key)]
    applied = [accepted[key] for key in expected if key not in unknown]
    status.pop("appliedPermissionClaims", None)
    if applied:
        status["appliedPermissionClaims"] = applied
    if unknown:
        errors = [_unknown(key) for key in unknown[:_SHOWN_INVALID]]
        message = f"Permission claims have not been fully applied: {_aggregate(errors)}"
        mark_false(status, CLAIMS_APPLIED, "InternalError", message, now)
    else:
        mark_true(status, CLAIMS_APPLIED, now)


def _unexpected(key: ClaimKey) -> str:
    name = f"{key.resource}.{key.group}"
    return f'unexpected/invalid claim for {name} (identity "{key.identity}")'


def _unknown(key: ClaimKey) -> str:
    return (
        f'error getting informer for group="{key.group}", resource="{key.resource}": unable to '
        f"find informer for {key.resource}.{key.group}"
    )


def _mismatch(key: ClaimKey, accepted: Json, exported: Json) -> str:
    """Return what differs between two claims of one key, "" when nothing does."""
    parts = []
    ours, theirs = accepted.get("verbs") or [], exported.get("verbs") or []
    if "*" not in ours and "*" not in theirs and set(ours) != set(theirs):
        parts.append(f"verbs: accepted [{' '.join(ours)}], exported [{' '.join(theirs)}]")
    default = exported.get("defaultSelector")
    if default is not None and accepted.get("selector") != default:
        parts.append("selector differs from defaultSelector")
    return f"{key.resource}.{key.group} ({'; '.join(parts)})" if parts else ""


def _aggregate(errors: Iterable[str]) -> str:
    """Return errors as Go joins them: in brackets when there are several."""
    found = list(dict.fromkeys(errors))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"
