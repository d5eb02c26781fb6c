"""The registry: what request handlers and the server's own controllers read and write through."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.crd_lifecycle import CrdLifecycle
from kcpctl.embedded.database import Database
from kcpctl.embedded.deletion import Deleted, Deleter, DeletionOptions
from kcpctl.embedded.exports.claim_labels import ClaimLabels
from kcpctl.embedded.exports.directory import Exports
from kcpctl.embedded.exports.lifecycle import ExportLifecycle
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.objects import copy_json
from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.selectors import parse_label_selector
from kcpctl.embedded.status import not_found, not_served, page_not_found
from kcpctl.embedded.store import Store
from kcpctl.embedded.workspaces import LogicalClusterRecord, Workspaces
from kcpctl.embedded.writer import MERGE_PATCH, Writer
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock

__all__ = ["Event", "LogicalClusterRecord", "Registry"]

Json = dict[str, Any]
_Objects = list[Json]
_Infos = list[ResourceInfo]
_Records = list[LogicalClusterRecord]


def _no_crds() -> _Objects:
    return []


class Registry:
    """What handlers and internal controllers use. Synchronous; event loop's thread only.

    Objects that are returned are the stored ones: copy before changing. Objects that are given
    are copied. Every failure is a StatusError. ``workspaces`` False: one cluster, ``root``.

    Parameters
    ----------
    workspaces: serve logical clusters, or be one ordinary cluster.
    system_crds: returns the CRDs that every logical cluster starts with.
    database: what to start with, and where to keep it; None: empty, and in memory only.
    """

    def __init__(
        self,
        *,
        workspaces: bool = False,
        system_crds: Callable[[], list[Json]] = _no_crds,
        database: Database | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self.workspaces = workspaces
        self.backend = Backend(workspaces=workspaces, database=database, clock=clock, rng=rng)
        self.writer = Writer(self.backend)
        self.deleter = Deleter(self.backend)
        self._crds = CrdLifecycle(self.backend, self.deleter)
        crds = _memoized(system_crds)
        self.logical_clusters = Workspaces(self.backend, self.writer, self.deleter, crds)
        self.exports = Exports(self.backend, self._resolve)
        self._export_lifecycle = ExportLifecycle(
            self.backend,
            self.writer,
            self.deleter,
            self._crds,
            self.exports,
        )
        labels = ClaimLabels(self.backend, self.exports)
        self.backend.labels = labels.put_on
        self.backend.hooks += [
            self._crds.on_event,
            self._export_lifecycle.on_event,
            labels.on_event,
            self.logical_clusters.on_event,
        ]
        self._export_lifecycle.load()
        labels.load()
        self.logical_clusters.start()

    def _resolve(self, name_or_path: str) -> str | None:
        found = self.logical_clusters.find(name_or_path)
        return None if found is None else found.name

    def serve_at(self, server_url: str) -> None:
        """Take over the server's address, also into the objects that name it."""
        self.logical_clusters.serve_at(server_url)
        self._export_lifecycle.serve_at(server_url)

    @property
    def store(self) -> Store:
        """The store, for lists and watches."""
        return self.backend.store

    # -- which resources there are --------------------------------------------------------

    def info(self, cluster: str, group: str, version: str, plural: str) -> ResourceInfo:
        """Return a served resource; raises 404, in plain text for a group nobody serves."""
        found = self.backend.kinds.find(cluster, group, version, plural)
        if found is not None:
            return found
        if group in self.backend.kinds.built_in_groups:
            raise not_served()
        raise page_not_found()

    def info_for_kind(self, cluster: str, api_version: str, kind: str) -> ResourceInfo | None:
        """Return the resource that serves a kind, or None."""
        return self.backend.kinds.find_kind(cluster, api_version, kind)

    def infos(self, cluster: str) -> _Infos:
        """Return every served resource and version of a cluster; do not change the list."""
        return self.backend.kinds.infos(cluster)

    # -- reading --------------------------------------------------------------------------

    def find(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Json | None:
        """Return an object or None."""
        return self.backend.find(info, cluster, namespace, name)

    def get(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Json:
        """Return an object; raises 404."""
        found = self.backend.find(info, cluster, namespace, name)
        if found is None:
            raise not_found(info, name)
        return found

    def list(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str | None = None,
        label_selector: str = "",
    ) -> _Objects:
        """Return the objects of a cluster (``*``: of all), sorted by namespace and name."""
        matches = parse_label_selector(label_selector)
        return [
            self.backend.converted(info, stored.obj)
            for _, stored in self.store.list(info.storage_key, cluster, namespace)
            if matches is None or matches(stored.obj["metadata"].get("labels") or {})
        ]

    # -- writing --------------------------------------------------------------------------

    def create(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        obj: Json,
        *,
        user: str = "system:kcpctl",
        field_manager: str = "kcpctl-embedded",
    ) -> Json:
        """Create an object (``namespace`` "" for cluster-scoped ones)."""
        options = WriteOptions(user=user, field_manager=field_manager)
        return self.writer.create(info, cluster, namespace, copy_json(obj), options)

    def update(
        self,
        info: ResourceInfo,
        cluster: str,
        obj: Json,
        *,
        subresource: str = "",
        user: str = "system:kcpctl",
        field_manager: str = "kcpctl-embedded",
    ) -> Json:
        """Replace an object; a resourceVersion in it is a precondition."""
        meta = obj["metadata"]
        return self.writer.update(
            info,
            cluster,
            meta.get("namespace", ""),
            meta["name"],
            copy_json(obj),
            WriteOptions(user=user, field_manager=field_manager),
            subresource=subresource,
        )[0]

    def patch(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE_PATCH,
        *,
        subresource: str = "",
        user: str = "system:kcpctl",
        field_manager: str = "kcpctl-embedded",
        force: bool = False,
    ) -> Json:
        """Patch an object, with the decoded body."""
        return self.writer.patch(
            info,
            cluster,
            namespace,
            name,
            copy_json(body),
            content_type,
            WriteOptions(user=user, field_manager=field_manager, force=force),
            subresource=subresource,
        )[0]

    def delete(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> Json:
        """Delete an object; returns it in its last state, or as it waits for finalizers."""
        return self.delete_with(info, cluster, namespace, name, options).object

    def delete_with(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        options: Mapping[str, Any] | None,
    ) -> Deleted:
        """Delete an object; also says whether it is gone."""
        parsed = DeletionOptions.parse(options)
        return self.deleter.delete(info, cluster, namespace, name, parsed)

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Call ``callback`` after each commit, on the loop's thread; it may only enqueue."""
        self.backend.subscribers.append(callback)

    # -- logical clusters -----------------------------------------------------------------

    def clusters(self) -> _Records:
        """Return every logical cluster."""
        return self.logical_clusters.records()

    def on_cluster(self, callback: Callable[[LogicalClusterRecord], None]) -> None:
        """Call ``callback`` with each logical cluster: those there are, and new ones before Ready.

        It may write (bootstrap roles, for example).
        """
        self.logical_clusters.listen(callback)

    def resolve_cluster(self, name_or_path: str, *, masters: bool = True) -> str:
        """Return the name of a logical cluster; raises 404 (403 for others than masters)."""
        found = self.logical_clusters.find(name_or_path)
        if found is None:
            raise self.logical_clusters.unknown(name_or_path, masters=masters)
        return found.name


def _memoized(make: Callable[[], _Objects]) -> Callable[[], _Objects]:
    made: list[_Objects] = []

    def get() -> _Objects:
        if not made:
            made.append(make())
        return made[0]

    return get
