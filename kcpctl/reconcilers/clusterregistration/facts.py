"""What is found on a cluster: its version, its APIs, its Nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.quantity import parse, total
from kcpctl.apis.resource import NODES
from kcpctl.client import Client
from kcpctl.errors import Forbidden, TransportError

__all__ = ["Facts", "discover", "much_the_same"]

# One request for all groups, from Kubernetes 1.27 on (1.26 calls it v2beta1).
_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
# 2.9: a capacity that moves by less is no news.
_NEWS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found.

    ``capacity`` is of all Nodes, ``allocatable`` of those that are Ready and take Pods.
    ``unknown`` says what could not be looked at, "" for nothing.
    """

    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    nodes: int = 0
    capacity: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, str] = field(default_factory=dict)
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
    return Facts(
        api_versions=api_versions,
        resources=resources,
        nodes=len(nodes),
        capacity=_sum(node.get("status", {}).get("capacity") or {} for node in nodes),
        allocatable=_sum(
            node.get("status", {}).get("allocatable") or {} for node in nodes if _takes_pods(node)
        ),
    )


def much_the_same(before: Mapping[str, str | int], after: Mapping[str, str | int]) -> bool:
    """Whether two lists of quantities differ by less than is worth writing."""
    if before.keys() != after.keys():
        return False
    for name, text in before.items():
        old, new = parse(text), parse(after[name])
        if abs(new - old) > abs(old) * parse(str(_NEWS)):
            return False
    return True


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


def _takes_pods(node: Unstructured) -> bool:
    conditions: Iterable[Mapping[str, Any]] = node.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not node.get("spec", {}).get("unschedulable")


def _sum(lists: Iterable[Mapping[str, str]]) -> dict[str, str]:
    by_name: dict[str, list[str]] = {}
    for quantities in lists:
        for name, quantity in quantities.items():
            by_name.setdefault(name, []).append(quantity)
    return {name: total(texts) for name, texts in sorted(by_name.items())}
