"""Finalizers: pure helpers on metadata; the caller commits the result."""

from __future__ import annotations

import copy
from typing import TypeVar

from kcpctl.apis.meta import ApiObject, Unstructured

__all__ = ["add_finalizer", "finalizers_of", "has_finalizer", "is_deleting", "remove_finalizer"]

T = TypeVar("T", bound=ApiObject | Unstructured)


def finalizers_of(obj: ApiObject | Unstructured) -> list[str]:
    """Return a copy of the object's finalizers."""
    if isinstance(obj, ApiObject):
        return list(obj.metadata.finalizers)
    return list((obj.get("metadata") or {}).get("finalizers") or ())


def has_finalizer(obj: ApiObject | Unstructured, name: str) -> bool:
    """Whether the object waits for the owner of ``name`` before it goes."""
    return name in finalizers_of(obj)


def is_deleting(obj: ApiObject | Unstructured) -> bool:
    """Whether somebody asked for the object's deletion."""
    if isinstance(obj, ApiObject):
        return obj.metadata.deletion_timestamp is not None
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def add_finalizer(obj: T, name: str) -> T:
    """Return a copy of the object that has the finalizer, last; or the object if it has it."""
    return obj if has_finalizer(obj, name) else _with(obj, [*finalizers_of(obj), name])


def remove_finalizer(obj: T, name: str) -> T:
    """Return a copy of the object without the finalizer; or the object if it has it not."""
    left = [item for item in finalizers_of(obj) if item != name]
    return _with(obj, left) if has_finalizer(obj, name) else obj


def _with(obj: T, finalizers: list[str]) -> T:
    changed = copy.deepcopy(obj)
    if isinstance(changed, ApiObject):
        changed.metadata.finalizers = finalizers
    else:
        changed.setdefault("metadata", {})["finalizers"] = finalizers
    return changed
