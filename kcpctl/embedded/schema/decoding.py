"""From bytes to objects: duplicate keys, wrong types of built-in kinds, strict errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.status import StatusError

__all__ = ["Decoded", "check_types", "decode", "strict_error"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded body: the object, and the texts of its duplicate keys (the last value wins)."""

    value: Any
    duplicates: tuple[str, ...] = ()


def decode(body: bytes, *, yaml: bool = False) -> Decoded:
    """Decode JSON or YAML 1.1; raises ValueError with the decoder's sentence."""
    raise NotImplementedError


def strict_error(problems: Sequence[str]) -> str:
    """Return ``strict decoding error: unknown field "a", duplicate field "b"``."""
    raise NotImplementedError


def check_types(obj: dict[str, Any], schema: Schema, kind: str) -> tuple[Any, StatusError | None]:
    """Check a built-in object's types as decoding into Go structs does.

    Returns the object with quantities as text and nulls dropped, and the 400 error or None.
    """
    raise NotImplementedError
