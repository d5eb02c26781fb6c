"""Quantities as the real server prints them: ``1000m`` is ``1``, ``0.5`` is ``500m``."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from typing import Final

from kcpctl.apis.quantity import parse

__all__ = ["amount", "canonical"]

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = {
    -9: "n",
    -6: "u",
    -3: "m",
    0: "",
    3: "k",
    6: "M",
    9: "G",
    12: "T",
    15: "P",
    18: "E",
}
_EXPONENT: Final = re.compile(r"[eE][+-]?[0-9]+$")
_LARGEST: Final = Decimal(2**63 - 1)
_NANO: Final = Decimal("1e-9")


def amount(text: str | int) -> Decimal:
    """Return the value; like the real server's, one beyond all range is the largest there is."""
    try:
        return parse(text)
    except ValueError:
        return -_LARGEST if str(text).startswith("-") else _LARGEST


def canonical(text: str) -> str | None:
    """Return the quantity in its shortest form of the same kind, None when it is not one."""
    try:
        value = parse(text)
    except ValueError:
        return None
    if text.endswith("i") and abs(value) >= 1024:
        return _binary(value)
    return _decimal(value, exponential=bool(_EXPONENT.search(text)))


def _binary(value: Decimal) -> str:
    whole = int(value.to_integral_value(ROUND_UP))
    power = 0
    while power < len(_BINARY) - 1 and whole % 1024 == 0:
        whole //= 1024
        power += 1
    return f"{whole}{_BINARY[power]}"


def _decimal(value: Decimal, *, exponential: bool) -> str:
    if value == 0:
        return "0"
    value = value.quantize(_NANO, ROUND_UP) if value % _NANO else value
    exponent = 18
    while exponent > -9 and value % Decimal(10) ** exponent:
        exponent -= 3
    mantissa = int(value / Decimal(10) ** exponent)
    if exponential:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL[exponent]}"
