"""The server's own certificate authority. Elliptic-curve keys, because they are made in no time."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kcpctl.embedded.security.private_file import write_private
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = [
    "CLUSTER_EXTENSION",
    "CertificateAuthority",
    "KeyPair",
    "load_or_create_key",
    "private_key_pem",
]

CLUSTER_EXTENSION: Final = x509.ObjectIdentifier("2.25.147691538690489511593428653962899987521")
"""Holds the name of the one logical cluster that a certificate is good in (a UUID's arc: X.667)."""

_CA_LIFETIME: Final = timedelta(days=3650)
_LEAF_LIFETIME: Final = timedelta(days=365)
_BACKDATED: Final = timedelta(minutes=5)  # for clients whose clock is a little behind
_SHORT: Final = timedelta(hours=8)  # kube-controller-manager takes the five minutes off others
_CURVE: Final = ec.SECP256R1()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM. The key is kept out of ``repr``."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair(...)"


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_or_create_key(path: Path | None) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key kept at ``path``; without a path, or a file there, make a new one.

    Raises ValueError for a file that holds something else.
    """
    if path is not None and path.exists():
        problem = f"{path} does not hold a P-256 key; remove it to get a new one"
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (TypeError, ValueError) as error:
            raise ValueError(problem) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE.name:
            raise ValueError(problem)
        return key
    key = ec.generate_private_key(_CURVE)
    if path is not None:
        write_private(path, private_key_pem(key))
    return key


class CertificateAuthority:
    """Signs the server's certificate and client certificates.

    With a ``directory`` its key and certificate live there as ``ca.key`` and ``ca.crt``, so that a
    server that is started again is trusted by the kubeconfigs of its earlier life. Not
    thread-safe; no method blocks for long.
    """

    def __init__(self, directory: Path | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        key_path = directory / "ca.key" if directory else None
        certificate_path = directory / "ca.crt" if directory else None
        self._key = load_or_create_key(key_path)
        if certificate_path is not None and certificate_path.exists():
            problem = f"{certificate_path} is not the certificate of the key beside it; remove both"
            try:
                self._certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            except ValueError as error:
                raise ValueError(problem) from error
            if self._certificate.public_key() != self._key.public_key():
                raise ValueError(problem)
        else:
            self._certificate = self._self_signed()
            if certificate_path is not None:
                write_private(certificate_path, self.pem)

    @property
    def pem(self) -> bytes:
        """The CA certificate that clients trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue_server(self, hosts: Sequence[str]) -> KeyPair:
        """Return a server certificate for DNS names and IP addresses."""
        names = [_general_name(host) for host in hosts]
        return self._issue(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kcpctl-control-plane")]),
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.SubjectAlternativeName(names),
        )

    def issue_client(self, username: str, groups: Sequence[str] = ()) -> KeyPair:
        """Return a client certificate: the common name is the user, organisations the groups."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, username))
        return self._issue(x509.Name(attributes), ExtendedKeyUsageOID.CLIENT_AUTH)

    def sign_client(
        self,
        request: x509.CertificateSigningRequest,
        usages: Sequence[str],
        seconds: float,
        *,
        cluster: str | None = None,
    ) -> bytes:
        """Return a client certificate (PEM) for a request: its subject, key and names as asked.

        With ``cluster`` it is good in that logical cluster only.
        """
        now, life = self._now(), timedelta(seconds=seconds)
        ends = now + life if life < _SHORT else now + life - _BACKDATED
        ends = min(ends, self._certificate.not_valid_after_utc)
        key = request.public_key()
        builder = self._leaf(request.subject, key, ends, ExtendedKeyUsageOID.CLIENT_AUTH)
        if set(usages) & {"digital signature", "key encipherment"}:
            usage = _key_usage(
                authority=False,
                digital_signature="digital signature" in usages,
                key_encipherment="key encipherment" in usages,
            )
            builder = builder.add_extension(usage, critical=True)
        with contextlib.suppress(x509.ExtensionNotFound):
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=False)
        if cluster is not None:
            here = x509.UnrecognizedExtension(CLUSTER_EXTENSION, cluster.encode())
            builder = builder.add_extension(here, critical=False)
        return self._signed_pem(builder)

    def server_context(self, hosts: Sequence[str]) -> ssl.SSLContext:
        """Return a TLS context that serves ``hosts`` and verifies client certificates, if any.

        A client certificate of another authority ends the handshake (the real server would
        answer 401: Python's ssl cannot let an unverified one through).
        """
        pair = self.issue_server(hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        # The ssl module reads keys from files only.
        with tempfile.TemporaryDirectory(prefix="kcpctl-tls-") as directory:
            certificate_path, key_path = Path(directory, "tls.crt"), Path(directory, "tls.key")
            write_private(certificate_path, pair.certificate_pem)
            write_private(key_path, pair.key_pem)
            context.load_cert_chain(certificate_path, key_path)
        return context

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _builder(
        self, subject: x509.Name, public_key: CertificatePublicKeyTypes, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now() - _BACKDATED)
            .not_valid_after(ends)
        )

    def _leaf(
        self,
        subject: x509.Name,
        public_key: CertificatePublicKeyTypes,
        ends: datetime,
        usage: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            self._builder(subject, public_key, ends)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(authority, critical=False)
        )

    def _signed_pem(self, builder: x509.CertificateBuilder) -> bytes:
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _self_signed(self) -> x509.Certificate:
        # The serial number in the name keeps clients from mixing up the CAs of two servers.
        label = f"kcpctl-ca-{x509.random_serial_number() % 10**8:08d}"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
        key = self._key.public_key()
        return (
            self._builder(subject, key, self._now() + _CA_LIFETIME)
            .issuer_name(subject)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _issue(
        self,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
    ) -> KeyPair:
        key = ec.generate_private_key(_CURVE)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            self._leaf(subject, key.public_key(), self._now() + _LEAF_LIFETIME, usage)
            .add_extension(own, critical=False)
            .add_extension(_key_usage(authority=False), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return KeyPair(self._signed_pem(builder), private_key_pem(key))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(
    *, authority: bool, digital_signature: bool = True, key_encipherment: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
