"""A syncer's token by way of a Secret, where there is no TokenRequest."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import SECRETS
from kcpctl.client import Client
from kcpctl.errors import NotFound, ServiceUnavailable
from kcpctl.logicalcluster import key_of
from kcpctl.reconcilers.credentials import Cache
from kcpctl.reconcilers.synctarget.manifests import FIELD_MANAGER, SyncerInputs, syncer_labels
from kcpctl.runtime import Clock

__all__ = ["SecretToken", "has_ended", "secret_token"]

# A kcp fills a Secret within milliseconds.
_LOOK_SECONDS: Final = 0.1
_LOOKS: Final = 10


class SecretToken(NamedTuple):
    """A token, and the uid of the Secret that it lives in."""

    token: str
    uid: str


def secret_token(
    upstream: Client, inputs: SyncerInputs, namespace: str, clock: Clock
) -> SecretToken:
    """Return the token of the identity from a Secret that the server fills.

    It does not expire; whoever deletes the Secret ends it. The Secret goes with the service
    account. Raises ServiceUnavailable when it is not filled within a second, and what the client
    raises.
    """
    secrets = upstream.resource(SECRETS)
    wanted = _secret(inputs, namespace)
    found = secrets.apply(wanted, field_manager=FIELD_MANAGER, force=True)
    for _ in range(_LOOKS):
        if token := (found.get("data") or {}).get("token"):
            return SecretToken(base64.b64decode(token).decode(), found["metadata"]["uid"])
        clock.sleep(_LOOK_SECONDS)
        found = secrets.get(wanted["metadata"]["name"], namespace=namespace)
    raise ServiceUnavailable(
        f"the Secret {namespace}/{wanted['metadata']['name']} in the workspace has got no token yet"
    )


def has_ended(
    upstream: Client, secrets: Cache, inputs: SyncerInputs, namespace: str, uid: str
) -> bool:
    """Whether the Secret of that uid is gone, and a token from it with it.

    The server is asked only where the cache has another Secret or none: it may lag.
    """
    name = _name(inputs)
    cached = secrets.cached(key_of(inputs.cluster, namespace, name))
    if cached is not None and cached.meta.uid == uid:
        return False
    try:
        found = upstream.resource(SECRETS).get(name, namespace=namespace)
    except NotFound:
        return True
    return bool(found["metadata"]["uid"] != uid)


def _name(inputs: SyncerInputs) -> str:
    return f"{inputs.id}-token"


def _secret(inputs: SyncerInputs, namespace: str) -> Unstructured:
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {
            "name": _name(inputs),
            "namespace": namespace,
            "labels": syncer_labels(inputs.name, inputs.uid),
            "annotations": {"kubernetes.io/service-account.name": inputs.id},
        },
        "type": "kubernetes.io/service-account-token",
    }
