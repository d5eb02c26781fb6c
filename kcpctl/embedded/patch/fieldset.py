"""Sets of field paths, as managedFields stores them (fieldsV1).

A path is made of elements: ``f:name`` a field, ``k:{"name":"x"}`` the list element with that key,
``v:"x"`` an element of a set, ``i:0`` an element by position.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["FieldSet", "Path", "field", "key_element", "path_text", "value_element"]

Path = tuple[str, ...]


def field(name: str) -> str:
    """Return the path element of a field."""
    return f"f:{name}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def key_element(keys: Mapping[str, Any]) -> str:
    """Return the path element of the list element with these key fields."""
    return f"k:{_json(keys)}"


def value_element(value: Any) -> str:
    """Return the path element of a set's element."""
    return f"v:{_json(value)}"


def element_text(element: str) -> str:
    """Return an element as messages write it: ``.name``, ``[name="x"]``, ``[="x"]``."""
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        pairs = sorted(json.loads(rest).items())
        return f"[{','.join(f'{key}={_json(value)}' for key, value in pairs)}]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"


def path_text(path: Sequence[str]) -> str:
    """Return a path as messages write it: ``.spec.ports[name="x"].port``."""
    return "".join(element_text(element) for element in path)


class FieldSet:
    """A set of paths. Operations return new sets; only :meth:`add` and :meth:`child` change one.

    ``members`` are the elements that are paths of the set themselves, ``children`` the sets below
    an element; an element can be in both. Empty children never stay.
    """

    __slots__ = ("children", "members")

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.children: dict[str, FieldSet] = {}

    @classmethod
    def decode(cls, fields: Mapping[str, Any]) -> FieldSet:
        """Return the set of a fieldsV1 object."""
        result = cls()
        for element, below in fields.items():
            if element == ".":
                continue
            if not below or "." in below:
                result.members.add(element)
            child = cls.decode(below)
            if child:
                result.children[element] = child
        return result

    def encode(self) -> dict[str, Any]:
        """Return the fieldsV1 object."""
        result: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys()):
            below = self.children[element].encode() if element in self.children else {}
            own: dict[str, Any] = {".": {}} if element in self.members and below else {}
            result[element] = {**own, **below}
        return result

    def __bool__(self) -> bool:
        return bool(self.members or self.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldSet):
            return NotImplemented
        return self.members == other.members and self.children == other.children

    __hash__ = None  # type: ignore[assignment]  # mutable

    def add(self, path: Path) -> None:
        """Add one path (of at least one element)."""
        node = self
        for element in path[:-1]:
            node = node.child(element)
        node.members.add(path[-1])

    def child(self, element: str) -> FieldSet:
        """Return the set below ``element``, made when there is none: add to it at once."""
        return self.children.setdefault(element, FieldSet())

    def paths(self, prefix: Path = ()) -> Iterator[Path]:
        """Yield all paths, sorted."""
        for element in sorted(self.members | self.children.keys()):
            path = (*prefix, element)
            if element in self.members:
                yield path
            if element in self.children:
                yield from self.children[element].paths(path)

    def union(self, other: FieldSet) -> FieldSet:
        """Return the paths of either."""
        result = FieldSet()
        result.members = self.members | other.members
        result.children = {**self.children, **other.children}
        for element in self.children.keys() & other.children.keys():
            result.children[element] = self.children[element].union(other.children[element])
        return result

    def intersection(self, other: FieldSet) -> FieldSet:
        """Return the paths of both."""
        result = FieldSet()
        result.members = self.members & other.members
        for element in self.children.keys() & other.children.keys():
            both = self.children[element].intersection(other.children[element])
            if both:
                result.children[element] = both
        return result

    def difference(self, other: FieldSet) -> FieldSet:
        """Return the paths of this set that ``other`` lacks."""
        result = FieldSet()
        result.members = self.members - other.members
        for element, child in self.children.items():
            below = other.children.get(element)
            rest = child if below is None else child.difference(below)
            if rest:
                result.children[element] = rest
        return result

    def without(self, path: Path) -> FieldSet:
        """Return the set without one path; what is below it stays."""
        single = FieldSet()
        single.add(path)
        return self.difference(single)
