"""What is found on a cluster: its version, its APIs, its Nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kcpctl.apis.convert import decode
from kcpctl.apis.nodes import NodeTotals
from kcpctl.apis.resource import NODES
from kcpctl.client import Client
from kcpctl.errors import Forbidden, TransportError

__all__ = ["Facts", "discover"]

# One request for all groups, from Kubernetes 1.27 on (1.26 calls it v2beta1).
_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
# What goes into the status; an etcd takes no object above 1.5 MiB.
_MOST_NAMES: Final = 2000
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found.

    ``unknown`` says what could not be looked at, "" for nothing.
    """

    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    nodes: NodeTotals = field(default_factory=NodeTotals)
    unknown: str = ""


def discover(client: Client) -> Facts:
    """Look at a cluster; three requests, and one more for each 500 Nodes after the first.

    Raises the tree of :mod:`kcpctl.errors`, except for the right to list Nodes: without it there
    are no figures, and ``unknown`` says so.
    """
    api_versions, resources = _apis(client)
    try:
        nodes = client.resource(NODES).list().items
    except Forbidden:
        return Facts(
            api_versions=api_versions,
            resources=resources,
            unknown="its Nodes: the credentials may not list nodes",
        )
    return Facts(api_versions=api_versions, resources=resources, nodes=NodeTotals.of(nodes))


def _apis(client: Client) -> tuple[tuple[str, ...], tuple[str, ...]]:
    versions: list[str] = []
    resources: list[str] = []
    for path in ("/api", "/apis"):
        answer = client.request("GET", path, accept=_AGGREGATED)
        try:
            found = list(_versions(answer.body))
        except (msgspec.DecodeError, RecursionError) as error:
            # RecursionError: it is nested deeper than anything an API server writes.
            raise TransportError(f"the answer to {path} is not what APIs are told by") from error
        for group, version, names in found:
            versions.append(f"{group}/{version}" if group else version)
            resources += [f"{name}.{group}" if group else name for name in names]
    return _presentable(versions), _presentable(resources)


def _presentable(names: Iterable[str]) -> tuple[str, ...]:
    found = {name for name in names if 0 < len(name) <= _LONGEST_NAME and name.isprintable()}
    return tuple(sorted(found)[:_MOST_NAMES])


class _Kind(msgspec.Struct):
    kind: str = ""


class _Versions(msgspec.Struct):
    versions: list[str] = []


class _GroupVersion(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    name: str
    versions: list[_GroupVersion] = []


class _Groups(msgspec.Struct):
    groups: list[_Group] = []


class _ServedResource(msgspec.Struct):
    resource: str


class _ServedVersion(msgspec.Struct):
    version: str
    resources: list[_ServedResource] = []


class _Name(msgspec.Struct):
    name: str = ""


class _ServedGroup(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)
    versions: list[_ServedVersion] = []


class _Discovery(msgspec.Struct):
    items: list[_ServedGroup] = []


def _versions(body: bytes) -> Iterator[tuple[str, str, list[str]]]:
    """Yield group, version and plurals; an old server tells only the first two.

    Raises what msgspec raises for anything else.
    """
    kind = decode(body, _Kind).kind
    if kind == "APIVersions":
        for name in decode(body, _Versions).versions:
            yield "", name, []
    elif kind == "APIGroupList":
        for group in decode(body, _Groups).groups:
            for version in group.versions:
                yield group.name, version.version, []
    else:
        for item in decode(body, _Discovery).items:
            for served in item.versions:
                yield item.metadata.name, served.version, [one.resource for one in served.resources]
