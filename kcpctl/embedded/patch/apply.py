"""Server-side apply, and the tracking of field owners of all other writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kcpctl.embedded.patch import managers as managed
from kcpctl.embedded.patch.fieldset import FieldSet, Path, path_text
from kcpctl.embedded.patch.last_applied import with_last_applied, yielded_fields
from kcpctl.embedded.patch.managers import Entry, Manager
from kcpctl.embedded.patch.typecheck import type_problems
from kcpctl.embedded.patch.typed import compare, field_set, merge, named_fields, remove
from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.status import StatusError, bad_request, internal

__all__ = ["server_side_apply", "track_update"]

Json = dict[str, Any]
_BEFORE_FIRST_APPLY: Final = "before-first-apply"
_ALWAYS: Final = ("apiVersion", "kind", "metadata")


def server_side_apply(
    live: Json | None,
    applied: Json,
    manager: str,
    schema: Schema,
    *,
    force: bool,
    now: float,
    api_version: str,
    subresource: str = "",
    reset_fields: Sequence[str] = (),
) -> Json:
    """Return the live object merged with an applied one, with its new managedFields.

    ``live`` None creates. The result is to be defaulted, pruned and validated like any other
    write, but not tracked again. ``reset_fields``: top-level fields that this endpoint does not
    write (``("status",)`` on the main one of a kind with a status subresource). A no-op returns
    an object equal to ``live``. ``now``: wall clock seconds. Raises StatusError 409 with the
    conflicts, 400 and 500 for bodies that are not an applicable object.
    """
    if (applied.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    _check(applied, schema, api_version)
    wanted = _written(applied, subresource, reset_fields)
    before = _unmanaged(live or {})
    owners = _owners(live, schema, now, api_version)
    me = Manager.of(manager, "Apply", api_version, subresource)
    last = owners.get(me)
    mine = managed.strip(field_set(wanted, schema))
    owners[me] = Entry(mine, api_version, last.time if last else None)
    result = merge(before, wanted, schema)
    if last is not None and last.fields:
        result = _without_abandoned(result, owners, last.fields, schema)
    yielded = yielded_fields(before, manager, schema)
    _take(before, result, owners, me, schema, force=force, yielded=yielded)
    result = with_last_applied(result, applied, manager)
    if me in owners and result != before:
        owners[me] = replace(owners[me], time=managed.timestamp(now))
    return _with_owners(result, owners)


def _check(applied: Json, schema: Schema, api_version: str) -> None:
    problems = sorted(type_problems(applied, schema))
    if not problems:
        return
    meta = applied.get("metadata") or {}
    name = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    group, _, version = api_version.rpartition("/")
    what = f"({name}; {group}/{version}, Kind={applied.get('kind', '')})"
    lines = "".join(f"\n  {problem}" for problem in problems)
    text = problems[0] if len(problems) == 1 else f"errors:{lines}"
    raise internal(f"failed to create typed patch object {what}: {text}")


def _written(applied: Json, subresource: str, reset_fields: Sequence[str]) -> Json:
    """Return what of the applied object this endpoint writes."""
    if subresource == "status":
        return {key: value for key, value in applied.items() if key in {*_ALWAYS, "status"}}
    return {key: value for key, value in applied.items() if key not in reset_fields}


def _unmanaged(obj: Mapping[str, Any]) -> Json:
    """Return the object without managedFields."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return dict(obj)
    kept = {key: value for key, value in meta.items() if key != "managedFields"}
    return {**obj, "metadata": kept}


def _with_owners(obj: Json, owners: Mapping[Manager, Entry]) -> Json:
    result = _unmanaged(obj)
    if owners:
        meta = result.get("metadata") or {}
        result["metadata"] = {**meta, "managedFields": managed.encode(owners)}
    return result


def _decoded(obj: Mapping[str, Any]) -> dict[Manager, Entry]:
    """Entries that cannot be read count as none, as on the real server."""
    try:
        return managed.decode(obj)
    except ValueError:
        return {}


def _owners(
    live: Json | None, schema: Schema, now: float, api_version: str
) -> dict[Manager, Entry]:
    """Return the live object's owners; one that nobody owns belongs to "before-first-apply"."""
    owners = _decoded(live or {})
    if owners or live is None:
        return owners
    difference = compare({}, _unmanaged(live), schema)
    fields = managed.strip(difference.added.union(difference.modified))
    manager = Manager.of(_BEFORE_FIRST_APPLY, "Update", api_version, "")
    return {manager: Entry(fields, api_version, managed.timestamp(now))} if fields else {}


def _without_abandoned(
    merged: Json, owners: Mapping[Manager, Entry], last: FieldSet, schema: Schema
) -> Json:
    """Remove what the applier owned and no longer applies, unless somebody else owns it too."""
    last = named_fields(last, schema)
    # Nobody owns the name, the uid and what else the server keeps in there.
    last.members.discard("f:metadata")
    everybody = FieldSet()
    for entry in owners.values():
        everybody = everybody.union(entry.fields)
    everybody = named_fields(everybody, schema)
    all_fields = named_fields(field_set(merged, schema), schema)
    # First everything that was applied goes, then comes back what has an owner, and last what
    # was never the applier's but lies inside of what went.
    rest = remove(merged, last, schema) or {}
    rest_fields = named_fields(field_set(rest, schema), schema)
    kept = remove(merged, all_fields.difference(rest_fields.union(everybody)), schema) or {}
    kept_fields = named_fields(field_set(kept, schema), schema)
    gone = all_fields.difference(kept_fields).intersection(last)
    result = remove(merged, gone, schema)
    return result if isinstance(result, dict) else {}


def _take(
    before: Json,
    after: Json,
    owners: dict[Manager, Entry],
    me: Manager,
    schema: Schema,
    *,
    force: bool,
    yielded: FieldSet | None = None,
) -> FieldSet:
    """Take from the others what changes; returns it.

    Raises the conflicts when not forced, except those about fields that are ``yielded``.
    """
    difference = compare(before, after, schema)
    changed = difference.modified.union(difference.added)
    conflicts = {
        other: entry.fields.intersection(changed) for other, entry in owners.items() if other != me
    }
    disputed = {
        other: fields.difference(yielded or FieldSet()) for other, fields in conflicts.items()
    }
    found = [(other, path) for other, fields in disputed.items() for path in fields.paths()]
    if found and not force:
        raise _conflict(found)
    for other in list(owners):
        entry = owners[other]
        fields = entry.fields.difference(conflicts.get(other, FieldSet()))
        if other != me:
            fields = fields.difference(difference.removed)
        if fields:
            owners[other] = entry.owning(fields)
        else:
            del owners[other]
    return changed


def _conflict(found: Sequence[tuple[Manager, Path]]) -> StatusError:
    found = sorted(found, key=lambda pair: (str(pair[0]), pair[1]))
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager}",
            "field": path_text(path),
        }
        for manager, path in found
    ]
    if len(found) == 1:
        manager, path = found[0]
        text = f"Apply failed with 1 conflict: conflict with {manager}: {path_text(path)}"
    else:
        lines: list[str] = []
        for manager in dict.fromkeys(manager for manager, _ in found):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {path_text(path)}" for other, path in found if other == manager]
        text = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", text, {"causes": causes})


def track_update(
    old: Json | None,
    new: Json,
    manager: str,
    schema: Schema,
    *,
    now: float,
    api_version: str,
    subresource: str = "",
) -> Json:
    """Return ``new`` (complete: defaulted, status and metadata filled in) with managedFields.

    ``old`` None is a create. What the client sent as managedFields is taken as the state to go
    on from when it is valid; an empty list resets. Objects that nobody owns stay untracked.
    """
    owners = _sent_owners(old, new, subresource)
    if not owners and old is not None:
        return _unmanaged(new)
    before, after = _unmanaged(old or {}), _unmanaged(new)
    nobody = Manager("", "current-operation")
    taken = managed.strip(_take(before, after, owners, nobody, schema, force=True))
    if taken:
        me = Manager.of(manager, "Update", api_version, subresource)
        previous = owners[me].fields if me in owners else FieldSet()
        owners[me] = Entry(previous.union(taken), api_version, managed.timestamp(now))
    return _with_owners(after, owners)


def _sent_owners(old: Json | None, new: Json, subresource: str) -> dict[Manager, Entry]:
    sent = (new.get("metadata") or {}).get("managedFields")
    stored = _decoded(old or {})
    if subresource or sent is None:
        return stored
    if sent in ([], [{}]):
        return {}
    return _decoded(new) or stored
