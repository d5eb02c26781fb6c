"""What is to be done with an upstream object: pure functions of labels and annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from kcpctl.apis.admission import Admission
from kcpctl.apis.naming import LOCATOR_ANNOTATION, STATE_SYNC, has_soft_finalizers
from kcpctl.apis.resource import CONFIG_MAPS, SECRETS, SERVICES, Resource
from kcpctl.syncer.target import Target

__all__ = [
    "SERVICE_ACCOUNT_TOKEN",
    "Decision",
    "Metadata",
    "decide",
    "is_marked",
    "is_relevant",
    "is_reserved",
    "is_syncable_namespace",
    "namespace_is_assigned",
    "refusal",
    "removal_is_asked",
]

SERVICE_ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"


class Metadata(Protocol):
    """The part of an object's metadata that decides."""

    @property
    def name(self) -> str:
        """The object's name."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""

    @property
    def finalizers(self) -> Sequence[str]:
        """Its finalizers."""

    @property
    def deletion_timestamp(self) -> str | None:
        """When its deletion began."""


class Decision(Enum):
    """What a syncer does with one upstream object."""

    IGNORE = "ignore"
    SYNC = "sync"
    REMOVE = "remove"


def namespace_is_assigned(namespace: Metadata | None, target: Target) -> bool:
    """Whether a namespace hands all its objects to the target (decision 10)."""
    return namespace is not None and namespace.labels.get(target.state_label) == STATE_SYNC


def is_labelled(meta: Metadata, namespace: Metadata | None, target: Target) -> bool:
    """Whether the object or, unless the object says otherwise itself, its namespace is assigned.

    An own label with another value (pending, Upsync) keeps an object out of what its namespace
    gives. Whether the target lets it in is another question.
    """
    own = meta.labels.get(target.state_label)
    return own == STATE_SYNC if own is not None else namespace_is_assigned(namespace, target)


def is_syncable_namespace(name: str, annotations: Mapping[str, str], syncer_namespace: str) -> bool:
    """Whether objects of an upstream namespace may be synced at all (4.10).

    Not those of ``kube-*`` and of the syncer itself. A namespace with a locator is the copy of
    another one: with upstream and downstream in one cluster, syncing it would never end.
    """
    if name.startswith("kube-") or (syncer_namespace and name == syncer_namespace):
        return False
    return LOCATOR_ANNOTATION not in annotations


def is_reserved(resource: Resource, namespace: str, meta: Metadata, secret_type: str) -> bool:
    """Whether an object belongs to its own cluster and is left out of what a namespace gives.

    Every cluster publishes ``kube-root-ca.crt`` and ``default/kubernetes`` itself, and a
    ServiceAccount's token is of use only where it was signed. (The original renamed them so that
    Pods could reach the upstream API; that comes with the mutators of Pods.)
    """
    if resource == CONFIG_MAPS:
        return meta.name == "kube-root-ca.crt"
    if resource == SERVICES:
        return (namespace, meta.name) == ("default", "kubernetes")
    return resource == SECRETS and secret_type == SERVICE_ACCOUNT_TOKEN


def removal_is_asked(meta: Metadata, namespace: Metadata | None, target: Target) -> bool:
    """Whether the object is being deleted, or is to leave this target only."""
    return (
        meta.deletion_timestamp is not None
        or target.deletion_annotation in meta.annotations
        or (namespace is not None and target.deletion_annotation in namespace.annotations)
    )


def refusal(
    resource: Resource, meta: Metadata, namespace: Metadata | None, admission: Admission
) -> str:
    """Return the field of the SyncTarget that keeps an object out, or ""."""
    labels = None if namespace is None else namespace.labels
    return admission.refusal(resource, meta.labels, labels)


def is_relevant(
    meta: Metadata, namespace: Metadata | None, target: Target, *, admitted: bool
) -> bool:
    """Whether an upstream object may need work: it is to be there, or something is to be undone."""
    if target.finalizer in meta.finalizers:
        return True
    if admitted:
        return is_labelled(meta, namespace, target)
    return _keeps_marks(meta, target)


def is_marked(meta: Metadata, target: Target) -> bool:
    """Whether anything on an object is still to go before its target may."""
    return target.finalizer in meta.finalizers or meta.labels.get(target.state_label) == STATE_SYNC


def _keeps_marks(meta: Metadata, target: Target) -> bool:
    """Whether an object that was asked to leave still carries what assigned it."""
    asked = target.deletion_annotation in meta.annotations
    return asked and meta.labels.get(target.state_label) == STATE_SYNC


def decide(
    meta: Metadata | None,
    namespace: Metadata | None,
    target: Target,
    *,
    admitted: bool,
    has_copy: bool,
) -> Decision:
    """Return what to do with an upstream object (None: it is gone).

    ``admitted`` tells whether the target lets it in: what it does not let in counts as not
    assigned. ``has_copy`` tells whether a downstream copy is known. Whatever is not assigned any
    more, is being deleted or is asked to leave goes, unless soft finalizers hold it.
    """
    if meta is None:
        return Decision.REMOVE
    held = target.finalizer in meta.finalizers
    if not (admitted and is_labelled(meta, namespace, target)):
        leaves = held or has_copy or _keeps_marks(meta, target)
        return Decision.REMOVE if leaves else Decision.IGNORE
    if not removal_is_asked(meta, namespace, target):
        return Decision.SYNC
    soft = has_soft_finalizers(meta.annotations, target.key)  # row 24
    if soft and (held or meta.deletion_timestamp is None):
        return Decision.SYNC
    asked = target.deletion_annotation in meta.annotations
    return Decision.REMOVE if held or has_copy or asked else Decision.IGNORE
