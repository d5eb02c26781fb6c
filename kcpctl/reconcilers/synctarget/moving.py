"""Noticing that the credentials of a SyncTarget lead to another cluster than they did before.

A Secret that was mixed up for a minute leaves a syncer on somebody else's cluster, with a token
in a Secret that the cluster's owner can read. Nobody else could ever take it away again.
"""

from __future__ import annotations

from typing import Final

from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import NAMESPACES, SERVICE_ACCOUNTS
from kcpctl.client import Client
from kcpctl.errors import Forbidden, NotFound
from kcpctl.reconcilers.synctarget.manifests import CLUSTER_UID_ANNOTATION, SyncerInputs
from kcpctl.reconcilers.synctarget.removal import delete_exactly
from kcpctl.runtime import get_logger

__all__ = ["cluster_uid", "is_elsewhere", "lock_out"]

_log = get_logger(__name__)

# The namespace that every cluster has from its first second to its last.
_FIRST_NAMESPACE: Final = "kube-system"


def cluster_uid(downstream: Client) -> str:
    """Return what tells a cluster from all others; "" where that may not be read."""
    try:
        found = downstream.resource(NAMESPACES).get(_FIRST_NAMESPACE)
    except (Forbidden, NotFound):
        return ""
    return str(found["metadata"].get("uid") or "")


def is_elsewhere(
    upstream: Client, downstream: Client, inputs: SyncerInputs, namespace: str
) -> bool:
    """Whether the syncer's identity is gone, or was last given to another cluster."""
    try:
        account = upstream.resource(SERVICE_ACCOUNTS).get(inputs.id, namespace=namespace)
    except NotFound:
        return True
    recorded = (account["metadata"].get("annotations") or {}).get(CLUSTER_UID_ANNOTATION)
    return bool(recorded) and cluster_uid(downstream) not in ("", recorded)


def lock_out(upstream: Client, inputs: SyncerInputs, namespace: str) -> bool:
    """Take a syncer's identity away if it was given to another cluster; whether it was.

    Its tokens end with it: they are bound to the ServiceAccount's uid.
    """
    if not inputs.cluster_uid:
        return False
    try:
        account = upstream.resource(SERVICE_ACCOUNTS).get(inputs.id, namespace=namespace)
    except NotFound:
        return False
    metadata = account["metadata"]
    recorded = (metadata.get("annotations") or {}).get(CLUSTER_UID_ANNOTATION, "")
    ours = (metadata.get("labels") or {}).get(SYNCTARGET_UID_LABEL) == inputs.uid
    if not ours or recorded in ("", inputs.cluster_uid):
        return False
    delete_exactly(upstream, SERVICE_ACCOUNTS, account)
    _log.warning("A SyncTarget moved; its former syncer was locked out", target=inputs.name)
    return True
