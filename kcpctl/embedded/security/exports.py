"""Who may write exports and bindings, and which of them are refused."""

from __future__ import annotations

from typing import Any

from kcpctl.embedded.exports.kinds import (
    APIBINDINGS_KEY,
    APIEXPORTS_KEY,
    ENDPOINT_SLICES_KEY,
    GROUP,
    SCHEMAS_KEY,
)
from kcpctl.embedded.exports.validation import (
    validate_binding,
    validate_export,
    validate_resource_schema,
    validate_slice,
)
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.status import Cause, forbidden
from kcpctl.embedded.user import Attributes, UserInfo
from kcpctl.logicalcluster import ROOT

__all__ = ["check_exports"]

Json = dict[str, Any]


def check_exports(
    registry: Registry,
    authorizer: Authorizer,
    user: UserInfo,
    info: ResourceInfo,
    cluster: str,
    namespace: str,
    obj: Json,
) -> None:
    """Raise 403 for what kcp's admission refuses in these kinds; others pass.

    Binding to an export needs the verb ``bind`` on it, in its workspace. That a workspace exists
    is not given away: without the right the answer is the same whether it does or not.
    """
    if info.group != GROUP:
        return
    name = obj["metadata"].get("name", "")
    old = registry.find(info, cluster, namespace, name)
    causes = _causes(registry, info, obj, old)
    if causes:
        raise forbidden(info, name, _shown(causes, info))
    reference = _reference(info, obj)
    if reference is None or (old is not None and _reference(info, old) == reference):
        return
    if not _may_bind(registry, authorizer, user, info, cluster, reference):
        path, export = reference
        action = "create" if old is None or info.storage_key == ENDPOINT_SLICES_KEY else "update"
        where = f"{path}:{export}" if path else export
        message = f"unable to {action} {info.kind}: no permission to bind to export {where}"
        raise forbidden(info, name, message)


def _causes(registry: Registry, info: ResourceInfo, obj: Json, old: Json | None) -> list[Cause]:
    if info.storage_key == SCHEMAS_KEY:
        return validate_resource_schema(obj, old)
    if info.storage_key == APIEXPORTS_KEY:
        built_in = registry.backend.kinds.is_built_in
        return validate_export(obj, built_in)[:1]
    if info.storage_key == APIBINDINGS_KEY:
        return validate_binding(obj, old)
    return validate_slice(obj) if old is None else []


def _shown(causes: list[Cause], info: ResourceInfo) -> str:
    """Return problems as kcp prints them: a list, but a single one for exports."""
    text = " ".join(str(cause) for cause in causes)
    return text if info.storage_key == APIEXPORTS_KEY else f"[{text}]"


def _reference(info: ResourceInfo, obj: Json) -> tuple[str, str] | None:
    spec = obj["spec"]
    if info.storage_key == APIBINDINGS_KEY:
        export = spec["reference"].get("export") or {}
    elif info.storage_key == ENDPOINT_SLICES_KEY:
        export = spec["export"]
    else:
        return None
    return export.get("path", ""), export.get("name", "")


def _may_bind(
    registry: Registry,
    authorizer: Authorizer,
    user: UserInfo,
    info: ResourceInfo,
    cluster: str,
    reference: tuple[str, str],
) -> bool:
    path, export = reference
    export_cluster = _export_cluster(registry, info, cluster, path, export)
    if export_cluster is None:
        return False
    attributes = Attributes(
        "bind",
        group=GROUP,
        version="v1alpha1",
        resource="apiexports",
        name=export,
        cluster=export_cluster,
    )
    return authorizer.authorize(user, attributes).allowed


def _export_cluster(
    registry: Registry, info: ResourceInfo, cluster: str, path: str, export: str
) -> str | None:
    """Return the export's cluster; one in the root or the own workspace may come later."""
    if not path:
        return cluster
    if path == ROOT and info.storage_key == APIBINDINGS_KEY:
        return ROOT
    found = registry.exports.resolve(path)
    if found is None or registry.exports.export(found, export) is None:
        return None
    return found
