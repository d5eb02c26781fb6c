"""The names that built-in types have in OpenAPI: ``io.k8s.api.apps.v1.Deployment``."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from kcpctl.embedded.schema.builtin import kinds, types

__all__ = ["closure", "definition_name", "referenced"]

_META: Final = frozenset(
    {
        "V1Condition",
        "V1DeleteOptions",
        "V1FieldSelectorRequirement",
        "V1LabelSelector",
        "V1LabelSelectorRequirement",
        "V1ManagedFieldsEntry",
        "V1ObjectMeta",
        "V1OwnerReference",
        "V1Preconditions",
    }
)
# In the core package, though only other groups refer to them.
_CORE: Final = frozenset({"V1TopologySelectorLabelRequirement", "V1TopologySelectorTerm"})
_PACKAGES: Final = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_MODEL: Final = re.compile(r"^(?:[A-Z][a-z]+(?=V\d))?V(\d+(?:(?:alpha|beta)\d+)?)([A-Z].*)$")


def referenced(type_name: str) -> list[str]:
    """Return the types that the fields of a type refer to."""
    codes = (code.lstrip("[{") for code in types(type_name).values())
    return [code for code in codes if len(code) > 1]


def closure(*roots: str) -> list[str]:
    """Return the roots and everything they refer to, sorted."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += referenced(name)
    return sorted(found)


@cache
def _groups() -> dict[str, str]:
    """Return the group that owns each type: core before others, kinds before their parts."""
    roots: dict[str, list[str]] = {}
    for key, name in kinds().items():
        roots.setdefault(key.split("/")[0], []).append(name)
    owners = {name: group for group, names in roots.items() for name in names}
    for group in sorted(roots):
        for name in closure(*roots[group]):
            owners.setdefault(name, group)
    return owners


@cache
def definition_name(type_name: str) -> str:
    """Return the OpenAPI name of a built-in type."""
    match = _MODEL.match(type_name)
    version, kind = (f"v{match[1]}", match[2]) if match else ("v1", type_name)
    if type_name in _META:
        return f"io.k8s.apimachinery.pkg.apis.meta.{version}.{kind}"
    group = "" if type_name in _CORE else _groups().get(type_name, "")
    package = _PACKAGES.get(group) or f"io.k8s.api.{group.split('.')[0]}"
    return f"{package}.{version}.{kind}"
