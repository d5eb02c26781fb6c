"""The JSONPath that printer columns use: fields, indexes, ``[*]`` and equality filters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

__all__ = ["find"]

_Step = Callable[[Any], Iterable[Any]]
_FIELD: Final = re.compile(r"\.((?:[^.\[\\]|\\.)+)")
_QUOTED: Final = re.compile(r"""\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]""")
_INDEX: Final = re.compile(r"\[(-?\d+)\]")
_FILTER: Final = re.compile(
    r"""\[\?\(\s*@((?:\.(?:[^.\[\\=!<>\s]|\\.)+)+)\s*(==|!=)\s*("[^"]*"|'[^']*'|[^)\s]+)\s*\)\]"""
)


def find(path: str, value: Any) -> list[Any]:
    """Return what ``path`` selects, nothing when it is not understood or a field is missing."""
    steps = _compile(path)
    if steps is None:
        return []
    found = [value]
    for step in steps:
        found = [result for item in found for result in step(item)]
    return found


@lru_cache(maxsize=2048)
def _compile(path: str) -> tuple[_Step, ...] | None:
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[_Step] = []
    at = 0
    while at < len(text):
        parsed = _step(text, at)
        if parsed is None:
            return None
        step, at = parsed
        steps.append(step)
    return tuple(steps)


def _step(text: str, at: int) -> tuple[_Step, int] | None:
    for wildcard in ("[*]", ".*"):
        if text.startswith(wildcard, at):
            return _everything, at + len(wildcard)
    if match := _FIELD.match(text, at):
        return _field(_unescape(match[1])), match.end()
    if match := _QUOTED.match(text, at):
        return _field(_unescape(match[1] if match[1] is not None else match[2])), match.end()
    if match := _INDEX.match(text, at):
        return _index(int(match[1])), match.end()
    if match := _FILTER.match(text, at):
        return _filter(match[1], match[2], match[3]), match.end()
    return None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _everything(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _field(name: str) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return (value[name],) if isinstance(value, dict) and name in value else ()

    return step


def _index(number: int) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        inside = isinstance(value, list) and -len(value) <= number < len(value)
        return (value[number],) if inside else ()

    return step


def _filter(path: str, operator: str, literal: str) -> _Step:
    wanted = _literal(literal)

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = find(path, item)
            if found and (found[0] == wanted) == (operator == "=="):
                yield item

    return step


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
