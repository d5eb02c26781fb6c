"""Throw-away certificates for tests that speak TLS."""

from __future__ import annotations

import base64
import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["CertificateAuthority", "signing_request"]

_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


class CertificateAuthority:
    """A CA that signs what a test asks for. ``pem`` is its certificate."""

    def __init__(self, name: str = "kcpctl test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = self._builder(self._name, self._key.public_key(), _BEGIN + timedelta(days=36500))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(until)
        )

    def issue(
        self,
        common_name: str,
        *,
        dns_names: tuple[str, ...] = (),
        ip_addresses: tuple[str, ...] = (),
        organizations: tuple[str, ...] = (),
        expired: bool = False,
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key as PEM, fit for a server and for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = _BEGIN + timedelta(days=1 if expired else 36500)
        builder = self._builder(_name(common_name, organizations), key.public_key(), until)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ip_addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            _key_pem(key),
        )

    def server_context(
        self,
        *,
        dns_names: tuple[str, ...] = ("localhost",),
        ip_addresses: tuple[str, ...] = ("127.0.0.1",),
        expired: bool = False,
        want_client_certificate: bool = False,
    ) -> ssl.SSLContext:
        """Return the TLS context of a server with a certificate of this CA."""
        cert, key = self.issue(
            "server", dns_names=dns_names, ip_addresses=ip_addresses, expired=expired
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="kcpctl-test-") as directory:
            file = Path(directory) / "server.pem"
            file.write_bytes(cert + key)
            context.load_cert_chain(file)
        if want_client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.pem.decode())
        return context


def signing_request(
    name: str, common_name: str, *organizations: str, **spec: Any
) -> tuple[dict[str, Any], bytes]:
    """Return a CertificateSigningRequest for a client certificate, and its key as PEM.

    ``spec`` replaces fields of its spec; None takes one away.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder()
    subject = _name(common_name, organizations)
    request = builder.subject_name(subject).sign(key, hashes.SHA256())
    content = {
        "request": base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        **spec,
    }
    made = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {field: value for field, value in content.items() if value is not None},
    }
    return made, _key_pem(key)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(common_name: str, organizations: tuple[str, ...] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
