"""What the endpoints of a CertificateSigningRequest write."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.status import Cause, invalid

__all__ = ["judged", "keep_request", "signed"]

Json = dict[str, Any]


def keep_request(obj: Json, old: Json | None) -> None:
    """Keep what was asked for: the spec is immutable, and nobody is told."""
    if old is not None:
        obj["spec"] = old["spec"]


def judged(obj: Json, old: Json, now: str) -> None:
    """Write by ``approval``: of the status only the conditions, with their times."""
    obj["status"] = {**(old.get("status") or {}), "conditions": _stamped(obj, old, now)}


def signed(obj: Json, old: Json, now: str) -> None:
    """Write by ``status``: verdicts stay as they are; raises 422 for one that is added."""
    conditions = _stamped(obj, old, now)
    known = (old.get("status") or {}).get("conditions") or ()
    causes = []
    for type_ in ("Approved", "Denied"):
        before = [one for one in known if one.get("type") == type_]
        found = [one for one in conditions if one.get("type") == type_]
        if len(found) > len(before):
            detail = f'updates may not add a condition of type "{type_}"'
            causes.append(Cause.forbidden("status.conditions", detail))
        elif len(found) == len(before):
            kept = iter(before)
            conditions = [next(kept) if one.get("type") == type_ else one for one in conditions]
    if causes:
        kind, group = "CertificateSigningRequest", "certificates.k8s.io"
        raise invalid(kind, group, obj["metadata"]["name"], causes)
    status = dict(obj.get("status") or {})
    if conditions or "conditions" in status:
        status["conditions"] = conditions
    obj["status"] = status


def _stamped(obj: Json, old: Json, now: str) -> list[Json]:
    """Return the conditions that are written, with times."""
    before = {
        (one.get("type"), one.get("status")): one.get("lastTransitionTime")
        for one in (old.get("status") or {}).get("conditions") or ()
    }
    stamped = []
    for one in (obj.get("status") or {}).get("conditions") or ():
        since = before.get((one.get("type"), one.get("status"))) or now
        times = {
            "lastUpdateTime": one.get("lastUpdateTime") or now,
            "lastTransitionTime": one.get("lastTransitionTime") or since,
        }
        stamped.append({**one, **times})
    return stamped
