"""What a request is about, in the words of RBAC."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote

from kcpctl.client.transport import Call

__all__ = ["Access", "access_of"]

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Access(NamedTuple):
    """One right that a request needs; ``resource`` has the subresource behind a slash.

    ``name`` is that of the URL, or what a list or watch is narrowed to by ``metadata.name``.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def access_of(call: Call) -> Access | None:
    """Return what a request needs, None if it is about no resource (discovery, version)."""
    parts = unquote(call.path).strip("/").split("/")
    if parts[0] == "clusters":
        parts = parts[2:]
    if parts[0] not in ("api", "apis"):
        return None
    group = "" if parts[0] == "api" else parts[1] if len(parts) > 1 else ""
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if not rest:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else _selected(call)
    resource = "/".join([rest[0], *rest[2:]])
    return Access(_verb(call, named=len(rest) > 1), group, resource, namespace, name)


def _verb(call: Call, *, named: bool) -> str:
    if call.method in ("GET", "HEAD"):
        if named:
            return "get"
        return "watch" if call.query.get("watch") in ("true", "1") else "list"
    if call.method == "DELETE" and not named:
        return "deletecollection"
    return _VERBS[call.method]


def _selected(call: Call) -> str:
    for term in call.query.get("fieldSelector", "").split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name":
            return value.removeprefix("=")
    return ""
