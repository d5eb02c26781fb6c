"""Schemas of the built-in kinds, from a data file made out of the ``kubernetes`` package."""

from __future__ import annotations

from typing import Any

__all__ = ["Schema", "schema_for"]

Schema = dict[str, Any]
"""An OpenAPI v3 node. Those of built-in kinds are shared and may be cyclic: never change them."""


def schema_for(group: str, version: str, kind: str) -> Schema | None:
    """Return the schema of a built-in kind, None when it is not one (first call: some ms)."""
    raise NotImplementedError
