"""Kubernetes quantities: ``500m``, ``1.5Gi``, ``12e6``.

Only syntax is judged here; whether a sign makes sense is a question for whoever asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Final

__all__ = ["QUANTITY_PATTERN", "is_valid", "parse", "problem", "total"]

QUANTITY_PATTERN: Final = (
    r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
)
"""The syntax as a schema pattern; :func:`is_valid` is the same rule."""

_SYNTAX = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_MULTIPLIERS: Final[dict[str, Decimal]] = {
    **{letter: Decimal(10) ** (3 * place - 9) for place, letter in enumerate("num")},
    **{letter: Decimal(10) ** (3 * place + 3) for place, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Decimal(1024) ** (place + 1) for place, letter in enumerate("KMGTPE")},
}
# Figures that are within every bound, as nearly all are.
_PLAIN = re.compile(r"[0-9]{1,9}([KMGTPE]i|[numkMGTPE])?")
# Exact for every quantity that somebody writes by hand; more digits are rounded.
_CONTEXT = Context(prec=200)
# Kubernetes ends at 2**63, that is 1e18. A number of a million digits takes minutes to print.
_LARGEST_EXPONENT: Final = 30


def parse(text: str | int) -> Decimal:
    """Return the value of a quantity; raises ValueError that quotes what cannot be parsed."""
    match = _SYNTAX.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{_shown(text)} is not a quantity such as 500m, 2 or 1.5Gi")
    suffix, exponent = match["suffix"], match["exponent"]
    try:
        number = Decimal(match["number"])
        if exponent is not None:
            number = number.scaleb(int(exponent), _CONTEXT)
        elif suffix:
            number = _CONTEXT.multiply(number, _MULTIPLIERS[suffix])
        if number.adjusted() <= _LARGEST_EXPONENT:
            return number
    except (InvalidOperation, ValueError):
        pass  # the exponent itself is out of all range
    raise ValueError(f"{_shown(text)} is out of the range of a quantity")


def problem(text: str | int) -> str:
    """Return what is wrong with a figure that cannot be negative, to follow its name, or ""."""
    if _PLAIN.fullmatch(str(text)):
        return ""
    try:
        return f" must not be negative, but is {text}" if parse(text) < 0 else ""
    except ValueError as error:
        return f": {error}"


def _shown(text: str | int) -> str:
    return repr(str(text)[:100])


def is_valid(text: str | int) -> bool:
    """Whether ``text`` has the syntax of a quantity."""
    return _SYNTAX.fullmatch(str(text)) is not None


def total(quantities: Iterable[str | int]) -> str:
    """Return the sum, in binary units if one of ``quantities`` is; raises as :func:`parse`.

    Never rounded down to a unit: 1536Mi stays that.
    """
    texts = [str(quantity) for quantity in quantities]
    value = sum(map(parse, texts), Decimal(0))
    if value != value.to_integral_value():
        return f"{(value * 1000).to_integral_value(ROUND_CEILING)}m"
    number = int(value)
    if number and any(text.endswith("i") for text in texts):
        for letter in reversed("KMGTPE"):
            whole, rest = divmod(number, int(_MULTIPLIERS[f"{letter}i"]))
            if whole and not rest:
                return f"{whole}{letter}i"
    return str(number)
