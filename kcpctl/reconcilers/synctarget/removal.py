"""Removing what belongs to one syncer, and nothing that belongs to anybody else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import MANAGED_BY_LABEL, SYNCTARGET_NAME_LABEL, SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from kcpctl.apis.signing import certificate_rights
from kcpctl.client import Client
from kcpctl.errors import Conflict, NotFound
from kcpctl.reconcilers.synctarget.manifests import SyncerInputs
from kcpctl.runtime import get_logger

__all__ = [
    "delete_certificate_rights",
    "delete_exactly",
    "delete_syncers_namespace",
    "prune",
    "some_of",
]

_log = get_logger(__name__)

# Those of the syncer's objects whose place the spec may change; the Deployment goes first, so
# that no syncer is left that could make anything again. The others have names that never change.
_PLACED: Final = (DEPLOYMENTS, LEASES, SECRETS, SERVICE_ACCOUNTS)
_TELLTALE: Final = (DEPLOYMENTS, PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES, CONFIG_MAPS)
"""What tells that a namespace is used by others too."""
_NAMED_AT_MOST: Final = 5
_IN_EVERY_NAMESPACE: Final = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
_ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"


def some_of(names: Iterable[str]) -> str:
    """Return the first few of the names, for a message."""
    found = sorted(names)
    return ", ".join(found[:_NAMED_AT_MOST]) + (", ..." if len(found) > _NAMED_AT_MOST else "")


def delete_exactly(client: Client, resource: Resource, obj: Unstructured) -> None:
    """Delete exactly this object, once.

    Raises Conflict where there is another one under its name by now, which may not be ours: the
    next pass looks at it.
    """
    meta = obj["metadata"]
    if meta.get("deletionTimestamp"):
        return
    with contextlib.suppress(NotFound):
        client.resource(resource).delete(
            meta["name"],
            namespace=meta.get("namespace"),
            uid=meta["uid"],
            propagation="Background",
        )


def delete_syncers_namespace(
    client: Client, namespace: Unstructured, *, uid: str, syncer: str
) -> None:
    """Delete the namespace that was made for a syncer; one that others use is only let go of.

    The Secret ``syncer`` is the syncer's, also where somebody else made it: with external auth.
    """
    meta = namespace["metadata"]
    if meta.get("deletionTimestamp"):
        return
    if not (others := _used_by_others(client, meta["name"], uid, syncer)):
        delete_exactly(client, NAMESPACES, namespace)
        return
    _log.info("Left a syncer's namespace to others", namespace=meta["name"], because_of=others)
    marks = dict.fromkeys((MANAGED_BY_LABEL, SYNCTARGET_NAME_LABEL, SYNCTARGET_UID_LABEL))
    change = {"metadata": {"uid": meta["uid"], "labels": marks}}
    with contextlib.suppress(NotFound, Conflict):
        client.resource(NAMESPACES).patch(meta["name"], change)


def _used_by_others(client: Client, name: str, uid: str, syncer: str) -> str:
    """Return something in a namespace that is neither the syncer's nor in every namespace."""
    for resource in _TELLTALE:
        for obj in client.resource(resource).list(namespace=name):
            its_name = obj["metadata"]["name"]
            if _is_anothers(obj, resource, uid) and (resource, its_name) != (SECRETS, syncer):
                return f"{resource.plural} {its_name}"
    return ""


def _is_anothers(obj: Unstructured, resource: Resource, uid: str) -> bool:
    meta = obj["metadata"]
    if (meta.get("labels") or {}).get(SYNCTARGET_UID_LABEL) == uid:
        return False
    if obj.get("type") == _ACCOUNT_TOKEN:
        return False
    return (resource.kind, meta["name"]) not in _IN_EVERY_NAMESPACE


def delete_certificate_rights(client: Client, *, syncer: str, uid: str) -> None:
    """Delete what a syncer had in its workspace to ask for certificates by, and its request.

    Where there never was any of it, the one look at the role is all. It goes last: it is the record
    that there may be more. The rights go first, so that nothing new is asked for.
    """
    name = certificate_rights(syncer)
    role = _find(client, CLUSTER_ROLES, name, uid)
    if role is None:
        return
    for resource, its_name in (
        (CLUSTER_ROLE_BINDINGS, name),
        (CERTIFICATE_SIGNING_REQUESTS, syncer),
    ):
        if (found := _find(client, resource, its_name, uid)) is not None:
            delete_exactly(client, resource, found)
    delete_exactly(client, CLUSTER_ROLES, role)


def _find(client: Client, resource: Resource, name: str, uid: str) -> Unstructured | None:
    """Return what is under that name, if it is the SyncTarget's."""
    try:
        found = client.resource(resource).get(name)
    except NotFound:
        return None
    labels = found["metadata"].get("labels") or {}
    return found if labels.get(SYNCTARGET_UID_LABEL) == uid else None


def prune(client: Client, inputs: SyncerInputs) -> None:
    """Delete what the syncer had where it is no longer rendered: in another namespace.

    Found by the label with the SyncTarget's uid, deleted by its own uid. What has an owner is the
    identity upstream, on a server that is both.
    """
    selector = f"{SYNCTARGET_UID_LABEL}={inputs.uid}"
    for resource in _PLACED:
        for obj in client.resource(resource).list(label_selector=selector):
            meta = obj["metadata"]
            here = (meta.get("namespace"), meta["name"]) == (inputs.namespace, inputs.id)
            if not here and not meta.get("ownerReferences"):
                delete_exactly(client, resource, obj)
    for namespace in client.resource(NAMESPACES).list(label_selector=selector):
        if namespace["metadata"]["name"] != inputs.namespace:
            delete_syncers_namespace(client, namespace, uid=inputs.uid, syncer=inputs.id)
