"""Whether a resource that is to be bound gets in the way of others in its workspace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from kcpctl.embedded.kinds import ResourceInfo

__all__ = ["Names", "conflict", "names_of_crd", "names_of_infos", "names_of_schema"]

Json = dict[str, Any]


class Names(NamedTuple):
    """The names of one resource, and who has it: for messages."""

    holder: str
    group: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    kind: str
    list_kind: str


def _names(holder: str, group: str, names: Json) -> Names:
    return Names(
        holder,
        group,
        names.get("plural", ""),
        names.get("singular", ""),
        tuple(names.get("shortNames") or ()),
        names.get("kind", ""),
        names.get("listKind", ""),
    )


def names_of_crd(crd: Json) -> Names:
    """Return the names that a CustomResourceDefinition has got."""
    accepted = (crd.get("status") or {}).get("acceptedNames") or {}
    holder = f'CustomResourceDefinition "{crd["metadata"]["name"]}"'
    return _names(holder, crd["spec"]["group"], accepted)


def names_of_schema(schema: Json) -> Names:
    """Return the names that an APIResourceSchema asks for."""
    return _names("", schema["spec"]["group"], schema["spec"]["names"])


def names_of_infos(binding: Json, infos: Iterable[ResourceInfo]) -> list[Names]:
    """Return the names that an APIBinding has got."""
    export = binding["spec"]["reference"]["export"]
    where = f'local APIExport "{export["name"]}"'
    if export.get("path"):
        where = f"APIExport {export['path']}:{export['name']}"
    holder = f'APIBinding "{binding["metadata"]["name"]}" bound to {where}'
    return [
        Names(holder, i.group, i.plural, i.singular, i.short_names, i.kind, i.list_kind)
        for i in infos
    ]


def conflict(new: Names, others: Iterable[Names]) -> str:
    """Return with whom and by which name ``new`` conflicts, "" when it does not."""
    for other in others:
        if other.group != new.group:
            continue
        problem = _problem(new, other)
        if problem:
            return f"naming conflict with {other.holder}: {problem} is forbidden"
    return ""


def _problem(new: Names, other: Names) -> str:
    resources = {other.plural, other.singular, *other.short_names}
    kinds = {other.kind, other.list_kind}
    if new.plural in resources:
        return f"spec.names.plural={new.plural}"
    if new.singular in resources:
        return f"spec.names.singular={new.singular}"
    if resources & set(new.short_names):
        return f"spec.names.shortNames=[{' '.join(new.short_names)}]"
    if new.kind in kinds:
        return f"spec.names.kind={new.kind}"
    return f"spec.names.listKind={new.list_kind}" if new.list_kind in kinds else ""
