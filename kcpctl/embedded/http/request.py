"""A request as the API sees it: which cluster, resource, object and verb a URL means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kcpctl.embedded.status import StatusError, bad_request, forbidden
from kcpctl.embedded.user import Attributes, UserInfo

__all__ = ["ApiRequest", "denied", "parse_path", "split_cluster"]

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_CLUSTER_PREFIX: Final = "/clusters/"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What a URL and method ask for.

    ``verb`` is the authorizer's word (list, watch, deletecollection, ...; for paths that are no
    resource the lower-case method). ``is_resource`` says whether group to name mean something.
    ``malformed`` paths below a group (empty or too many segments) are never served.
    """

    method: str
    path: str
    verb: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    malformed: bool = False

    def value(self, key: str) -> str:
        """Return the first value of a query parameter, "" without one."""
        values = self.query.get(key)
        return values[0] if values else ""

    def flag(self, key: str) -> bool:
        """Return a boolean parameter: everything but "0" and "false" is true, also ""."""
        values = self.query.get(key)
        return values is not None and values[0].lower() not in ("0", "false")

    def integer(self, key: str) -> int | None:
        """Return a number, None without one; raises 400."""
        text = self.value(key)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

    def attributes(self, cluster: str) -> Attributes:
        """Return what the authorizer is to decide about."""
        if not self.is_resource:
            return Attributes(self.verb, path=self.path, cluster=cluster)
        name = self.name
        if not name and self.verb in ("list", "watch", "deletecollection"):
            # A collection that can only be one object is judged as that object.
            name = _named_by_selector(self.value("fieldSelector"))
        return Attributes(
            self.verb,
            group=self.group,
            version=self.version,
            resource=self.plural,
            subresource=self.subresource,
            namespace=self.namespace,
            name=name,
            cluster=cluster,
        )


def _named_by_selector(selector: str) -> str:
    for part in selector.split(","):
        for prefix in ("metadata.name==", "metadata.name="):
            if part.startswith(prefix):
                return part[len(prefix) :]
    return ""


def split_cluster(path: str) -> tuple[str | None, str]:
    """Return the cluster of a ``/clusters/<x>/...`` path (None without) and the rest."""
    if not path.startswith(_CLUSTER_PREFIX):
        return None, path
    cluster, _, rest = path[len(_CLUSTER_PREFIX) :].partition("/")
    return cluster, f"/{rest}"


def parse_path(method: str, path: str, query: Mapping[str, Sequence[str]]) -> ApiRequest:
    """Parse a path below the server or the logical cluster, percent-decoded."""
    other = ApiRequest(method, path, method.lower(), query)
    segments = path[1:].removesuffix("/").split("/")
    if segments[0] == "api" and len(segments) >= 3:
        group, version, rest = "", segments[1], segments[2:]
    elif segments[0] == "apis" and len(segments) >= 4:
        group, version, rest = segments[1], segments[2], segments[3:]
    else:
        return other
    verb = _VERBS.get(method, "")
    if rest[0] == "watch" and len(rest) > 1:
        verb, rest = "watch", rest[1:]
    request = replace(
        other,
        verb=verb,
        is_resource=True,
        group=group,
        version=version,
        malformed=any(not segment for segment in rest),
    )
    return _with_verb(_with_object(request, rest))


def _with_object(request: ApiRequest, rest: list[str]) -> ApiRequest:
    """Return the request with namespace, resource, name and subresource."""
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    plural, name, subresource, *more = [*rest, "", ""]
    return replace(
        request,
        namespace=namespace,
        plural=plural,
        name=name,
        subresource=subresource,
        malformed=request.malformed or any(more),
    )


def _with_verb(request: ApiRequest) -> ApiRequest:
    """Return the request with the verb of a collection, where it is one."""
    if request.verb == "watch" or request.name:
        return request
    if request.verb == "get":
        return replace(request, verb="watch" if request.flag("watch") else "list")
    if request.verb == "delete":
        return replace(request, verb="deletecollection")
    return request


@dataclass(frozen=True, slots=True)
class _Target:
    group: str
    plural: str


def denied(user: UserInfo, attributes: Attributes, reason: str = "") -> StatusError:
    """Return the 403 for a request that the authorizer did not allow."""
    if not attributes.is_resource:
        message = (
            f'forbidden: User "{user.username}" cannot {attributes.verb} path "{attributes.path}"'
        )
        return StatusError(403, "Forbidden", f"{message}: {reason}" if reason else message, {})
    resource = attributes.resource
    if attributes.subresource:
        resource += f"/{attributes.subresource}"
    where = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    message = (
        f'User "{user.username}" cannot {attributes.verb} resource "{resource}" in API group '
        f'"{attributes.group}" {where}'
    )
    if reason:
        message += f": {reason}"
    return forbidden(_Target(attributes.group, attributes.resource), attributes.name, message)
