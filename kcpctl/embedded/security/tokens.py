"""ServiceAccount tokens: ES256 JWTs with the claims of the real server's bound tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, new_uid

__all__ = ["ISSUER", "BoundObject", "Claims", "ServiceAccountTokens", "unverified_cluster"]

ISSUER: Final = "https://kubernetes.default.svc"
"""Issuer and default audience. Tokens of two servers differ by their keys."""

_LEEWAY_SECONDS: Final = 10.0  # what the real server grants for clocks that differ
_COORDINATE_BYTES: Final = 32  # of P-256


@dataclass(frozen=True, slots=True)
class BoundObject:
    """What a token dies with: a Pod or a Secret (``kind`` in lower case)."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom a token speaks for."""

    cluster: str
    namespace: str
    name: str
    uid: str
    token_id: str = ""
    audiences: tuple[str, ...] = ()
    bound: BoundObject | None = None


class ServiceAccountTokens:
    """Issues and verifies tokens with one key. Knows nothing of the objects they name."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._key = key
        self._public_key = key.public_key()
        self._clock = clock
        self._rng = rng
        encoded = self._public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _encode(hashlib.sha256(encoded).digest())

    def issue(self, claims: Claims, expiration_seconds: int) -> tuple[str, float]:
        """Return a token for ``claims`` and when it ends (seconds since the epoch)."""
        now = int(self._clock.time())
        ends = now + expiration_seconds
        account: dict[str, Any] = {
            "clusterName": claims.cluster,
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.name, "uid": claims.uid},
        }
        if claims.bound is not None:
            account[claims.bound.kind] = {"name": claims.bound.name, "uid": claims.bound.uid}
        payload = {
            "aud": list(claims.audiences or (ISSUER,)),
            "exp": ends,
            "iat": now,
            "iss": ISSUER,
            "jti": new_uid(self._rng),
            "kubernetes.io": account,
            "nbf": now,
            "sub": f"system:serviceaccount:{claims.namespace}:{claims.name}",
        }
        header = {"alg": "ES256", "kid": self._key_id}
        signed = f"{_encode_json(header)}.{_encode_json(payload)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed}.{_encode(raw)}", float(ends)

    def verify(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> Claims | None:
        """Return the claims; None for a token that is not ours, not for one of us, or over.

        The claims' audiences are those of ``audiences`` that the token is for.
        """
        header, payload = _header(token), _payload(token)
        if header is None or payload is None or header.get("alg") != "ES256":
            return None
        if header.get("kid") != self._key_id or not self._signature_holds(token):
            return None
        now = self._clock.time()
        if payload.get("iss") != ISSUER or now > payload.get("exp", 0) + _LEEWAY_SECONDS:
            return None
        if now < payload.get("nbf", 0) - _LEEWAY_SECONDS:
            return None
        ours = tuple(audience for audience in audiences if audience in payload.get("aud", ()))
        return _claims(payload, ours) if ours else None

    def _signature_holds(self, token: str) -> bool:
        signed, _, tail = token.rpartition(".")
        raw = _decode(tail)
        if raw is None or len(raw) != 2 * _COORDINATE_BYTES:
            return False
        r = int.from_bytes(raw[:_COORDINATE_BYTES], "big")
        s = int.from_bytes(raw[_COORDINATE_BYTES:], "big")
        try:
            signature = encode_dss_signature(r, s)
            self._public_key.verify(signature, signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def unverified_cluster(token: str) -> str | None:
    """Return the logical cluster that a token names, without believing it."""
    payload = _payload(token)
    account = payload.get("kubernetes.io") if payload else None
    name = account.get("clusterName") if isinstance(account, Mapping) else None
    return name if isinstance(name, str) and name else None


def _claims(payload: Mapping[str, Any], audiences: tuple[str, ...]) -> Claims:
    account = payload["kubernetes.io"]
    bound = None
    for kind in ("pod", "secret"):
        if kind in account:
            bound = BoundObject(kind, account[kind]["name"], account[kind]["uid"])
    return Claims(
        account["clusterName"],
        account["namespace"],
        account["serviceaccount"]["name"],
        account["serviceaccount"]["uid"],
        payload["jti"],
        audiences,
        bound,
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode_json(value: Mapping[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _decode_json(text: str) -> dict[str, Any] | None:
    data = _decode(text)
    try:
        value = json.loads(data) if data is not None else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _header(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    return _decode_json(parts[0]) if len(parts) == 3 else None


def _payload(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    return _decode_json(parts[1]) if len(parts) == 3 else None
