"""Conditions as kcp writes them: with a severity, Ready first and the others by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

__all__ = [
    "BINDING_UP_TO_DATE",
    "CLAIMS_APPLIED",
    "EXPORT_VALID",
    "condition",
    "is_true",
    "mark_false",
    "mark_true",
    "summarize",
]

Json = dict[str, Any]
Severity = Literal["Error", "Warning", "Info"]
BINDING_UP_TO_DATE: Final = "BindingUpToDate"
CLAIMS_APPLIED: Final = "PermissionClaimsApplied"
EXPORT_VALID: Final = "APIExportValid"
_READY: Final = "Ready"


def condition(status: Json, kind: str) -> Json | None:
    """Return a condition of a status."""
    conditions: Iterable[Json] = status.get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)


def is_true(status: Json, kind: str) -> bool:
    """Whether a condition is there and True."""
    found = condition(status, kind)
    return found is not None and found["status"] == "True"


def _set(status: Json, new: Json, now: str) -> None:
    old = condition(status, new["type"])
    if old is not None and {**old, "lastTransitionTime": ""} == {**new, "lastTransitionTime": ""}:
        return
    new["lastTransitionTime"] = now
    others = [one for one in status.get("conditions") or () if one["type"] != new["type"]]
    status["conditions"] = sorted(
        [*others, new], key=lambda one: (one["type"] != _READY, one["type"])
    )


def mark_true(status: Json, kind: str, now: str) -> None:
    """Set a condition to True; its time moves only when something else in it does."""
    _set(status, {"type": kind, "status": "True"}, now)


def mark_false(
    status: Json, kind: str, reason: str, message: str, now: str, *, severity: Severity = "Error"
) -> None:
    """Set a condition to False."""
    new = {
        "type": kind,
        "status": "False",
        "severity": severity,
        "reason": reason,
        "message": message,
    }
    _set(status, new, now)


def summarize(status: Json, kind: str, now: str) -> None:
    """Set Ready to what one condition says."""
    found = condition(status, kind)
    if found is not None:
        _set(status, {**found, "type": _READY}, now)
