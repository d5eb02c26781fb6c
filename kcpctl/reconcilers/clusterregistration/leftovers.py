"""What an earlier version of a manifest put into a SyncTarget, and the newest has no more."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from kcpctl.apis.meta import Unstructured

__all__ = ["leftovers"]


def leftovers(live: Unstructured, wanted: Unstructured, *, field_manager: str) -> Unstructured:
    """Return the merge patch that takes labels, capacity and taints off that are ours; {} if none.

    Ours is what the managed fields say, so what somebody else added stays. A server-side apply does
    the same by itself, except through a virtual workspace of a kcp (v0.33): that turns it into an
    update, which removes nothing. Pure.
    """
    owned = _owned(live, field_manager)
    meta, spec = wanted["metadata"], wanted["spec"]
    patch: Unstructured = {}
    if gone := _gone(owned, "metadata", "labels", there=live["metadata"], kept=meta):
        patch["metadata"] = {"labels": dict.fromkeys(gone)}
    changes: Unstructured = {}
    if gone := _gone(owned, "spec", "capacity", there=live.get("spec") or {}, kept=spec):
        changes["capacity"] = dict.fromkeys(gone)
    there = (live.get("spec") or {}).get("taints") or []
    kept = [taint for taint in there if not _is_stale(taint, owned, spec.get("taints") or ())]
    if len(kept) < len(there):
        changes["taints"] = kept
    if changes:
        patch["spec"] = changes
    return patch


def _owned(live: Unstructured, field_manager: str) -> list[Mapping[str, Any]]:
    """Return the field sets of a manager: after an update it has one for that, too."""
    entries = live["metadata"].get("managedFields") or ()
    return [
        one.get("fieldsV1") or {}
        for one in entries
        if one.get("manager") == field_manager and not one.get("subresource")
    ]


def _fields(owned: list[Mapping[str, Any]], section: str, field: str) -> set[str]:
    sets = [(one.get(f"f:{section}") or {}).get(f"f:{field}") or {} for one in owned]
    return {key for one in sets for key in one}


def _gone(
    owned: list[Mapping[str, Any]],
    section: str,
    field: str,
    *,
    there: Mapping[str, Any],
    kept: Mapping[str, Any],
) -> list[str]:
    """Return the keys of a map that are ours and there, and not to be kept."""
    ours = {key.removeprefix("f:") for key in _fields(owned, section, field)}
    present: Collection[str] = there.get(field) or {}
    return sorted(ours.intersection(present).difference(kept.get(field) or {}))


def _is_stale(
    taint: Mapping[str, Any], owned: list[Mapping[str, Any]], kept: Collection[Mapping[str, Any]]
) -> bool:
    identity = {"key": taint.get("key"), "effect": taint.get("effect")}
    if any(identity == {"key": one["key"], "effect": one["effect"]} for one in kept):
        return False
    ours = [key.removeprefix("k:") for key in _fields(owned, "spec", "taints") if key[:2] == "k:"]
    return identity in [json.loads(one) for one in ours]
