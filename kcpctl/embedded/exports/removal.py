"""What goes with an APIBinding that is deleted."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from kcpctl.embedded.backend import Backend
from kcpctl.embedded.deletion import Deleter, DeletionOptions
from kcpctl.embedded.exports.conditions import mark_false, mark_true
from kcpctl.embedded.exports.kinds import APIBINDING_FINALIZER, APIBINDINGS_KEY
from kcpctl.embedded.exports.writing import put, put_status

__all__ = ["Remover"]

Json = dict[str, Any]
_DELETED: Final = "BindingResourceDeleteSuccess"


class Remover:
    """Deletes the objects that came with a binding, and lets it go when the last has gone."""

    def __init__(self, backend: Backend, deleter: Deleter) -> None:
        self._backend = backend
        self._deleter = deleter

    def clean_up(self, cluster: str, binding: Json) -> None:
        """Delete everything that came with a binding, then let it go."""
        meta = binding["metadata"]
        finalizers = list(meta.get("finalizers") or ())
        if APIBINDING_FINALIZER not in finalizers:
            return
        left = self._delete_objects(cluster, meta["name"])
        if left:
            self._report_left(cluster, binding, left)
            return
        status = dict(binding.get("status") or {})
        mark_true(status, _DELETED, self._backend.now())
        if put_status(self._backend, APIBINDINGS_KEY, cluster, binding, status):
            return  # and the commit has brought it here again
        finalizers.remove(APIBINDING_FINALIZER)
        if finalizers:
            changed = {**binding, "metadata": {**meta, "finalizers": finalizers}}
            put(self._backend, APIBINDINGS_KEY, cluster, changed)
        else:
            info = self._backend.kinds.storage_info(cluster, APIBINDINGS_KEY)
            assert info is not None
            self._backend.remove(info, cluster, "", meta["name"])

    def _delete_objects(self, cluster: str, binding: str) -> dict[str, list[Json]]:
        """Delete the objects that a binding brought; return what is left, by resource."""
        left: dict[str, list[Json]] = {}
        for info in self._backend.kinds.bound(cluster).get(binding, ()):
            keys = [key for key, _ in self._backend.store.list(info.storage_key, cluster)]
            for key in keys:
                found = self._backend.stored(info, *key)
                if found is not None and not found.obj["metadata"].get("deletionTimestamp"):
                    self._deleter.delete(info, *key, DeletionOptions())
            objects = [one.obj for _, one in self._backend.store.list(info.storage_key, cluster)]
            if objects:
                left[info.group_resource] = objects
        return left

    def _report_left(self, cluster: str, binding: Json, left: dict[str, list[Json]]) -> None:
        held = Counter(
            finalizer
            for objects in left.values()
            for obj in objects
            for finalizer in obj["metadata"].get("finalizers") or ()
        )
        shown = ", ".join(f"{key} in {held[key]} resource instances" for key in sorted(held))
        status = dict(binding.get("status") or {})
        mark_false(
            status,
            _DELETED,
            "SomeFinalizersRemain",
            f"Some content in the workspace has finalizers remaining: {shown}",
            self._backend.now(),
        )
        put_status(self._backend, APIBINDINGS_KEY, cluster, binding, status)
