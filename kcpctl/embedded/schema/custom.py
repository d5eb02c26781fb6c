"""Schemas of custom resources: from a CRD's version to the schema of the whole object."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.status import Cause

__all__ = ["root_schema", "validate_crd"]


def root_schema(open_api_v3_schema: dict[str, Any] | None) -> Schema:
    """Return the schema of whole objects: with apiVersion, kind and the built-in ObjectMeta.

    None (a CRD without a schema) gives one that preserves everything. Cached by identity of the
    argument, so call it with the stored CRD's own dict.
    """
    raise NotImplementedError


def validate_crd(crd: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
    """Return what is wrong with a (defaulted) CustomResourceDefinition."""
    raise NotImplementedError
