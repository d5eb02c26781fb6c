"""The committer: write what a reconcile changed, and nothing else (KCP-32, KCP-33)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from kcpctl.apis.convert import to_unstructured
from kcpctl.apis.meta import ApiObject, Unstructured
from kcpctl.client import PatchType

__all__ = ["Applier", "Change", "Patcher", "commit", "commit_applied", "difference"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# The server owns these; a difference in one of them is never what a reconciler meant.
_SERVER_OWNED: Final = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
)


class Patcher(Protocol[T_co]):
    """What the committer needs of a blocking resource client."""

    def patch(
        self,
        name: str,
        body: Unstructured,
        *,
        namespace: str | None = None,
        type: PatchType = PatchType.MERGE,  # noqa: A002 - the client's word
        subresource: str = "",
        field_manager: str | None = None,
    ) -> T_co:
        """Send a patch and return the object as the server has it then."""


class Applier(Protocol[T_co]):
    """What the committer needs of a blocking resource client to apply server-side."""

    def apply(
        self,
        obj: Unstructured,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        namespace: str | None = None,
    ) -> T_co:
        """Apply the fields that ``obj`` has, and return the object as the server has it then."""


@dataclass(frozen=True, slots=True)
class Change:
    """One merge patch: its ``body``, and the ``subresource`` ("" or "status") it goes to."""

    name: str
    namespace: str
    body: Unstructured
    subresource: str


def commit(
    client: Patcher[T],
    old: ApiObject | Unstructured,
    new: ApiObject | Unstructured,
    *,
    field_manager: str | None = None,
) -> T | None:
    """Write the difference between ``old``, as it was read, and ``new``; None if there is none.

    One merge patch, guarded by the uid and resourceVersion of ``old``: raises
    :class:`kcpctl.errors.Conflict` when the object changed since it was read. Raises RuntimeError
    when both status and something else changed: one pass writes one of the two.
    """
    change = difference(old, new)
    if change is None:
        return None
    return client.patch(
        change.name,
        change.body,
        namespace=change.namespace or None,
        type=PatchType.MERGE,
        subresource=change.subresource,
        field_manager=field_manager,
    )


def commit_applied(
    client: Applier[T],
    old: ApiObject | Unstructured,
    new: ApiObject | Unstructured,
    *,
    field_manager: str,
    force: bool = False,
) -> T | None:
    """Apply ``new`` server-side if it differs from ``old``; None if it does not (KCP-33).

    The same rules and guards as :func:`commit`, but whole objects instead of a difference: what
    ``new`` has is the field manager's from then on, and what it had before and has no more is
    removed. So both have the fields that this controller owns, and no others. With ``force`` they
    are taken from other managers; without, that is a :class:`kcpctl.errors.Conflict`.
    """
    change = difference(old, new)
    if change is None:
        return None
    after = to_unstructured(new)
    metadata = {k: v for k, v in after["metadata"].items() if k not in _SERVER_OWNED}
    body = {"apiVersion": after["apiVersion"], "kind": after["kind"]}
    if change.subresource:
        # Labels and the like are not written through it, and not to be owned through it either.
        metadata = {k: v for k, v in metadata.items() if k in {"name", "namespace"}}
        keep = {"status"}
    else:
        keep = after.keys() - {"status"}
    body |= {k: v for k, v in after.items() if k in keep}
    body["metadata"] = metadata | _guard(to_unstructured(old)["metadata"])
    return client.apply(
        body,
        field_manager=field_manager,
        force=force,
        subresource=change.subresource,
        namespace=change.namespace or None,
    )


def difference(old: ApiObject | Unstructured, new: ApiObject | Unstructured) -> Change | None:
    """Return the patch that turns ``old`` into ``new``, or None; raises as :func:`commit`."""
    if old == new:
        return None
    before, after = to_unstructured(old), to_unstructured(new)
    meta = before.get("metadata") or {}
    where = f"{before.get('kind')} {meta.get('namespace', '')}/{meta.get('name')}".replace(
        " /", " "
    )
    if _identity(before) != _identity(after):
        raise RuntimeError(f"{where} was to be committed as another object: {_identity(after)}")
    body = _merge_patch(before, after)
    status = body.pop("status", None)
    metadata = {k: v for k, v in body.pop("metadata", {}).items() if k not in _SERVER_OWNED}
    if metadata:
        body["metadata"] = metadata
    if status is not None or ("status" in before and "status" not in after):
        if body:
            raise RuntimeError(
                f"{where}: status and {', '.join(sorted(body))} changed in one pass; "
                "write one of them and let the event of that write bring the next pass"
            )
        body, subresource = {"status": status}, "status"
    elif body:
        subresource = ""
    else:
        return None
    body["metadata"] = _guard(meta) | body.get("metadata", {})
    return Change(meta["name"], meta.get("namespace", ""), body, subresource)


def _guard(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {key: meta[key] for key in ("uid", "resourceVersion") if meta.get(key)}


def _identity(obj: Unstructured) -> tuple[object, ...]:
    meta = obj.get("metadata") or {}
    return (obj.get("kind"), meta.get("namespace") or "", meta.get("name"), meta.get("uid"))


def _merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396. None counts as absent on both sides: a merge patch cannot set null."""
    patch: dict[str, Any] = {}
    for key in old:
        if old[key] is not None and new.get(key) is None:
            patch[key] = None
    for key, value in new.items():
        before = old.get(key)
        if value is None or value == before:
            continue
        if isinstance(value, Mapping):
            inner = _merge_patch(before if isinstance(before, Mapping) else {}, value)
            # An empty object in place of nothing is a change; equal but for nulls is none.
            if inner or not isinstance(before, Mapping):
                patch[key] = inner
        else:
            patch[key] = value
    return patch
