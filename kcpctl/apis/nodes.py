"""What the Nodes of a cluster come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

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
        """Add the Nodes up."""
        nodes = list(nodes)
        return cls(
            len(nodes),
            _sum((node.get("status") or {}).get("capacity") or {} for node in nodes),
            _sum(
                (node.get("status") or {}).get("allocatable") or {}
                for node in nodes
                if _takes_pods(node)
            ),
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
    for name, text in before.items():
        old, new = parse(text), parse(after[name])
        if abs(new - old) > abs(old) * _NEWS:
            return False
    return True


def _takes_pods(node: Unstructured) -> bool:
    conditions: Iterable[Mapping[str, Any]] = (node.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")


def _sum(lists: Iterable[Mapping[str, str]]) -> dict[str, str]:
    by_name: dict[str, list[str]] = {}
    for quantities in lists:
        for name, quantity in quantities.items():
            by_name.setdefault(name, []).append(quantity)
    return {name: total(texts) for name, texts in sorted(by_name.items())}
