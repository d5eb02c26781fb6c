"""Writing a syncer's objects: the same for the controller and for ``kcpctl workload sync``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Final

from kcpctl.apis.meta import Unstructured, owner_of
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from kcpctl.apis.workload import SyncTarget
from kcpctl.client import Client
from kcpctl.errors import AlreadyExists, NotFound
from kcpctl.reconcilers.synctarget.manifests import (
    FIELD_MANAGER,
    SyncerInputs,
    downstream_objects,
    upstream_objects,
)
from kcpctl.reconcilers.synctarget.removal import delete_certificate_rights, prune
from kcpctl.reconcilers.synctarget.token_secret import secret_token
from kcpctl.runtime import Clock, format_time

__all__ = ["RENEW_AFTER", "apply", "install", "make_identity", "with_token"]

RENEW_AFTER: Final = 0.8
"""Decision 12: a token is renewed when a fifth of its life is left."""

_BY_KIND: Final[dict[str, Resource]] = {
    resource.kind: resource
    for resource in (
        NAMESPACES,
        SERVICE_ACCOUNTS,
        CLUSTER_ROLES,
        CLUSTER_ROLE_BINDINGS,
        SECRETS,
        LEASES,
        DEPLOYMENTS,
    )
}


def apply(client: Client, obj: Unstructured) -> Unstructured:
    """Apply one of a syncer's objects, by our own field manager."""
    resource = client.resource(_BY_KIND[obj["kind"]])
    return resource.apply(obj, field_manager=FIELD_MANAGER, force=True)


def make_identity(
    upstream: Client, target: SyncTarget, inputs: SyncerInputs, namespace: str
) -> None:
    """Make the syncer's service account and rights in the SyncTarget's workspace.

    What it had for certificates is removed if it is to have none.
    """
    namespaces = upstream.resource(NAMESPACES)
    try:
        namespaces.get(namespace)
    except NotFound:
        with contextlib.suppress(AlreadyExists):
            namespaces.create({"metadata": {"name": namespace}}, field_manager=FIELD_MANAGER)
    for obj in upstream_objects(inputs, namespace, _owner(target)):
        apply(upstream, obj)
    if not inputs.certificate:
        delete_certificate_rights(upstream, syncer=inputs.id, uid=inputs.uid)


def with_token(
    upstream: Client, inputs: SyncerInputs, namespace: str, *, seconds: int, clock: Clock
) -> tuple[SyncerInputs, float]:
    """Return the inputs with a new token of the identity, and how long that lives.

    Through the virtual workspace of an export a kcp (v0.33) has no TokenRequests, and says that
    there is no such account: then the token is one that does not expire.
    """
    life = float(seconds)
    try:
        answer = _request_token(upstream, inputs, namespace, seconds)
    except NotFound:
        token, secret_uid = secret_token(upstream, inputs, namespace, clock)
    else:
        token, secret_uid = answer["status"]["token"], ""
        # A server may grant less than was asked for.
        life = float(answer.get("spec", {}).get("expirationSeconds") or seconds)
    renew_at = format_time(clock.time() + RENEW_AFTER * life)
    with_it = replace(inputs, token=token, token_renew_at=renew_at, token_secret_uid=secret_uid)
    return with_it, life


def _request_token(
    upstream: Client, inputs: SyncerInputs, namespace: str, seconds: int
) -> Unstructured:
    answer: Unstructured = upstream.resource(SERVICE_ACCOUNTS).create(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        },
        namespace=namespace,
        subresource="token",
        name=inputs.id,
    )
    return answer


def install(downstream: Client, inputs: SyncerInputs) -> Unstructured:
    """Bring the syncer to its cluster and return the Deployment as the server has it.

    The Deployment is last: where it is with its hash, all the rest is done, and what an earlier
    spec had put elsewhere is gone. So a pass that was cut off is simply done again.
    """
    *others, deployment = downstream_objects(inputs)
    for obj in others:
        if obj["kind"] != NAMESPACES.kind or not _is_foreign(inputs, downstream):
            apply(downstream, obj)
    prune(downstream, inputs)
    return apply(downstream, deployment)


def _is_foreign(inputs: SyncerInputs, downstream: Client) -> bool:
    """Whether the namespace is somebody else's: then it is used, but neither marked nor
    ever deleted.
    """
    if inputs.namespace == inputs.id:
        return False
    try:
        found = downstream.resource(NAMESPACES).get(inputs.namespace)
    except NotFound:
        return False
    labels = found["metadata"].get("labels") or {}
    return bool(labels.get(SYNCTARGET_UID_LABEL) != inputs.uid)


def _owner(target: SyncTarget) -> dict[str, Any]:
    """Return the owner reference by which garbage collection takes the identity away.

    Not blocking: deleting the SyncTarget in the foreground must not wait for it.
    """
    owner = owner_of(target, controller=False)
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
