"""What the real server refuses in a CustomResourceDefinition."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.status import Cause

__all__ = ["validate_crd"]


def validate_crd(crd: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
    """Return what is wrong with a (defaulted) CustomResourceDefinition."""
    raise NotImplementedError
