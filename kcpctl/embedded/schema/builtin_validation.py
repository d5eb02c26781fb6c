"""What the real server refuses in objects of built-in kinds, in its words."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.status import Cause

__all__ = ["validate_builtin"]


def validate_builtin(
    group: str, version: str, kind: str, obj: dict[str, Any], old: dict[str, Any] | None = None
) -> list[Cause]:
    """Return what is wrong with a defaulted object; ``old`` is what an update replaces.

    Covers spec and kind-specific rules (required fields, enumerations, immutability, selectors).
    Names, labels, annotations, finalizers and owner references are the registry's.
    """
    raise NotImplementedError
