"""Label selectors, matched against cached objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["Matcher", "parse_selector"]

Matcher = Callable[[Mapping[str, str]], bool]
"""Whether the labels match."""

_KEY = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
_VALUE = r"[-A-Za-z0-9_.]*"
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL: Final = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})$")
_EXISTS: Final = re.compile(rf"(!?)\s*({_KEY})$")
# A comma that is not between parentheses.
_BETWEEN: Final = re.compile(r",(?![^()]*\))")


def parse_selector(selector: str) -> Matcher | None:
    """Return the matcher of a selector as kubectl takes it, or None for one that matches all.

    Raises ValueError for anything that is not ``a=b``, ``a!=b``, ``a in (b,c)``, ``a notin (b,c)``,
    ``a`` or ``!a``, joined by commas.
    """
    if not selector.strip():
        return None
    matchers = [_requirement(part.strip()) for part in _BETWEEN.split(selector)]
    return lambda labels: all(matches(labels) for matches in matchers)


def _requirement(text: str) -> Matcher:
    if found := _SET.match(text):
        key, operator, inner = found.groups()
        values = frozenset(value.strip() for value in inner.split(","))
        return _in(key, values) if operator == "in" else _not_in(key, values)
    if found := _EQUAL.match(text):
        key, operator, value = found.groups()
        values = frozenset([value])
        return _not_in(key, values) if operator == "!=" else _in(key, values)
    if found := _EXISTS.match(text):
        negated, key = found.groups()
        return lambda labels: (key in labels) is not bool(negated)
    raise ValueError(f"cannot parse {text!r} of a label selector")


def _in(key: str, values: frozenset[str]) -> Matcher:
    return lambda labels: labels.get(key) in values


def _not_in(key: str, values: frozenset[str]) -> Matcher:
    return lambda labels: labels.get(key) not in values
