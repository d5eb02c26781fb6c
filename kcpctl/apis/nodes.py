"""What the Nodes of a cluster come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Self

import msgspec

from kcpctl.apis.convert import decode
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.quantity import parse, total

__all__ = ["NodeTotals", "much_the_same"]

# 2.9: a capacity that moves by less is no news.
_NEWS: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """``capacity`` is of all Nodes, ``allocatable`` of those that are Ready and take Pods."""

    count: int = 0
    capacity: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Unstructured]) -> Self:
        """Add the Nodes up; one that is not as a Node should be counts with what can be read."""
        found = [_readable(node) for node in nodes]
        return cls(
            len(found),
            _sum(node.status.capacity for node in found),
            _sum(node.status.allocatable for node in found if _takes_pods(node)),
        )

    def is_news_after(self, other: Self) -> bool:
        """Whether the number of Nodes changed, or a figure by a hundredth."""
        return not (
            self.count == other.count
            and much_the_same(other.capacity, self.capacity)
            and much_the_same(other.allocatable, self.allocatable)
        )


def much_the_same(before: Mapping[str, str | int], after: Mapping[str, str | int]) -> bool:
    """Whether two lists of quantities differ by less than is worth writing."""
    if before.keys() != after.keys():
        return False
    try:
        pairs = [(parse(text), parse(after[name])) for name, text in before.items()]
    except ValueError:
        return before == after
    return all(abs(new - old) <= abs(old) * _NEWS for old, new in pairs)


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _Spec(msgspec.Struct):
    unschedulable: bool = False


class _Status(msgspec.Struct):
    capacity: dict[str, str | int] = {}
    allocatable: dict[str, str | int] = {}
    conditions: list[_Condition] = []


class _Node(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def _readable(node: Unstructured) -> _Node:
    """Return what is looked at; the cluster is somebody else's, and so is its answer."""
    try:
        return decode(node, _Node)
    except msgspec.ValidationError:
        return _Node()


def _takes_pods(node: _Node) -> bool:
    ready = any((one.type, one.status) == ("Ready", "True") for one in node.status.conditions)
    return ready and not node.spec.unschedulable


def _sum(lists: Iterable[Mapping[str, str | int]]) -> dict[str, str]:
    by_name: dict[str, list[str | int]] = {}
    for quantities in lists:
        for name, quantity in quantities.items():
            with suppress(ValueError):
                parse(quantity)
                by_name.setdefault(name, []).append(quantity)
    return {name: total(texts) for name, texts in sorted(by_name.items())}
