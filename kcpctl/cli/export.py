"""The APIExport that tenants bind: applied on request in the provider's workspace."""

from __future__ import annotations

from typing import Final

from kcpctl.apis.export import provider_objects
from kcpctl.apis.kcp import API_EXPORTS, API_RESOURCE_SCHEMAS
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Resource,
)
from kcpctl.client import Client
from kcpctl.errors import ApiError, Conflict, Forbidden, Invalid, KcpctlError

__all__ = ["install_export"]

_FIELD_MANAGER: Final = "kcpctl"
_BY_KIND: Final[dict[str, Resource]] = {
    resource.kind: resource
    for resource in (
        API_RESOURCE_SCHEMAS,
        API_EXPORTS,
        NAMESPACES,
        SERVICE_ACCOUNTS,
        CLUSTER_ROLES,
        CLUSTER_ROLE_BINDINGS,
        ROLES,
        ROLE_BINDINGS,
    )
}


def install_export(client: Client, name: str) -> None:
    """Apply what ``config/kcp`` has, for the export ``name``, in the workspace of ``client``.

    Schemas of earlier versions stay: the export is pointed to the new ones, and kcp moves those
    that bind it. Its endpoint slice is made by kcp. Raises KcpctlError with the object, the
    workspace and the way out.
    """
    _check(client)
    for obj in provider_objects(name):
        try:
            client.resource(_BY_KIND[obj["kind"]]).apply(
                obj, field_manager=_FIELD_MANAGER, force=True
            )
        except (Forbidden, Invalid, Conflict) as error:
            raise _explained(error, obj, client) from error


def _check(client: Client) -> None:
    try:
        is_kcp = client.has_resource(API_EXPORTS)
    except Forbidden as error:
        raise KcpctlError(
            f"{client.url} cannot be entered: {error}; create the workspace, or use an account "
            "that may"
        ) from error
    if not is_kcp:
        raise KcpctlError(
            f"{client.url} is no workspace of a kcp: it does not serve "
            f"{API_EXPORTS.group_resource}; create the workspace, or leave --apiexport out to "
            "install CRDs"
        )


def _explained(error: ApiError, obj: Unstructured, client: Client) -> KcpctlError:
    what = f"{obj['kind']} {obj['metadata']['name']}"
    if isinstance(error, Forbidden):
        way_out = "apply config/kcp with an account that may"
    else:
        way_out = "delete it if it is somebody else's, or use another name for the export"
    return KcpctlError(f"the {what} cannot be applied at {client.url}: {error}; {way_out}")
