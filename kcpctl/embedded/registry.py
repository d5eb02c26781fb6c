"""The registry: every rule between a request and the store. Signatures first; see the methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kcpctl.embedded.kinds import ResourceInfo

__all__ = ["Event", "LogicalClusterRecord", "Registry"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A committed change. ``object`` and ``old`` are stored objects: never modify them."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    info: ResourceInfo
    cluster: str
    namespace: str
    name: str
    object: Json
    old: Json | None


@dataclass(frozen=True, slots=True)
class LogicalClusterRecord:
    """A logical cluster: its name (id), its path, and Initializing, Ready or Deleting."""

    name: str
    path: str
    phase: str


class Registry:
    """What handlers and internal controllers use. Synchronous; event loop's thread only.

    Objects that are returned are the stored ones: copy before changing. Every failure is a
    StatusError. ``workspaces`` False: one cluster, ``root``.
    """

    workspaces: bool

    def info(self, cluster: str, group: str, version: str, plural: str) -> ResourceInfo:
        """Return a served resource; raises 404."""
        raise NotImplementedError

    def info_for_kind(self, cluster: str, api_version: str, kind: str) -> ResourceInfo | None:
        """Return the resource that serves a kind, or None."""
        raise NotImplementedError

    def infos(self, cluster: str) -> list[ResourceInfo]:
        """Return every served resource and version of a cluster."""
        raise NotImplementedError

    def get(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Json:
        """Return an object; raises 404."""
        raise NotImplementedError

    def find(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Json | None:
        """Return an object or None."""
        raise NotImplementedError

    def list(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str | None = None,
        label_selector: str = "",
    ) -> list[Json]:
        """Return the objects of a cluster (``*``: of all), sorted by namespace and name."""
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    def patch(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = "application/merge-patch+json",
        *,
        subresource: str = "",
        user: str = "system:kcpctl",
        field_manager: str = "kcpctl-embedded",
        force: bool = False,
    ) -> Json:
        """Patch an object, with the decoded body."""
        raise NotImplementedError

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
        raise NotImplementedError

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Call ``callback`` after each commit, on the loop's thread; it may only enqueue."""
        raise NotImplementedError

    def clusters(self) -> list[LogicalClusterRecord]:
        """Return every logical cluster."""
        raise NotImplementedError

    def resolve_cluster(self, name_or_path: str) -> str:
        """Return the name of a logical cluster; raises 404 for one that does not exist."""
        raise NotImplementedError
