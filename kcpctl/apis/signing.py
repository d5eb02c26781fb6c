"""Syncers' client certificates: whose they are, how they are asked for, how far a request is."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

__all__ = [
    "CLIENT_SIGNER",
    "LONGEST_CERTIFICATE_SECONDS",
    "SHORTEST_CERTIFICATE_SECONDS",
    "SYNCERS_GROUP",
    "SYNCER_USAGES",
    "RequestState",
    "certificate_rights",
    "state_of",
    "syncer_user",
]

CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
"""The signer whose certificates log in to its API server."""
SYNCER_USAGES: Final = ("client auth", "digital signature")
"""The second is what an elliptic-curve key does in a handshake."""
SYNCERS_GROUP: Final = "system:syncers"
"""The group of every syncer with a certificate; nothing is granted to it here."""
SHORTEST_CERTIFICATE_SECONDS: Final = 600.0
"""Servers refuse to be asked for less."""
LONGEST_CERTIFICATE_SECONDS: Final = 7 * 86_400.0
"""Nobody can take a certificate back, so no controller approves one for longer."""


class RequestState(Enum):
    """How far a CertificateSigningRequest is."""

    PENDING = "Pending"
    APPROVED = "Approved"
    ISSUED = "Issued"
    DENIED = "Denied"
    FAILED = "Failed"


def syncer_user(uid: str) -> str:
    """Return the user name of a SyncTarget's syncer, by the SyncTarget's uid.

    A certificate's user is the same in every workspace of a server, so the name must be of one
    SyncTarget alone; and the common name of a certificate has at most 64 letters.
    """
    return f"system:syncer:{uid}"


def certificate_rights(syncer: str) -> str:
    """Return the name of the role and binding by which a syncer may ask for certificates."""
    return f"{syncer}-certificate"


def state_of(request: Mapping[str, Any]) -> tuple[RequestState, str]:
    """Return how far a request is, and what whoever decided it had to say."""
    status = request.get("status") or {}
    messages = {
        one.get("type"): str(one.get("message") or one.get("reason") or "")
        for one in status.get("conditions") or ()
    }
    for state in (RequestState.DENIED, RequestState.FAILED):
        if state.value in messages:
            return state, messages[state.value]
    if status.get("certificate"):
        return RequestState.ISSUED, ""
    if RequestState.APPROVED.value in messages:
        return RequestState.APPROVED, messages[RequestState.APPROVED.value]
    return RequestState.PENDING, ""
