"""What kcp refuses in the kinds of apis.kcp.io, besides what their schemas say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from kcpctl.embedded.exports.kinds import GROUP
from kcpctl.embedded.schema.crd_validation import (
    dns_1035_error,
    validate_names,
    validate_schema,
)
from kcpctl.embedded.status import Cause
from kcpctl.embedded.validation import dns_subdomain

__all__ = [
    "validate_binding",
    "validate_export",
    "validate_resource_schema",
    "validate_slice",
]

Json = dict[str, Any]
_PREFIX: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
_DOTLESS_GROUPS: Final = ("apps", "autoscaling", "batch", "extensions", "policy")


def validate_resource_schema(schema: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with an APIResourceSchema."""
    spec = schema["spec"]
    causes = [*_name(schema), *_group(spec), *_versions(spec), *validate_names(spec["names"])]
    if old is not None and spec != old["spec"]:
        causes.append(Cause.invalid("spec", spec, "is immutable"))
    return causes


def _name(schema: Json) -> Iterator[Cause]:
    name, spec = schema["metadata"].get("name", ""), schema["spec"]
    suffix = f".{spec['names']['plural']}.{spec['group'] or 'core'}"
    if not name.endswith(suffix):
        yield Cause.invalid("metadata.name", name, f"must end in {suffix}")
    elif not re.match(_PREFIX, name.removesuffix(suffix)):
        yield Cause.invalid("metadata.name", name, f"must match {_PREFIX} in front of {suffix}")


def _group(spec: Json) -> Iterator[Cause]:
    group = spec["group"]
    if group == "core":
        yield Cause.invalid("spec.group", group, "must be empty string for the core group")
    elif group and (problems := dns_subdomain(group)):
        yield Cause.invalid("spec.group", group, ",".join(problems))
    elif group and "." not in group and group not in _DOTLESS_GROUPS:
        yield Cause.invalid("spec.group", group, "should be a domain with at least one dot")


def _versions(spec: Json) -> Iterator[Cause]:
    versions = spec["versions"]
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if error := dns_1035_error(version["name"]):
            yield Cause.invalid(f"{path}.name", version["name"], error)
        yield from validate_schema(version["schema"], f"{path}.schema.openAPIV3Schema")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield Cause.invalid("spec.versions", versions, text)


def validate_export(export: Json, is_built_in: Callable[[str, str], bool]) -> list[Cause]:
    """Return what is wrong with an APIExport; ``is_built_in`` gets a group and a resource."""
    spec = export.get("spec") or {}
    causes = []
    for index, claim in enumerate(spec.get("permissionClaims") or ()):
        group = claim.get("group", "")
        if claim.get("identityHash") or group == GROUP or is_built_in(group, claim["resource"]):
            continue
        path = f"spec.permissionClaims[{index}].identityHash"
        text = "identityHash is required for API types that are not built-in"
        causes.append(Cause.invalid(path, "", text))
    for index, resource in enumerate(spec.get("resources") or ()):
        suffix = f".{resource['name']}.{resource['group'] or 'core'}"
        if not resource["schema"].endswith(suffix):
            path, value = f"spec.resources[{index}].schema", resource["schema"]
            causes.append(Cause.invalid(path, value, f"must end in {suffix}"))
    return causes


def validate_binding(binding: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with an APIBinding."""
    spec = binding["spec"]
    causes = []
    export = spec["reference"].get("export")
    if export is None:
        causes.append(Cause.required("spec.reference.export"))
    elif not export["name"]:
        causes.append(Cause.required("spec.reference.export.name"))
    for index, claim in enumerate(spec.get("permissionClaims") or ()):
        causes += _selector(claim["selector"], f"spec.permissionClaims[{index}].selector")
    before = ((old or {}).get("status") or {}).get("phase", "")
    if before and not (binding.get("status") or {}).get("phase"):
        text = f'cannot transition from "{before}" to ""'
        causes.append(Cause.forbidden("status.phase", text))
    return causes


def _selector(selector: Json, path: str) -> Iterator[Cause]:
    kinds = ("matchLabels", "matchExpressions")
    if selector.get("matchAll"):
        for kind in kinds:
            if selector.get(kind):
                text = f"{kind} cannot be used with matchAll"
                yield Cause.invalid(f"{path}.{kind}", selector, text)
    elif not any(selector.get(kind) for kind in kinds):
        text = "either one of matchAll, matchLabels, or matchExpressions must be set"
        yield Cause.required(path, text)


def validate_slice(endpoint_slice: Json) -> list[Cause]:
    """Return what is wrong with a new APIExportEndpointSlice."""
    if not endpoint_slice["spec"]["export"]["name"]:
        return [Cause.required("spec.export.name")]
    return []
