"""Who may do what in an export's virtual workspace."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.exports.acceptance import GroupResource, allows, is_bound
from kcpctl.embedded.exports.directory import Exports
from kcpctl.embedded.exports.kinds import GROUP
from kcpctl.embedded.http.context import Authorizer
from kcpctl.embedded.http.export_paths import ExportPath
from kcpctl.embedded.http.request import denied
from kcpctl.embedded.kinds import READ_VERBS
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import MASTERS, Attributes, UserInfo
from kcpctl.logicalcluster import WILDCARD

__all__ = ["ExportAccess"]

Json = dict[str, Any]
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"


class ExportAccess:
    """Decides about requests to virtual workspaces.

    In a consumer, its APIBinding has to bring the resource, or accept a claim for the verb;
    APIBindings may always be read. Then the user needs, in the export's workspace, access to it
    and the request's own verb on ``apiexports/content`` of the export. What RBAC in the consumer
    says does not matter. ``system:masters`` are not asked at all. As in kcp, nobody is told why
    not. Event loop's thread only.
    """

    def __init__(self, authorizer: Authorizer, exports: Exports) -> None:
        self._authorizer = authorizer
        self._exports = exports

    def check(self, user: UserInfo, path: ExportPath, attributes: Attributes, uri: str) -> None:
        """Raise 403 unless ``user`` may, 500 (as kcp) without the export; ``uri`` is for that."""
        if MASTERS in user.groups:
            return
        export = self._exports.export(*path.export)
        if attributes.is_resource and path.consumer != WILDCARD:
            if export is None:
                raise _lost(path, uri)
            if not self._invited(export, path, attributes):
                raise denied(user, attributes, "access denied")
        if not self._may_use(user, path, attributes.verb):
            raise denied(user, attributes, "access denied")
        if export is None:
            raise _lost(path, uri)

    def _invited(self, export: Json, path: ExportPath, attributes: Attributes) -> bool:
        """Whether the consumer lets the export do this."""
        bindings = self._exports.bindings_in(path.consumer, *path.export)
        if not bindings:
            return False
        resource = GroupResource(attributes.group, attributes.resource)
        if is_bound(bindings[0], resource):
            return True
        if allows(export, bindings[0], resource, attributes.verb):
            return True
        return resource == (GROUP, "apibindings") and attributes.verb in READ_VERBS

    def _may_use(self, user: UserInfo, path: ExportPath, verb: str) -> bool:
        cluster, name = path.export
        if self._exports.resolve(cluster) != cluster:
            return False
        # Its own ServiceAccounts have access to a workspace, others need the right to it.
        if not user.username.startswith(_ACCOUNT_PREFIX):
            access = Attributes("access", path="/", cluster=cluster)
            if not self._authorizer.authorize(user, access).allowed:
                return False
        content = Attributes(
            verb,
            group=GROUP,
            version="v1alpha1",
            resource="apiexports",
            subresource="content",
            name=name,
            cluster=cluster,
        )
        return self._authorizer.authorize(user, content).allowed


def _lost(path: ExportPath, uri: str) -> StatusError:
    message = (
        f'Internal Server Error: "{uri}": API export not found: apiexport.{GROUP} '
        f'"{path.export.name}" not found\n'
    )
    return StatusError(500, "InternalError", message, plain_text=True)
