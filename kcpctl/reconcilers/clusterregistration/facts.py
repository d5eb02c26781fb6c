"""What is found on a cluster: its version, its APIs, its Nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kcpctl.apis.meta import Unstructured
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
            body: Unstructured = msgspec.json.decode(answer.body)
        except msgspec.DecodeError as error:
            raise TransportError(f"the answer to {path} is not JSON") from error
        for group, version, names in _versions(body):
            versions.append(f"{group}/{version}" if group else version)
            resources += [f"{name}.{group}" if group else name for name in names]
    return tuple(sorted(versions)), tuple(sorted(set(resources)))


def _versions(body: Unstructured) -> Iterator[tuple[str, str, list[str]]]:
    """Yield group, version and plurals; an old server tells only the first two."""
    if body.get("kind") == "APIVersions":
        for version in body.get("versions") or ():
            yield "", version, []
    elif body.get("kind") == "APIGroupList":
        for group in body.get("groups") or ():
            for version in group.get("versions") or ():
                yield group["name"], version["version"], []
    else:
        for item in body.get("items") or ():
            for version in item.get("versions") or ():
                found = [one["resource"] for one in version.get("resources") or ()]
                yield item["metadata"].get("name", ""), version["version"], found
