"""CustomResourceDefinitions: which resources they serve, and the status the server gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kcpctl.embedded.kinds import CrdVersion, ResourceInfo

__all__ = [
    "CLEANUP_FINALIZER",
    "CRD_KEY",
    "as_crd",
    "condition_status",
    "established_status",
    "infos_of",
    "initial_status",
    "is_established",
    "set_condition",
    "storage_version",
]

Json = dict[str, Any]
CRD_KEY: Final = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"

_VERBS: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def storage_version(crd: Json) -> str:
    """Return the name of the version that objects are stored in."""
    versions = crd["spec"].get("versions") or ()
    return next((one["name"] for one in versions if one.get("storage")), "")


def _crd_version(crd: Json, version: Json) -> CrdVersion:
    subresources = version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    group, name, kind = crd["spec"]["group"], version["name"], crd["spec"]["names"]["kind"]
    return CrdVersion(
        crd_name=crd["metadata"]["name"],
        schema=schema,
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale=subresources.get("scale"),
        selectable_fields=tuple(
            one["jsonPath"] for one in version.get("selectableFields") or () if "jsonPath" in one
        ),
        deprecated=bool(version.get("deprecated")),
        deprecation_warning=version.get("deprecationWarning")
        or (f"{group}/{name} {kind} is deprecated" if version.get("deprecated") else ""),
    )


def infos_of(crd: Json) -> list[ResourceInfo]:
    """Return the resources that an established CRD serves, one for each served version."""
    spec = crd["spec"]
    names = (crd.get("status") or {}).get("acceptedNames") or {}
    group, plural = spec["group"], spec["names"]["plural"]
    stored = storage_version(crd)
    infos = []
    for version in spec.get("versions") or ():
        if not version.get("served"):
            continue
        subresources = frozenset(version.get("subresources") or {}) & {"status", "scale"}
        infos.append(
            ResourceInfo(
                group=group,
                version=version["name"],
                plural=plural,
                kind=names.get("kind") or spec["names"]["kind"],
                namespaced=spec.get("scope") == "Namespaced",
                singular=names.get("singular") or "",
                list_kind=names.get("listKind") or "",
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                verbs=_VERBS,
                subresources=subresources,
                crd=_crd_version(crd, version),
                storage_key=f"{plural}.{group}",
                storage_version=f"{group}/{stored}",
                has_generation=True,
            )
        )
    return infos


def as_crd(info: ResourceInfo) -> Json:
    """Return as much of a CRD as tells which names a resource has that did not come by one."""
    names = {
        "plural": info.plural,
        "singular": info.singular,
        "shortNames": list(info.short_names),
        "kind": info.kind,
        "listKind": info.list_kind,
    }
    return {"spec": {"group": info.group}, "status": {"acceptedNames": names}}


def condition_status(crd: Json, kind: str) -> str:
    """Return the status of a condition, "" when there is none."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return next((one["status"] for one in conditions if one["type"] == kind), "")


def is_established(crd: Json) -> bool:
    """Whether the CRD's resources are served."""
    return condition_status(crd, "Established") == "True"


def initial_status(crd: Json) -> Json:
    """Return the status of a CRD that was just created."""
    return {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": [storage_version(crd)],
    }


def set_condition(status: Json, kind: str, value: str, reason: str, message: str, now: str) -> Json:
    """Return ``status`` with a condition; its time moves only when its value does."""
    condition = {
        "type": kind,
        "status": value,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    conditions = list(status.get("conditions") or ())
    for index, one in enumerate(conditions):
        if one["type"] == kind:
            if one["status"] == value:
                condition["lastTransitionTime"] = one["lastTransitionTime"]
            conditions[index] = condition
            break
    else:
        conditions.append(condition)
    return {**status, "conditions": conditions}


def _taken(others: Iterable[Json], group: str) -> tuple[set[str], set[str]]:
    """Return the resource names and the kinds that other CRDs of the group hold."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != group:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural", ""), names.get("singular", "")}
        resources |= set(names.get("shortNames") or ())
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    return resources - {""}, kinds - {""}


def _accept_names(crd: Json, others: Iterable[Json]) -> tuple[Json, str, str]:
    """Return the accepted names, and the reason and message of a conflict or two "".

    One name is reported only, the list kind first, as the real server does.
    """
    spec, accepted = crd["spec"], dict((crd.get("status") or {}).get("acceptedNames") or {})
    names: Json = spec["names"]
    resources, kinds = _taken(others, spec["group"])
    problem = ("", "")

    def take(field: str, taken: set[str], reason: str) -> None:
        nonlocal problem
        value = names.get(field) or ""
        if value and value in taken:
            problem = (reason, f'"{value}" is already in use')
        elif value:
            accepted[field] = value

    take("plural", resources, "PluralConflict")
    take("singular", resources, "SingularConflict")
    short = names.get("shortNames") or []
    clashing = [name for name in short if name in resources]
    if clashing:
        problem = ("ShortNamesConflict", f'"{clashing[0]}" is already in use')
    elif short:
        accepted["shortNames"] = list(short)
    take("kind", kinds, "KindConflict")
    take("listKind", kinds, "ListKindConflict")
    if names.get("categories"):
        accepted["categories"] = list(names["categories"])
    accepted.setdefault("plural", "")
    accepted.setdefault("kind", "")
    order = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
    return {key: accepted[key] for key in order if key in accepted}, *problem


def established_status(crd: Json, others: Iterable[Json], now: str) -> Json:
    """Return the status of a CRD after its names were compared with those of the others."""
    accepted, reason, message = _accept_names(crd, others)
    status: Json = {**(crd.get("status") or initial_status(crd)), "acceptedNames": accepted}
    if reason:
        status = set_condition(status, "NamesAccepted", "False", reason, message, now)
        if condition_status(crd, "Established") != "True":
            status = set_condition(
                status, "Established", "False", "NotAccepted", "not all names are accepted", now
            )
    else:
        status = set_condition(
            status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now
        )
        status = set_condition(
            status,
            "Established",
            "True",
            "InitialNamesAccepted",
            "the initial names have been accepted",
            now,
        )
    stored = list(status.get("storedVersions") or ())
    version = storage_version(crd)
    if version not in stored:
        status["storedVersions"] = [*stored, version]
    return status
