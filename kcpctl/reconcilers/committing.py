"""Writing what a pass changed of the object that it is about."""

from __future__ import annotations

from kcpctl.apis.meta import ApiObject
from kcpctl.apis.resource import Resource
from kcpctl.client import Client
from kcpctl.controller import Request, commit
from kcpctl.errors import NotFound

__all__ = ["commit_unless_gone"]


def commit_unless_gone(
    client: Client, resource: Resource, request: Request, old: ApiObject, new: ApiObject
) -> bool:
    """Write what differs to the request's own logical cluster; False if nothing does.

    An object that is gone meanwhile counts as that: its event is on the way. Raises as
    :func:`kcpctl.controller.commit`.
    """
    try:
        return commit(client.cluster(request.cluster).resource(resource), old, new) is not None
    except NotFound:
        return False
