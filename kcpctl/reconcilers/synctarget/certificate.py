"""How far the client certificate of a syncer is, and the condition that tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kcpctl.apis.conditions import (
    ERROR,
    TRUE,
    WARNING,
    Condition,
    false,
    get_condition,
    true,
    unknown,
)
from kcpctl.apis.signing import CLIENT_SIGNER, RequestState

__all__ = ["SYNCER_CERTIFICATE", "Signing", "certificate_condition"]

SYNCER_CERTIFICATE: Final = "SyncerCertificate"
"""Condition: whether the syncer gets its client certificates. Ready does not depend on it."""


@dataclass(frozen=True, slots=True)
class Signing:
    """How far the certificate of a syncer is.

    ``state`` is None while there is no request. ``problem`` says what keeps a PENDING one from
    being approved. ``overdue`` tells that nobody signs an APPROVED one.
    """

    name: str
    state: RequestState | None = None
    message: str = ""
    problem: str = ""
    overdue: bool = False
    again_in_seconds: float | None = None


def certificate_condition(
    signing: Signing | None, conditions: Iterable[Condition], *, managed: bool
) -> Condition | None:
    """Return SyncerCertificate, None where the syncer has no certificates.

    A request that is on its way, or gone after it was issued, leaves a True as it is: there is one
    at each renewal.
    """
    if signing is None:
        return None
    name, type_ = signing.name, SYNCER_CERTIFICATE
    request = f"CertificateSigningRequest {name!r}"
    if signing.state is RequestState.ISSUED:
        return true(type_, "Issued", "The syncer has a client certificate and renews it")
    if signing.problem:
        message = (
            f"{request} waits for somebody who may approve it: kubectl certificate approve {name} "
            f"({signing.problem})"
        )
        return false(type_, WARNING, "ApprovalRequired", message)
    if signing.state is RequestState.DENIED:
        message = f"{request} was denied: {signing.message}; delete it to have the syncer ask again"
        return false(type_, ERROR, "CertificateDenied", message)
    if signing.state is RequestState.FAILED:
        message = f"{request} could not be signed: {signing.message}"
        return false(type_, ERROR, "CertificateFailed", message)
    if signing.overdue:
        message = (
            f"{request} is approved, but no signer of {CLIENT_SIGNER} has signed it; a server "
            "without one (a kcp) needs --syncer-auth token"
        )
        return false(type_, WARNING, "CertificateNotSigned", message)
    before = get_condition(conditions, type_)
    if before is not None and before.status == TRUE:
        return before
    if signing.state is not None:
        return unknown(type_, "WaitingForSigner", f"{request} is not signed yet")
    # Whoever runs a syncer themselves may have it log in by other means.
    return unknown(type_, "NotRequested", f"There is no {request} yet") if managed else None
