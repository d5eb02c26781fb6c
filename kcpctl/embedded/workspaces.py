"""Logical clusters: the root, Workspaces that make more of them, and their removal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.deletion import Deleter, DeletionOptions
from kcpctl.embedded.kinds import LOGICAL_CLUSTERS_KEY, ResourceInfo
from kcpctl.embedded.objects import copy_json, without
from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.writer import Writer
from kcpctl.logicalcluster import PATH_ANNOTATION, ROOT

__all__ = ["LogicalClusterRecord", "Workspaces"]

Json = dict[str, Any]
WORKSPACES_KEY: Final = "workspaces.tenancy.kcp.io"
_FINALIZER: Final = "core.kcp.io/logicalcluster"
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_NAME_LENGTH: Final = 16
_PLAIN_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_WORKSPACE_NAMESPACES: Final = ("default", "kube-system")


@dataclass(frozen=True, slots=True)
class LogicalClusterRecord:
    """A logical cluster: its name (id), its path, and Initializing, Ready or Deleting."""

    name: str
    path: str
    phase: str


def _name_of(path: str, uid: str) -> str:
    """Return the name of a new logical cluster: 16 letters of base 36, as kcp's are."""
    number = int.from_bytes(hashlib.sha256(f"{path}/{uid}".encode()).digest(), "big")
    letters = []
    for _ in range(_NAME_LENGTH):
        number, digit = divmod(number, 36)
        letters.append(_BASE36[digit])
    return "".join(letters)


class Workspaces:
    """The logical clusters, and the Workspace objects that they come from.

    ``start`` makes the root, or takes over the logical clusters of an earlier life. A Workspace
    that appears gets its logical cluster in the same turn of the loop: phase Scheduling,
    Initializing (the listeners fill it), Ready. Deleting a Workspace deletes everything in its
    cluster; it stays, Deleting, while finalizers in there hold.
    A plain server has the root only, and no such objects.
    """

    def __init__(
        self, backend: Backend, writer: Writer, deleter: Deleter, crds: Callable[[], list[Json]]
    ) -> None:
        self.server_url = ""
        self.listeners: list[Callable[[LogicalClusterRecord], None]] = []
        self._backend = backend
        self._writer = writer
        self._deleter = deleter
        self._crds = crds
        self._established: dict[str, Json] = {}
        self._records: dict[str, LogicalClusterRecord] = {}
        self._names: dict[str, str] = {}
        self._parents: dict[str, tuple[str, str]] = {}

    def start(self) -> None:
        """Make the root, unless the store has it already."""
        self._restore()
        if ROOT in self._records:
            self._renew_crds()
            return
        self._add(LogicalClusterRecord(ROOT, ROOT, "Initializing"))
        self._populate(ROOT)
        self._set_phase(ROOT, "Ready")

    def _restore(self) -> None:
        """Take over the logical clusters that the store came with."""
        store = self._backend.store
        if not self._backend.workspaces:
            if store.count("namespaces", ROOT):
                self._add(LogicalClusterRecord(ROOT, ROOT, "Ready"))
            return
        for key, stored in store.list(LOGICAL_CLUSTERS_KEY):
            path = stored.obj["metadata"]["annotations"][PATH_ANNOTATION]
            self._add(LogicalClusterRecord(key.cluster, path, stored.obj["status"]["phase"]))
        for key, stored in store.list(WORKSPACES_KEY):
            self._parents[stored.obj["spec"]["cluster"]] = (key.cluster, key.name)

    def _renew_crds(self) -> None:
        """Bring the CRDs that each cluster has to what this release serves."""
        if not self._backend.workspaces:
            return
        others = [one for one in self._records if one != ROOT]
        for crd in self._crds():
            for cluster in (ROOT, *others):
                if self._records[cluster].phase != "Deleting":
                    self._renew_crd(cluster, crd)

    def _renew_crd(self, cluster: str, crd: Json) -> None:
        name = crd["metadata"]["name"]
        info = self._info(cluster, CRD_KEY)
        assert info is not None
        found = self._backend.find(info, cluster, "", name)
        known = self._established.get(name)
        if found is None:
            self._add_crd(cluster, crd)
        elif known is None:
            changed = copy_json({**found, "spec": crd["spec"]})
            options = WriteOptions(field_manager="kube-apiserver")
            self._writer.update(info, cluster, "", name, changed, options)
            self._established[name] = self._backend.find(info, cluster, "", name) or crd
        elif found["spec"] == known["spec"]:
            found["spec"] = known["spec"]  # one copy in memory is enough for all clusters
        else:
            changed = {**found, "metadata": dict(found["metadata"]), "spec": known["spec"]}
            self._backend.put(info, cluster, changed)

    def serve_at(self, server_url: str) -> None:
        """Take over the server's address, also into what an earlier life wrote."""
        self.server_url = server_url
        for name, record in list(self._records.items()):
            if self._backend.workspaces and name in self._parents:
                self._set_phase(name, record.phase)
                self._write_url(*self._parents[name], self._url(record))

    def _write_url(self, parent: str, name: str, url: str) -> None:
        info = self._info(parent, WORKSPACES_KEY)
        found = self._backend.find(info, parent, "", name) if info else None
        if info is not None and found is not None and found["spec"].get("URL") != url:
            changed = {**found, "metadata": dict(found["metadata"])}
            self._backend.put(info, parent, {**changed, "spec": {**found["spec"], "URL": url}})

    def records(self) -> list[LogicalClusterRecord]:
        """Return every logical cluster."""
        return list(self._records.values())

    def find(self, name_or_path: str) -> LogicalClusterRecord | None:
        """Return a logical cluster by its name or path."""
        name = self._names.get(name_or_path, name_or_path)
        return self._records.get(name)

    def listen(self, listener: Callable[[LogicalClusterRecord], None]) -> None:
        """Call ``listener`` with every cluster there is, and with each new one before Ready.

        What it adds to one that is Deleting nobody would remove.
        """
        self.listeners.append(listener)
        for record in self.records():
            if record.phase != "Deleting":
                listener(record)

    def on_event(self, event: Event) -> None:
        """Follow one commit (a hook of the backend)."""
        if event.info.storage_key == WORKSPACES_KEY and event.type != "DELETED":
            self._follow(event)
        if event.type == "DELETED":
            record = self._records.get(event.cluster)
            if record is not None and record.phase == "Deleting":
                self._finish(record)

    def _add(self, record: LogicalClusterRecord) -> None:
        self._records[record.name] = record
        self._names[record.path] = record.name

    def _set_phase(self, name: str, phase: str, *, deleted_at: str = "") -> None:
        record = self._records[name] = replace(self._records[name], phase=phase)
        info = self._info(name, LOGICAL_CLUSTERS_KEY)
        found = self._backend.find(info, name, "", "cluster") if info else None
        if info is not None and found is not None:
            changed = {**found, "metadata": dict(found["metadata"])}
            changed["status"] = {"phase": phase, "URL": self._url(record)}
            if deleted_at:
                changed["metadata"]["deletionTimestamp"] = deleted_at
            if changed["status"] != found.get("status"):
                self._backend.put(info, name, changed)

    def _info(self, cluster: str, storage_key: str) -> ResourceInfo | None:
        return self._backend.kinds.storage_info(cluster, storage_key)

    def _url(self, record: LogicalClusterRecord) -> str:
        return f"{self.server_url}/clusters/{record.name}"

    def _populate(self, name: str) -> None:
        """Fill a new logical cluster with what each has."""
        backend, record = self._backend, self._records[name]
        names = _WORKSPACE_NAMESPACES if backend.workspaces else _PLAIN_NAMESPACES
        for namespace in names:
            body: Json = {"metadata": {"name": namespace}}
            self._create(name, "namespaces", "", body)
        if backend.workspaces:
            for crd in self._crds():
                self._add_crd(name, crd)
            annotations = {PATH_ANNOTATION: record.path}
            body = {
                "metadata": {"name": "cluster", "annotations": annotations},
                "spec": {"directlyDeletable": False} if name == ROOT else {},
            }
            self._create(name, LOGICAL_CLUSTERS_KEY, "", body)
        else:
            spec = {
                "clusterIP": "10.0.0.1",
                "ports": [{"name": "https", "port": 443, "targetPort": 6443}],
            }
            labels = {"component": "apiserver", "provider": "kubernetes"}
            service = {"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec}
            self._create(name, "services", "default", service)
        for listener in self.listeners:
            listener(self._records[name])

    def _add_crd(self, cluster: str, crd: Json) -> None:
        """Give a cluster one of the CRDs that each has.

        The first one is validated and established; the others are copies that share its spec, so
        that another workspace costs neither the time nor the memory.
        """
        name = crd["metadata"]["name"]
        known = self._established.get(name)
        info = self._info(cluster, CRD_KEY)
        assert info is not None
        if known is None:
            self._create(cluster, CRD_KEY, "", {**crd, "metadata": dict(crd["metadata"])})
            self._established[name] = self._backend.find(info, cluster, "", name) or crd
            return
        meta = without(known["metadata"], "annotations")
        annotations = crd["metadata"].get("annotations")
        if annotations:
            meta["annotations"] = dict(annotations)
        meta |= {"uid": self._backend.new_uid(), "creationTimestamp": self._backend.now()}
        self._backend.put(info, cluster, {**known, "metadata": meta})

    def _create(self, cluster: str, storage_key: str, namespace: str, body: Json) -> None:
        info = self._info(cluster, storage_key)
        assert info is not None
        options = WriteOptions(field_manager="kube-apiserver")
        self._writer.create(info, cluster, namespace, body, options)

    # -- Workspace objects ----------------------------------------------------------------

    def _follow(self, event: Event) -> None:
        info = self._info(event.cluster, WORKSPACES_KEY)
        assert info is not None
        workspace = self._backend.find(info, event.cluster, "", event.name)
        if workspace is None:
            return
        if workspace["metadata"].get("deletionTimestamp"):
            self._delete(event.cluster, event.name, workspace)
        elif not (workspace.get("spec") or {}).get("cluster"):
            self._provision(info, event.cluster, workspace)

    def _provision(self, info: ResourceInfo, parent: str, workspace: Json) -> None:
        meta = workspace["metadata"]
        path = f"{self._records[parent].path}:{meta['name']}"
        name = _name_of(path, meta["uid"])
        record = LogicalClusterRecord(name, path, "Initializing")
        self._add(record)
        self._parents[name] = (parent, meta["name"])
        spec = {**(workspace.get("spec") or {}), "cluster": name, "URL": self._url(record)}
        spec.setdefault("type", {"name": "universal", "path": ROOT})
        finalizers = [*(meta.get("finalizers") or ()), _FINALIZER]
        changed = {**workspace, "metadata": {**meta, "finalizers": finalizers}, "spec": spec}
        self._backend.put(info, parent, {**changed, "status": {"phase": "Scheduling"}})
        self._write_phase(info, parent, meta["name"], "Initializing")
        self._populate(name)
        self._set_phase(name, "Ready")
        self._write_phase(info, parent, meta["name"], "Ready")

    def _write_phase(self, info: ResourceInfo, cluster: str, name: str, phase: str) -> None:
        workspace = self._backend.find(info, cluster, "", name)
        if workspace is not None:
            changed = {**workspace, "metadata": dict(workspace["metadata"])}
            self._backend.put(info, cluster, {**changed, "status": {"phase": phase}})

    def _delete(self, parent: str, name: str, workspace: Json) -> None:
        cluster = (workspace.get("spec") or {}).get("cluster", "")
        record = self._records.get(cluster)
        if record is None or self._parents.get(cluster) != (parent, name):
            self._release(parent, name)
        elif record.phase != "Deleting":
            deleted_at = workspace["metadata"]["deletionTimestamp"]
            self._set_phase(cluster, "Deleting", deleted_at=deleted_at)
            # kcp says it there too, and Terminating while terminators hold, which nobody has here.
            if info := self._info(parent, WORKSPACES_KEY):
                self._write_phase(info, parent, name, "Deleting")
            self._purge(cluster)
            self._finish(self._records[cluster])

    def _purge(self, cluster: str) -> None:
        """Delete everything in a cluster, the namespaces last."""
        store = self._backend.store
        keys = [key for key in store.storage_keys() if store.count(key, cluster)]
        for storage_key in sorted(keys, key=lambda key: (key == CRD_KEY, key == "namespaces")):
            info = self._info(cluster, storage_key)
            if info is None or storage_key == LOGICAL_CLUSTERS_KEY:
                continue
            for key in [key for key, _ in store.list(storage_key, cluster)]:
                if store.get(storage_key, key) is None:
                    continue
                if storage_key == "namespaces":
                    self._backend.remove(info, *key)
                    continue
                options = DeletionOptions(propagation_policy="Background", grace_period_seconds=0)
                self._deleter.delete(info, *key, options)

    def _finish(self, record: LogicalClusterRecord) -> None:
        """Drop a Deleting cluster when nothing is left in it but the LogicalCluster itself."""
        store = self._backend.store
        for storage_key in store.storage_keys():
            if storage_key != LOGICAL_CLUSTERS_KEY and store.count(storage_key, record.name):
                return
        if self._records.pop(record.name, None) is None:
            return
        info = self._info(record.name, LOGICAL_CLUSTERS_KEY)
        assert info is not None
        self._backend.remove(info, record.name, "", "cluster")
        self._names.pop(record.path, None)
        self._backend.kinds.remove_cluster(record.name)
        self._release(*self._parents.pop(record.name))

    def _release(self, parent: str, name: str) -> None:
        """Let a Workspace go whose logical cluster is gone."""
        info = self._info(parent, WORKSPACES_KEY)
        workspace = self._backend.find(info, parent, "", name) if info else None
        if info is None or workspace is None:
            return
        meta = dict(workspace["metadata"])
        finalizers = [one for one in meta.get("finalizers") or () if one != _FINALIZER]
        if finalizers:
            meta["finalizers"] = finalizers
            self._backend.put(info, parent, {**workspace, "metadata": meta})
        else:
            self._backend.remove(info, parent, "", name)

    def unknown(self, name_or_path: str, *, masters: bool) -> StatusError:
        """Return the error for a cluster that does not exist: 404 for masters, else 403."""
        if masters:
            details = {
                "name": name_or_path,
                "group": "tenancy.kcp.io",
                "kind": "workspaces",
            }
            message = f'workspaces.tenancy.kcp.io "{name_or_path}" not found'
            return StatusError(404, "NotFound", message, details)
        message = f'forbidden: access to workspace "{name_or_path}" is not permitted'
        return StatusError(403, "Forbidden", message, {})
