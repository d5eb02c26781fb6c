"""Keys, hashes, labels and annotations that tie upstream and downstream objects together.

The formulas and letters are the ones of the original transparent multi-cluster code, so that
clusters which it populated are recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kcpctl.apis.meta import ApiStruct

__all__ = [
    "ADOPT_ANNOTATION",
    "CLUSTER_LABEL",
    "KEY_LABEL",
    "LEGACY_SYNCTARGET_FINALIZER",
    "LOCATOR_ANNOTATION",
    "MANAGED_BY_LABEL",
    "STATE_LABEL_PREFIX",
    "STATE_SYNC",
    "SYNCER_FINALIZER_PREFIX",
    "SYNCTARGET_FINALIZER",
    "SYNCTARGET_NAME_LABEL",
    "SYNCTARGET_UID_LABEL",
    "SYNC_PAUSED_ANNOTATION",
    "TENANT_LABEL",
    "NamespaceLocator",
    "SyncTargetLocator",
    "base36",
    "base62",
    "deletion_annotation",
    "downstream_namespace",
    "has_soft_finalizers",
    "short_hash",
    "soft_finalizers_annotation",
    "state_label",
    "sync_target_key",
    "syncer_finalizer",
    "syncer_id",
    "tenant_id",
]

STATE_LABEL_PREFIX: Final = "state.workload.kcp.io/"
"""Label on upstream objects and namespaces, followed by a SyncTarget key."""
STATE_SYNC: Final = "Sync"
"""Value of a state label: the syncer of that target owns the object downstream."""
KEY_LABEL: Final = "internal.workload.kcp.io/key"
"""Label on a SyncTarget: its key."""
CLUSTER_LABEL: Final = "internal.workload.kcp.io/cluster"
"""Label on downstream objects: the key of the SyncTarget that they belong to."""
TENANT_LABEL: Final = "kcp.io/tenant-id"
"""Label on downstream namespaces: the hash of their upstream workspace."""
LOCATOR_ANNOTATION: Final = "kcp.io/namespace-locator"
"""Annotation on downstream namespaces: which upstream namespace they stand for."""
SYNCER_FINALIZER_PREFIX: Final = "workload.kcp.io/syncer-"
SYNCTARGET_FINALIZER: Final = "workload.kcp.io/synctarget"
"""Finalizer on a SyncTarget: the controller still has to clean up."""
LEGACY_SYNCTARGET_FINALIZER: Final = "workload.kcp.io/synctarget-cleanup"
"""An older name of the same finalizer, replaced when it is seen."""
ADOPT_ANNOTATION: Final = "workload.kcp.io/adopt"
SYNC_PAUSED_ANNOTATION: Final = "workload.kcp.io/sync-paused"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
SYNCTARGET_NAME_LABEL: Final = "workload.kcp.io/synctarget-name"
SYNCTARGET_UID_LABEL: Final = "workload.kcp.io/synctarget-uid"
"""Label on everything that the controller creates for a SyncTarget's syncer: the target's uid."""

_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE62: Final = _BASE36 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Two digits at once: a key is made in each pass over a SyncTarget.
_PAIRS36: Final = [first + second for first in _BASE36 for second in _BASE36]
_PAIRS62: Final = [first + second for first in _BASE62 for second in _BASE62]
_SYNCER_NAME_LENGTH: Final = 63 - len("kcp-syncer-") - len("-12345678")


def _sha224(text: str) -> bytes:
    return hashlib.sha224(text.encode()).digest()


def _digits(digest: bytes, pairs: Sequence[str]) -> str:
    number, base = int.from_bytes(digest, "big"), len(pairs)
    digits = []
    while number:
        digits.append(pairs[number % base])
        number //= base
    digits.reverse()
    return "".join(digits).lstrip("0")


def base36(digest: bytes) -> str:
    """Return ``digest`` in base 36, with one leading 0 for each leading zero *byte*."""
    zeros = len(digest) - len(digest.lstrip(b"\0"))
    return "0" * zeros + _digits(digest, _PAIRS36)


def base62(digest: bytes) -> str:
    """Return ``digest`` in base 62, without padding."""
    return _digits(digest, _PAIRS62)


def short_hash(text: str, length: int = 8) -> str:
    """Return the first letters of the base 36 SHA-224 of ``text``, fit for an object's name."""
    return base36(_sha224(text))[:length]


def sync_target_key(cluster: str, name: str) -> str:
    """Return the key of a SyncTarget, which labels, finalizers and annotations carry.

    ``cluster`` is the name of its logical cluster, never a path.
    """
    return base62(_sha224(f"{cluster}:{name}"))


def syncer_id(name: str, uid: str) -> str:
    """Return the name of everything that one SyncTarget's syncer consists of.

    It is a namespace's name and a label's value too, so a name beyond 43 letters is cut: the hash
    of the uid keeps the result apart from others.
    """
    return f"kcp-syncer-{name[:_SYNCER_NAME_LENGTH].rstrip('-')}-{short_hash(uid)}"


def state_label(key: str) -> str:
    """Return the label that assigns an upstream object to the SyncTarget of that key."""
    return STATE_LABEL_PREFIX + key


def deletion_annotation(key: str) -> str:
    """Return the annotation that asks an upstream object to leave the target with that key."""
    return f"deletion.internal.workload.kcp.io/{key}"


def soft_finalizers_annotation(key: str) -> str:
    """Return the annotation by which others delay the removal of an object from one target."""
    return f"finalizers.workload.kcp.io/{key}"


def has_soft_finalizers(annotations: Mapping[str, str], key: str) -> bool:
    """Whether somebody wants the removal from this target delayed: the list is not empty."""
    listed = annotations.get(soft_finalizers_annotation(key), "")
    return any(entry.strip() for entry in listed.split(","))


def syncer_finalizer(key: str) -> str:
    """Return the finalizer of upstream objects that have a copy on that SyncTarget's cluster."""
    return SYNCER_FINALIZER_PREFIX + key


class SyncTargetLocator(ApiStruct):
    """Which SyncTarget brought a namespace to this cluster. ``path`` is how it once was spelt."""

    cluster: str = ""
    name: str = ""
    uid: str = ""
    path: str = ""


class NamespaceLocator(ApiStruct):
    """Which upstream namespace a downstream namespace stands for.

    ``namespace`` is "" for the locator of a cluster-scoped object or of a whole tenant.
    """

    sync_target: SyncTargetLocator
    cluster: str = ""
    namespace: str = ""

    @classmethod
    def from_json(cls, text: str) -> NamespaceLocator:
        """Parse an annotation; raises ValueError. Reads the older ``syncTarget.path`` too."""
        try:
            found = _locators.decode(text)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a namespace locator: {error}") from None
        target = found.sync_target
        if target.path and not target.cluster:
            found.sync_target = SyncTargetLocator(
                cluster=target.path, name=target.name, uid=target.uid
            )
        return found

    def to_json(self) -> str:
        """Return compact JSON in the order that the hashes depend on; empty clusters left out."""
        target: dict[str, str] = {}
        if self.sync_target.cluster:
            target["cluster"] = self.sync_target.cluster
        target |= {"name": self.sync_target.name, "uid": self.sync_target.uid}
        locator: dict[str, object] = {"syncTarget": target}
        if self.cluster:
            locator["cluster"] = self.cluster
        locator["namespace"] = self.namespace
        return msgspec.json.encode(locator).decode()


# Made before there are threads: msgspec cannot prepare a type in two of them at once.
_locators: Final = msgspec.json.Decoder(NamespaceLocator)


def downstream_namespace(locator: NamespaceLocator) -> str:
    """Return the name that the namespace of ``locator`` gets downstream."""
    return f"kcp-{short_hash(locator.to_json(), 12)}"


def tenant_id(locator: NamespaceLocator) -> str:
    """Return the hash that all namespaces of one workspace on one target share."""
    tenant = msgspec.structs.replace(locator, namespace="")
    return base62(_sha224(tenant.to_json()))
