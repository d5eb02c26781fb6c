"""A key, the request for its certificate, and the certificate that comes back."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    MANAGED_BY_LABEL,
    SYNCTARGET_NAME_LABEL,
    SYNCTARGET_UID_LABEL,
    syncer_id,
)
from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS
from kcpctl.apis.signing import CLIENT_SIGNER, SYNCER_USAGES, SYNCERS_GROUP, syncer_user
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client.credentials import Credential
from kcpctl.errors import KcpctlError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["CertificateUnusable", "Issued", "PrivateKey", "request_object"]


class CertificateUnusable(KcpctlError):
    """What was signed is not the certificate that was asked for."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, and how long it lives, in seconds, from when it was looked at."""

    credential: Credential = field(repr=False)
    life_seconds: float


class PrivateKey:
    """A key that exists in this process only: in memory, and never in ``repr``.

    (OpenSSL's binding reads keys from files; on Linux that is an anonymous file in memory, see
    :mod:`kcpctl.client.tls`.)
    """

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec as curves

        self._key: ec.EllipticCurvePrivateKey = curves.generate_private_key(curves.SECP256R1())

    def __repr__(self) -> str:
        return "PrivateKey(...)"

    def request(self, user: str) -> bytes:
        """Return a PKCS#10 request (PEM) for a certificate that names ``user``."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        subject = x509.Name(
            [
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, SYNCERS_GROUP),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, user),
            ]
        )
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        request = builder.sign(self._key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM)

    def accept(self, encoded: str, user: str, now: float) -> Issued:
        """Return the certificate of a ``status.certificate``; raises CertificateUnusable."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        try:
            pem = base64.b64decode(encoded)
            certificate = x509.load_pem_x509_certificates(pem)[0]
        except (binascii.Error, ValueError) as error:
            raise CertificateUnusable(f"what was signed is no certificate: {error}") from None
        if certificate.public_key() != self._key.public_key():
            raise CertificateUnusable("the certificate that was signed is of another key")
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if [str(name.value) for name in names] != [user]:
            found = certificate.subject.rfc4514_string()
            raise CertificateUnusable(f"the certificate names {found!r}, and not {user!r}")
        key_pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        ends = certificate.not_valid_after_utc.timestamp()
        whole = ends - certificate.not_valid_before_utc.timestamp()
        left = min(ends - now, whole)
        # Past its end by our clock: that is wrong, or else the server refuses the certificate.
        life_seconds = left if left > 0 else whole
        return Issued(Credential(client_cert=pem, client_key=key_pem), life_seconds)


def request_object(
    key: PrivateKey, sync_target_name: str, sync_target_uid: str, seconds: float
) -> Unstructured:
    """Return the CertificateSigningRequest of a SyncTarget's syncer.

    Its name is always the same: RBAC can only limit whom one reads by name. It ends with the
    SyncTarget.
    """
    labels = {
        MANAGED_BY_LABEL: "kcpctl",
        SYNCTARGET_NAME_LABEL: sync_target_name,
        SYNCTARGET_UID_LABEL: sync_target_uid,
    }
    owner: dict[str, Any] = {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "name": sync_target_name,
        "uid": sync_target_uid,
    }
    return {
        "apiVersion": CERTIFICATE_SIGNING_REQUESTS.api_version,
        "kind": CERTIFICATE_SIGNING_REQUESTS.kind,
        "metadata": {
            "name": syncer_id(sync_target_name, sync_target_uid),
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {
            "request": base64.b64encode(key.request(syncer_user(sync_target_uid))).decode(),
            "signerName": CLIENT_SIGNER,
            "expirationSeconds": int(seconds),
            "usages": list(SYNCER_USAGES),
        },
    }
