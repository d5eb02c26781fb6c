"""From a decoded body to an object that may be stored: the calls into the schema package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.schema import (
    Schema,
    apply_defaults,
    check_types,
    default_builtin,
    prune,
    root_schema,
    schema_for,
    strict_error,
    unknown_fields,
    validate,
    validate_builtin,
    validate_crd,
)
from kcpctl.embedded.status import Cause, bad_request

__all__ = ["WriteOptions", "admit", "object_schema", "validate_object"]

Json = dict[str, Any]
FieldValidation = Literal["Ignore", "Warn", "Strict"]


@dataclass(slots=True)
class WriteOptions:
    """How a write is to be made, and what there is to warn about afterwards.

    ``duplicates`` are the duplicate keys that decoding found. ``trusted`` writes are the
    server's own. ``mutate`` may change metadata of an object that came in (and refuse it);
    ``admission`` is asked about the object before it is stored, with the subresource that writes
    it, and may change or refuse it. An apply that is ``forwarded`` is worked out by who forwards
    it, and stored as an update: what it owns it owns by updating, so that a later apply does not
    remove it.
    """

    user: str = "system:kcpctl"
    field_manager: str = "kcpctl-embedded"
    field_validation: FieldValidation = "Ignore"
    dry_run: bool = False
    force: bool = False
    duplicates: Sequence[str] = ()
    warnings: list[str] = field(default_factory=list)
    trusted: bool = True
    forwarded: bool = False
    mutate: Callable[[Json], None] | None = None
    admission: Callable[[Json, str], None] | None = None


_ANYTHING: Final[Schema] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def object_schema(info: ResourceInfo) -> Schema:
    """Return the schema of a resource's whole objects."""
    if info.crd is not None:
        return root_schema(info.crd.schema)
    return schema_for(info.group, info.version, info.kind) or _ANYTHING


def _report(info: ResourceInfo, obj: Json, schema: Schema, options: WriteOptions) -> None:
    """fieldValidation: refuse or warn about fields that nobody knows or that come twice."""
    if options.field_validation == "Ignore":
        return
    unknown = unknown_fields(obj, schema)
    if info.crd is not None:
        unknown = sorted(unknown)
    problems = [f'unknown field "{path}"' for path in unknown]
    problems += options.duplicates
    if not problems:
        return
    if options.field_validation == "Strict":
        raise bad_request(
            f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: '
            f"{strict_error(problems)}"
        )
    options.warnings += problems


def admit(info: ResourceInfo, obj: Json, options: WriteOptions) -> Json:
    """Return ``obj`` with known fields only, and defaults; raises 400."""
    schema = object_schema(info)
    if info.crd is None:
        if not options.trusted:
            obj, error = check_types(obj, schema, info.kind)
            if error is not None:
                raise error
            _report(info, obj, schema, options)
        obj = prune(obj, schema)
        obj = default_builtin(info.group, info.version, info.kind, obj)
    else:
        _report(info, obj, schema, options)
        obj = apply_defaults(prune(obj, schema), schema)
    return {**obj, "kind": info.kind, "apiVersion": info.api_version}


def validate_object(info: ResourceInfo, obj: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with everything but metadata."""
    if info.crd is not None:
        causes: list[Cause] = validate(obj, object_schema(info), old=old)
        return causes
    if info.storage_key == CRD_KEY:
        return validate_crd(obj, old)
    return validate_builtin(info.group, info.version, info.kind, obj, old)
