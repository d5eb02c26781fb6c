"""The paths of OpenAPI documents: enough for kubectl to find kinds and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.openapi.schemas import component_name, gvk

__all__ = ["paths"]

Json = dict[str, Any]
_WRITE: Final = ("dryRun", "fieldManager", "fieldValidation")
_LIST: Final = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE: Final = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_BOOLEANS: Final = frozenset(
    {"allowWatchBookmarks", "force", "orphanDependents", "sendInitialEvents", "watch"}
)
_INTEGERS: Final = frozenset({"gracePeriodSeconds", "limit", "timeoutSeconds"})
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
# Verb of a resource -> method, action, query parameters, whether it is about one object.
_OPERATIONS: Final = {
    "list": ("get", "list", _LIST, False),
    "create": ("post", "post", _WRITE, False),
    "deletecollection": ("delete", "deletecollection", _LIST, False),
    "get": ("get", "get", (), True),
    "update": ("put", "put", _WRITE, True),
    "patch": ("patch", "patch", (*_WRITE, "force"), True),
    "delete": ("delete", "delete", _DELETE, True),
}


def paths(infos: Iterable[ResourceInfo]) -> dict[str, Json]:
    """Return the paths of resources."""
    result: dict[str, Json] = {}
    for info in infos:
        for path, method, operation in _operations(info):
            result.setdefault(path, {})[method] = operation
    return dict(sorted(result.items()))


def _operations(info: ResourceInfo) -> Iterator[tuple[str, str, Json]]:
    root = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
    scoped = f"{root}/namespaces/{{namespace}}" if info.namespaced else root
    for verb in info.verbs:
        if verb not in _OPERATIONS:
            continue
        method, action, names, about_one = _OPERATIONS[verb]
        path = f"{scoped}/{info.plural}" + ("/{name}" if about_one else "")
        yield path, method, _operation(info, action, names, path)
        if verb == "list" and info.namespaced:
            everywhere = f"{root}/{info.plural}"
            yield everywhere, method, _operation(info, action, names, everywhere)
    if "status" in info.subresources:
        path = f"{scoped}/{info.plural}/{{name}}/status"
        for verb in ("get", "update", "patch"):
            method, action, names, _ = _OPERATIONS[verb]
            yield path, method, _operation(info, action, names, path)


def _operation(info: ResourceInfo, action: str, names: Iterable[str], path: str) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("namespace", "name")
        if f"{{{name}}}" in path
    ]
    parameters += [
        {"name": name, "in": "query", "schema": {"type": _parameter_type(name)}} for name in names
    ]
    operation: Json = {"parameters": parameters}
    schema = {"schema": {"$ref": f"#/components/schemas/{component_name(info)}"}}
    if action in {"post", "put"}:
        operation["requestBody"] = {"required": True, "content": {"*/*": schema}}
    elif action == "patch":
        content = {kind: {"schema": {"type": "object"}} for kind in _PATCHES}
        operation["requestBody"] = {"required": True, "content": content}
    answer = {"description": "OK"}
    return {
        **operation,
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(info),
    }


def _parameter_type(name: str) -> str:
    if name in _BOOLEANS:
        return "boolean"
    return "integer" if name in _INTEGERS else "string"
