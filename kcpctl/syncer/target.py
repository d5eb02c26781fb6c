"""The SyncTarget that a syncer works for, and the marks that its objects carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kcpctl.apis.naming import (
    CLUSTER_LABEL,
    NamespaceLocator,
    SyncTargetLocator,
    deletion_annotation,
    soft_finalizers_annotation,
    state_label,
    sync_target_key,
    syncer_finalizer,
)

__all__ = ["FIELD_MANAGER", "Target"]

FIELD_MANAGER: Final = "kcpctl-syncer"
"""Decision 13."""


@dataclass(frozen=True)
class Target:
    """One SyncTarget, by its logical cluster's *name* (never a path), its name and its uid.

    The marks below are those of synctarget.md 1.8. A SyncTarget that was deleted and made again
    has the same key but another uid, and so is another Target.
    """

    cluster: str
    name: str
    uid: str

    @cached_property
    def key(self) -> str:
        """The hash that labels, finalizers and annotations carry."""
        return sync_target_key(self.cluster, self.name)

    @cached_property
    def state_label(self) -> str:
        """Label on upstream objects and namespaces: ``Sync`` assigns them to this target."""
        return state_label(self.key)

    @cached_property
    def finalizer(self) -> str:
        """Finalizer on upstream objects: a copy may exist downstream."""
        return syncer_finalizer(self.key)

    @cached_property
    def deletion_annotation(self) -> str:
        """Annotation on upstream objects and namespaces: take them off this target."""
        return deletion_annotation(self.key)

    @cached_property
    def soft_finalizers_annotation(self) -> str:
        """Annotation on upstream objects: who wants their removal from this target delayed."""
        return soft_finalizers_annotation(self.key)

    @cached_property
    def spec_diff_annotation(self) -> str:
        """Annotation on upstream objects: a JSON Patch of the spec, for this target only."""
        return f"experimental.spec-diff.workload.kcp.io/{self.key}"

    @cached_property
    def status_annotation(self) -> str:
        """Annotation on upstream objects: this target's status, with advanced scheduling."""
        return f"experimental.status.workload.kcp.io/{self.key}"

    @cached_property
    def diff_annotation(self) -> str:
        """Annotation that the original server-side view kept its differences in."""
        return f"diff.syncer.internal.kcp.io/{self.key}"

    @property
    def downstream_selector(self) -> str:
        """Selects what this target owns downstream."""
        return f"{CLUSTER_LABEL}={self.key}"

    def locator(self, namespace: str) -> NamespaceLocator:
        """Return the locator of an upstream namespace of this target's logical cluster."""
        sync_target = SyncTargetLocator(cluster=self.cluster, name=self.name, uid=self.uid)
        return NamespaceLocator(sync_target=sync_target, cluster=self.cluster, namespace=namespace)

    def owns(self, locator: NamespaceLocator) -> bool:
        """Whether a downstream namespace with this locator is this target's (3.6)."""
        found = locator.sync_target
        mine = (found.cluster, found.name, found.uid) == (self.cluster, self.name, self.uid)
        return mine and locator.cluster == self.cluster
