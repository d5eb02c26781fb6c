"""Label selectors as JSON data: whether they choose labels, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kcpctl.apis.common import LABEL_KEY, LABEL_VALUE

__all__ = ["problem", "selects"]

_KEY: Final = re.compile(LABEL_KEY)
_VALUE: Final = re.compile(LABEL_VALUE)
_VALUE_LENGTH: Final = 63
_WITH_VALUES: Final = ("In", "NotIn")
_WITHOUT_VALUES: Final = ("Exists", "DoesNotExist")


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether all rules of a selector (matchLabels, matchExpressions) hold; none is everything."""
    if not selector:
        return True
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions") or ())


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, operator = labels.get(rule.get("key", "")), rule.get("operator")
    if operator in _WITHOUT_VALUES:
        return (value is not None) is (operator == "Exists")
    return (value in (rule.get("values") or ())) is (operator == "In")


def problem(selector: object, path: str) -> str:
    """Return the first thing that keeps a selector from having a meaning, or "".

    ``selector`` may be anything that JSON can say, ``path`` is the field that holds it.
    """
    return next(_problems(selector, path), "")


def _problems(selector: object, path: str) -> Iterator[str]:
    if selector is None:
        return
    if not isinstance(selector, Mapping):
        yield f"{path} is no label selector"
        return
    labels = selector.get("matchLabels") or {}
    if not isinstance(labels, Mapping):
        yield f"{path}.matchLabels maps no labels to values"
    else:
        for key, value in labels.items():
            where = f"{path}.matchLabels[{key}]"
            yield from _key_problems(key, where)
            yield from _value_problems(value, where)
    rules = selector.get("matchExpressions") or ()
    if not isinstance(rules, list | tuple):
        yield f"{path}.matchExpressions is no list"
        return
    for at, rule in enumerate(rules):
        yield from _rule_problems(rule, f"{path}.matchExpressions[{at}]")


def _rule_problems(rule: object, where: str) -> Iterator[str]:
    if not isinstance(rule, Mapping):
        yield f"{where} is no rule with key, operator and values"
        return
    operator, values = rule.get("operator"), rule.get("values") or ()
    yield from _key_problems(rule.get("key"), f"{where}.key")
    if operator not in (*_WITH_VALUES, *_WITHOUT_VALUES):
        names = ", ".join((*_WITH_VALUES, *_WITHOUT_VALUES))
        yield f"{where}.operator {operator!r} is none of {names}"
    elif not isinstance(values, list | tuple):
        yield f"{where}.values is no list"
    elif operator in _WITH_VALUES and not values:
        yield f"{where}.values must not be empty with the operator {operator}"
    elif operator in _WITHOUT_VALUES and values:
        yield f"{where}.values must be empty with the operator {operator}"
    else:
        for value in values:
            yield from _value_problems(value, f"{where}.values")


def _key_problems(key: object, where: str) -> Iterator[str]:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        yield f"{where}: {key!r} cannot be the key of a label"


def _value_problems(value: object, where: str) -> Iterator[str]:
    fits = isinstance(value, str) and len(value) <= _VALUE_LENGTH and _VALUE.fullmatch(value)
    if not fits:
        yield f"{where}: {value!r} cannot be the value of a label"
