"""A syncer's token by way of a Secret, where there is no TokenRequest."""

from __future__ import annotations

import base64
from typing import Final

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import SECRETS
from kcpctl.client import Client
from kcpctl.errors import ServiceUnavailable
from kcpctl.reconcilers.synctarget.manifests import FIELD_MANAGER, SyncerInputs, syncer_labels
from kcpctl.runtime import Clock

__all__ = ["secret_token"]

# A kcp fills a Secret within milliseconds.
_LOOK_SECONDS: Final = 0.1
_LOOKS: Final = 10


def secret_token(upstream: Client, inputs: SyncerInputs, namespace: str, clock: Clock) -> str:
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
            return base64.b64decode(token).decode()
        clock.sleep(_LOOK_SECONDS)
        found = secrets.get(wanted["metadata"]["name"], namespace=namespace)
    raise ServiceUnavailable(
        f"the Secret {namespace}/{wanted['metadata']['name']} in the workspace has got no token yet"
    )


def _secret(inputs: SyncerInputs, namespace: str) -> Unstructured:
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {
            "name": f"{inputs.id}-token",
            "namespace": namespace,
            "labels": syncer_labels(inputs.name, inputs.uid),
            "annotations": {"kubernetes.io/service-account.name": inputs.id},
        },
        "type": "kubernetes.io/service-account-token",
    }
