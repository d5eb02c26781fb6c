"""Discovery documents, legacy and aggregated, as dicts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo

__all__ = [
    "aggregated_api",
    "aggregated_apis",
    "api_group",
    "api_group_list",
    "api_versions",
    "resource_list",
]

Json = dict[str, Any]
# The order in which a real server lists its groups; others follow by name.
_GROUP_ORDER: Final = (
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
)
_CRD_VERBS: Final = (
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
)
# The real server still stores CRDs in their first version.
_STORED_AS: Final = {"CustomResourceDefinition": "apiextensions.k8s.io/v1beta1"}
_READ_WRITE: Final = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class _Subresource:
    verbs: tuple[str, ...] = _READ_WRITE
    kind: str = ""
    group: str = ""
    version: str = ""


_SUBRESOURCES: Final = {
    "binding": _Subresource(("create",), "Binding"),
    "eviction": _Subresource(("create",), "Eviction", "policy", "v1"),
    "finalize": _Subresource(("update",)),
    "log": _Subresource(("get",)),
    "scale": _Subresource(kind="Scale", group="autoscaling", version="v1"),
    "token": _Subresource(("create",), "TokenRequest", "authentication.k8s.io", "v1"),
}


def api_versions(server_address: str = "") -> dict[str, Any]:
    """Return ``/api``: an APIVersions."""
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}


def _version_key(version: str) -> tuple[int, int, int, str]:
    """Sort key of versions: v2 before v1 before v1beta2 before v1alpha1 before anything else."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")


def _groups(infos: Iterable[ResourceInfo]) -> dict[str, list[str]]:
    """Return the versions of every named group, in the order to list them."""
    found: dict[str, set[str]] = {}
    for info in infos:
        if info.group:
            found.setdefault(info.group, set()).add(info.version)
    known = {name: index for index, name in enumerate(_GROUP_ORDER)}
    names = sorted(found, key=lambda name: (known.get(name, len(known)), name))
    return {name: sorted(found[name], key=_version_key) for name in names}


def _group(name: str, versions: Sequence[str]) -> Json:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def api_group_list(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/apis``: an APIGroupList."""
    groups = [_group(name, versions) for name, versions in _groups(infos).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(group: str, infos: Sequence[ResourceInfo]) -> dict[str, Any] | None:
    """Return ``/apis/GROUP``: an APIGroup, None when it is not served."""
    versions = _groups(infos).get(group)
    if versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}


def _of(group_version: str, infos: Sequence[ResourceInfo]) -> list[ResourceInfo]:
    chosen = [info for info in infos if info.api_version == group_version]
    return sorted(chosen, key=lambda info: info.plural)


def _verbs(info: ResourceInfo) -> list[str]:
    if info.crd is None:
        return list(info.verbs)
    return [verb for verb in _CRD_VERBS if verb in info.verbs]


def _subresources(info: ResourceInfo) -> list[tuple[str, _Subresource]]:
    # CRDs have status before scale, all others are sorted.
    names = sorted(info.subresources, reverse=info.crd is not None)
    return [(name, _SUBRESOURCES.get(name, _Subresource())) for name in names]


def _storage_hash(info: ResourceInfo) -> str:
    """Return the hash that tells clients whether two resources are stored as one."""
    version = _STORED_AS.get(info.kind) or info.storage_version or info.api_version
    text = f"{version if '/' in version else f'/{version}'}/{info.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def resource_list(group_version: str, infos: Sequence[ResourceInfo]) -> dict[str, Any] | None:
    """Return ``/apis/GROUP/VERSION`` or (``v1``) ``/api/v1``: an APIResourceList, or None."""
    chosen = _of(group_version, infos)
    if not chosen:
        return None
    resources: list[Json] = []
    for info in chosen:
        resources.append(_resource(info))
        resources += [_subresource(info, name, sub) for name, sub in _subresources(info)]
    # The core group's list goes without apiVersion, as ever.
    head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if "/" in group_version else {})
    return {**head, "groupVersion": group_version, "resources": resources}


def _resource(info: ResourceInfo) -> Json:
    entry: Json = {
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": info.namespaced,
        "kind": info.kind,
        "verbs": _verbs(info),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if not info.virtual:
        entry["storageVersionHash"] = _storage_hash(info)
    return entry


def _subresource(info: ResourceInfo, name: str, sub: _Subresource) -> Json:
    entry: Json = {
        "name": f"{info.plural}/{name}",
        "singularName": "",
        "namespaced": info.namespaced,
    }
    if sub.group:
        entry |= {"group": sub.group, "version": sub.version}
    return {**entry, "kind": sub.kind or info.kind, "verbs": list(sub.verbs)}


def aggregated_api(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/api`` as apidiscovery.k8s.io/v2 APIGroupDiscoveryList."""
    return _aggregated([{"metadata": {}, "versions": [_version("", "v1", infos)]}])


def aggregated_apis(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/apis`` as apidiscovery.k8s.io/v2 APIGroupDiscoveryList."""
    return _aggregated(
        [
            {
                "metadata": {"name": group},
                "versions": [_version(group, version, infos) for version in versions],
            }
            for group, versions in _groups(infos).items()
        ]
    )


def _aggregated(items: list[Json]) -> Json:
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}
    return {**head, "metadata": {}, "items": items}


def _version(group: str, version: str, infos: Sequence[ResourceInfo]) -> Json:
    chosen = _of(f"{group}/{version}" if group else version, infos)
    resources = [_aggregated_resource(info) for info in chosen]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(info: ResourceInfo) -> Json:
    entry: Json = {
        "resource": info.plural,
        "responseKind": _response_kind(info, info.kind),
        "scope": "Namespaced" if info.namespaced else "Cluster",
        "singularResource": info.singular,
        "verbs": _verbs(info),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    subresources = [
        {
            "subresource": name,
            "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind}
            if sub.group
            else _response_kind(info, sub.kind or info.kind),
            "verbs": list(sub.verbs),
        }
        for name, sub in _subresources(info)
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _response_kind(info: ResourceInfo, kind: str) -> Json:
    # Built-in kinds leave out the group and version that they are listed under.
    if info.crd is None:
        return {"group": "", "version": "", "kind": kind}
    return {"group": info.group, "version": info.version, "kind": kind}
