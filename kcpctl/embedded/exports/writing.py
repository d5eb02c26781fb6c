"""How the server itself writes exports, bindings and slices: no rule, no admission."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.backend import Backend

__all__ = ["put", "put_status"]

Json = dict[str, Any]


def put(backend: Backend, storage_key: str, cluster: str, obj: Json) -> None:
    """Commit an object, which is private to the caller until now."""
    info = backend.kinds.storage_info(cluster, storage_key)
    assert info is not None
    backend.put(info, cluster, obj)


def put_status(backend: Backend, storage_key: str, cluster: str, old: Json, status: Json) -> bool:
    """Commit a status that is new; returns whether it was."""
    if status == (old.get("status") or {}):
        return False
    put(backend, storage_key, cluster, {**old, "metadata": dict(old["metadata"]), "status": status})
    return True
