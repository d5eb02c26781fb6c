"""What the real server refuses in CertificateSigningRequests, in its words."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from kcpctl.embedded.status import Cause
from kcpctl.embedded.validation import dns_label, dns_subdomain

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["parse_request", "validate_signing_request"]

Json = dict[str, Any]

_USAGES: Final = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_LEGACY_SIGNER: Final = "kubernetes.io/legacy-unknown"
_MIN_SECONDS: Final = 600
_VERDICTS: Final = ("Approved", "Denied", "Failed")
"""Conditions that are True or absent, and that stay."""
_ANY_STATUS: Final = ("False", "True", "Unknown")
_PEM_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_MAX_DOMAIN_LENGTH: Final = 253


def parse_request(encoded: str | None) -> x509.CertificateSigningRequest:
    """Return the PKCS#10 request of a ``spec.request``; raises ValueError saying what is wrong."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    block = next(_PEM_BLOCK.finditer(_bytes(encoded)), None)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    try:
        request = x509.load_der_x509_csr(base64.b64decode(block[2]))
        good = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise ValueError(f"x509: {error}") from None
    if not good:
        raise ValueError("x509: signature verification failure")
    return request


def _bytes(encoded: str | None) -> bytes:
    try:
        return base64.b64decode(encoded or "")
    except binascii.Error:
        return b""


def validate_signing_request(obj: Json, old: Json | None) -> Iterator[Cause]:
    """Yield what is wrong with a request; ``old`` is what an update replaces."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    try:
        parse_request(spec.get("request"))
    except ValueError as error:
        yield Cause.invalid("spec.request", spec.get("request"), str(error))
    yield from _usages(spec.get("usages") or ())
    yield from _signer(spec.get("signerName") or "")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        yield Cause.invalid("spec.expirationSeconds", seconds, detail)
    conditions = status.get("conditions") or ()
    yield from _conditions(conditions)
    if problem := _certificate_problem(_bytes(status.get("certificate"))):
        yield Cause.invalid("status.certificate", "<certificate data>", problem)
    if old is not None:
        yield from _changes(status, old.get("status") or {})


def _usages(usages: Sequence[str]) -> Iterator[Cause]:
    if not usages:
        yield Cause.required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            yield Cause.not_supported(f"spec.usages[{index}]", usage, _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield Cause.duplicate(f"spec.usages[{index}]", usage)


def _signer(name: str) -> Iterator[Cause]:
    path = "spec.signerName"
    if not name:
        yield Cause.required(path)
        return
    if name == _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        yield Cause.invalid(path, name, detail)
        return
    segments = name.split("/")
    if len(segments) != 2:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield Cause.invalid(path, name, detail)
        return
    domain, rest = segments
    labels = domain.split(".")
    for label in labels:
        for problem in dns_label(label):
            yield Cause.invalid(path, domain, f'validating label "{label}": {problem}')
    if len(labels) < 2:
        detail = "should be a domain with at least two segments separated by dots"
        yield Cause.invalid(path, domain, detail)
    for label in rest.split("."):
        for problem in dns_subdomain(label):
            yield Cause.invalid(path, rest, f'validating label "{label}": {problem}')
    for part in (domain, rest):
        if len(part) > _MAX_DOMAIN_LENGTH:
            yield Cause.too_long(path, _MAX_DOMAIN_LENGTH)


def _conditions(conditions: Sequence[Json]) -> Iterator[Cause]:
    path = "status.conditions"
    seen: list[str] = []
    for index, one in enumerate(conditions):
        type_, status = one.get("type") or "", one.get("status") or ""
        allowed = ("True",) if type_ in _VERDICTS else _ANY_STATUS
        if not type_:
            yield Cause.required(f"{path}[{index}].type")
        if not status:
            yield Cause.required(f"{path}[{index}].status")
        elif status not in allowed:
            yield Cause.not_supported(f"{path}[{index}].status", status, allowed)
        other = {"Approved": "Denied", "Denied": "Approved"}.get(type_)
        if other in seen:
            detail = "Approved and Denied conditions are mutually exclusive"
            yield Cause.invalid(path, type_, detail)
        if type_ in seen:
            yield Cause.duplicate(f"{path}[{index}].type", type_)
        seen.append(type_)


def _certificate_problem(data: bytes) -> str:
    from cryptography import x509

    if not data:
        return ""
    blocks = list(_PEM_BLOCK.finditer(data))
    for block in blocks:
        if block[1] != b"CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block[1].decode()}"'
        try:
            x509.load_der_x509_certificate(base64.b64decode(block[2]))
        except ValueError as error:
            return f"x509: malformed certificate: {error}"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _changes(status: Json, old: Json) -> Iterator[Cause]:
    path = "status.conditions"
    types = [one.get("type") for one in status.get("conditions") or ()]
    before = [one.get("type") for one in old.get("conditions") or ()]
    for type_ in _VERDICTS:
        if types.count(type_) < before.count(type_):
            yield Cause.forbidden(path, f'updates may not remove a condition of type "{type_}"')
    certificate = old.get("certificate")
    if certificate and status.get("certificate") != certificate:
        detail = "updates may not modify existing certificate content"
        yield Cause.forbidden("status.certificate", detail)
