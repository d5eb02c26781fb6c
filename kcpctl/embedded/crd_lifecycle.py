"""What happens after a CustomResourceDefinition was written: names, establishing, clean-up."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.crds import (
    CLEANUP_FINALIZER,
    CRD_KEY,
    as_crd,
    condition_status,
    established_status,
    infos_of,
    set_condition,
)
from kcpctl.embedded.deletion import Deleter, DeletionOptions
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.patch import track_update
from kcpctl.embedded.pipeline import object_schema
from kcpctl.embedded.schema import apply_defaults, prune
from kcpctl.embedded.store import ObjectKey

__all__ = ["CrdLifecycle"]

Json = dict[str, Any]
_DONE: Final = "removed all instances"


class CrdLifecycle:
    """Follows CRDs (a hook of the backend).

    A new CRD is established in the same turn of the loop, if its names are free. A deleted one
    has its objects deleted, and goes when the last of them is gone.
    """

    def __init__(self, backend: Backend, deleter: Deleter) -> None:
        self._backend = backend
        self._deleter = deleter

    def on_event(self, event: Event) -> None:
        """Follow one commit."""
        if event.info.storage_key == CRD_KEY:
            if event.type == "DELETED":
                self._forget(event)
            else:
                self._follow(event)
        elif event.type == "DELETED" and event.info.crd is not None and event.info.crd.crd_name:
            self._finish(event.cluster, event.info.crd.crd_name)

    def _crd_info(self, cluster: str) -> ResourceInfo:
        info = self._backend.kinds.storage_info(cluster, CRD_KEY)
        assert info is not None
        return info

    def _others(self, cluster: str, name: str) -> list[Json]:
        """Return the other CRDs of a cluster, and what is bound in it as if it were CRDs too."""
        crds = [
            stored.obj
            for key, stored in self._backend.store.list(CRD_KEY, cluster)
            if key.name != name
        ]
        bound = self._backend.kinds.bound(cluster).values()
        return crds + [as_crd(info) for infos in bound for info in infos]

    def _follow(self, event: Event) -> None:
        current = self._backend.store.get(CRD_KEY, ObjectKey(event.cluster, "", event.name))
        if current is None:
            return
        crd = current.obj
        self._backend.kinds.update(event.cluster, crd)
        if event.old is not None and event.old["spec"] != crd["spec"]:
            self._reread(event.cluster, crd)
        if crd["metadata"].get("deletionTimestamp"):
            if CLEANUP_FINALIZER in (crd["metadata"].get("finalizers") or ()):
                self._clean_up(event.cluster, crd)
            return
        others = self._others(event.cluster, event.name)
        status = established_status(crd, others, self._backend.now())
        if status != crd.get("status"):
            self._write_status(event.cluster, crd, status)

    def _reread(self, cluster: str, crd: Json) -> None:
        """Prune and default the stored objects by the CRD's present schema."""
        infos = [one for one in infos_of(crd) if one.api_version == one.storage_version]
        if infos:
            schema = object_schema(infos[0])
            self._backend.store.rewrite(
                infos[0].storage_key,
                cluster,
                lambda obj: apply_defaults(prune(obj, schema), schema),
            )

    def _write_status(self, cluster: str, crd: Json, status: Json) -> None:
        info = self._crd_info(cluster)
        changed = track_update(
            crd,
            {**crd, "metadata": dict(crd["metadata"]), "status": status},
            "kube-apiserver",
            object_schema(info),
            now=self._backend.clock.time(),
            api_version=info.api_version,
            subresource="status",
        )
        self._backend.put(info, cluster, changed)

    def _clean_up(self, cluster: str, crd: Json) -> None:
        """Delete every object of a CRD, then let the CRD go."""
        infos = infos_of(crd)
        if infos:
            keys = [key for key, _ in self._backend.store.list(infos[0].storage_key, cluster)]
            for key in keys:
                if self._backend.stored(infos[0], *key) is not None:
                    self._deleter.delete(infos[0], *key, DeletionOptions())
        self._finish(cluster, crd["metadata"]["name"])

    def _finish(self, cluster: str, name: str) -> None:
        current = self._backend.store.get(CRD_KEY, ObjectKey(cluster, "", name))
        if current is None:
            return
        crd = current.obj
        meta = crd["metadata"]
        if not meta.get("deletionTimestamp"):
            return
        finalizers = list(meta.get("finalizers") or ())
        storage_key = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
        if CLEANUP_FINALIZER not in finalizers or self._backend.store.count(storage_key, cluster):
            return
        finalizers.remove(CLEANUP_FINALIZER)
        if not finalizers:
            self._backend.remove(self._crd_info(cluster), cluster, "", name)
            return
        status = set_condition(
            crd["status"],
            "Terminating",
            "False",
            "InstanceDeletionCompleted",
            _DONE,
            self._backend.now(),
        )
        changed = {**crd, "metadata": {**meta, "finalizers": finalizers}, "status": status}
        self._backend.put(self._crd_info(cluster), cluster, changed)

    def _forget(self, event: Event) -> None:
        """Stop serving a CRD that is gone, and give its names to who waits for them."""
        crd = event.object
        self._backend.kinds.remove(event.cluster, event.name)
        storage_key = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
        self._backend.store.end_watches(storage_key, event.cluster)
        self.recheck(event.cluster)

    def recheck(self, cluster: str) -> None:
        """Give names that have become free to the CRDs that wait for them."""
        for key, stored in list(self._backend.store.list(CRD_KEY, cluster)):
            crd = stored.obj
            if condition_status(crd, "NamesAccepted") == "False":
                others = self._others(cluster, key.name)
                status = established_status(crd, others, self._backend.now())
                if status != crd.get("status"):
                    self._write_status(cluster, crd, status)
