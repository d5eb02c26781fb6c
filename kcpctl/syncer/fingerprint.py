"""Small digests that tell whether an apply would change anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Applied", "digest", "fingerprint"]

_BYTES = 16
_encoder = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last for one upstream object, and what came of it.

    ``generation`` is the upstream generation that ``desired`` was made from;
    ``downstream_generation`` the one that the downstream server gave to the result.
    """

    desired: bytes
    uid: str
    live: bytes
    generation: int
    downstream_generation: int


def digest(value: Any) -> bytes:
    """Return a short hash of JSON data, the same for every order of the keys."""
    return hashlib.blake2b(_encoder.encode(value), digest_size=_BYTES).digest()


def fingerprint(live: Mapping[str, Any], desired: Mapping[str, Any]) -> bytes:
    """Return a hash of the part of ``live`` that an apply of ``desired`` could change.

    All content counts, so that a drift of any field is mended. Of labels and annotations only
    those that are applied: others write there (a Deployment's revision), and it is not ours.
    """
    metadata = live.get("metadata") or {}
    wanted = desired.get("metadata") or {}
    picked = {
        part: {key: (metadata.get(part) or {}).get(key) for key in wanted.get(part) or ()}
        for part in ("labels", "annotations")
    }
    content = {
        key: value
        for key, value in live.items()
        if key not in {"metadata", "status", "apiVersion", "kind"}
    }
    return digest([picked, content])
