"""The string formats that a CRD's schema may ask for and the real server checks."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime
from typing import Final
from urllib.parse import urlsplit

__all__ = ["FORMATS", "is_date_time", "is_duration"]

_DATE_TIME: Final = re.compile(
    r"^\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"
)
_DURATION: Final = re.compile(r"^[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$")
_HOST_LABEL: Final = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")
_EMAIL: Final = re.compile(r"^[^@\s<>]+@[^@\s<>]+$")


def is_date_time(value: str) -> bool:
    """RFC 3339 as Go parses it: any number of fraction digits, a year 0, no leap second."""
    if not _DATE_TIME.match(value):
        return False
    try:
        date.fromisoformat(value[:10].replace("0000-", "2000-", 1))
    except ValueError:
        return False
    return True


def is_duration(value: str) -> bool:
    """A duration as Go writes it: ``1h30m``, ``250ms``."""
    return bool(_DURATION.match(value))


def _date(value: str) -> bool:
    try:
        return datetime.strptime(value, "%Y-%m-%d").date().isoformat() == value  # noqa: DTZ007
    except ValueError:
        return False


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


def _byte(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme or value.startswith("/"))


def _hostname(value: str) -> bool:
    return len(value) <= 255 and all(
        _HOST_LABEL.match(label) for label in value.rstrip(".").split(".")
    )


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "byte": _byte,
    "cidr": _parses(lambda value: ipaddress.ip_network(value, strict=False)),
    "date": _date,
    "date-time": is_date_time,
    "datetime": is_date_time,
    "duration": is_duration,
    "email": lambda value: bool(_EMAIL.match(value)),
    "hostname": _hostname,
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "uri": _uri,
    "uuid": _parses(uuid.UUID),
}
"""Format name -> whether a string has it. Other formats are not checked."""
