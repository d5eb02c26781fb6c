"""Structure of API objects: schemas of built-in kinds and CRDs, and what is done with them.

A schema node is an OpenAPI v3 dict (``type``, ``properties``, ``items``, ``x-kubernetes-*``), the
same for built-in kinds and CRDs. Everything is a pure function over dicts; arguments are never
changed. The order for a write is: :func:`decode`, :func:`unknown_fields` (for fieldValidation),
:func:`check_types` (built-ins) , :func:`prune`, defaults (:func:`apply_defaults` for CRDs,
:func:`default_builtin` for built-ins), then :func:`validate` and, for built-ins,
:func:`validate_builtin`.
"""

from __future__ import annotations

from kcpctl.embedded.schema.builtin import Schema, schema_for
from kcpctl.embedded.schema.builtin_defaults import default_builtin
from kcpctl.embedded.schema.builtin_validation import validate_builtin
from kcpctl.embedded.schema.custom import root_schema, validate_crd
from kcpctl.embedded.schema.decoding import Decoded, decode, strict_error
from kcpctl.embedded.schema.go_types import check_types
from kcpctl.embedded.schema.structural import apply_defaults, prune, unknown_fields
from kcpctl.embedded.schema.validation import validate

__all__ = [
    "Decoded",
    "Schema",
    "apply_defaults",
    "check_types",
    "decode",
    "default_builtin",
    "prune",
    "root_schema",
    "schema_for",
    "strict_error",
    "unknown_fields",
    "validate",
    "validate_builtin",
    "validate_crd",
]
