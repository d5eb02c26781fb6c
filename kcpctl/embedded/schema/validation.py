"""Validation of custom resources by their structural schema, in the real server's words."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.status import Cause

__all__ = ["validate"]


def validate(obj: Any, schema: Schema, *, old: Any = None) -> list[Cause]:
    """Return what is wrong with ``obj``: types, ranges, enums, lists, and CEL rules.

    ``old`` is what an update replaces, for transition rules (``oldSelf``).
    """
    raise NotImplementedError
