"""The protobuf wire format: a message as its raw fields."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["double", "fields", "signed", "varints"]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends; raises ValueError."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the message is cut off or not protobuf")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and raw value of each field: an int for varints, else the bytes.

    Raises ValueError for what is not protobuf.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(data, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if at + size > len(data):
            raise ValueError("the message is cut off or not protobuf")
        yield number, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """Return a varint as the int64 that it is (negative numbers have all upper bits set)."""
    return value - (1 << 64) if value >= 1 << 63 else value


def varints(value: int | bytes) -> list[int]:
    """Return the numbers of a repeated field: one, or a packed list."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(signed(number))
    return found


def double(value: bytes) -> float:
    """Return a fixed64 as a float; raises ValueError."""
    if len(value) != 8:
        raise ValueError("a double has 8 bytes")
    return float(struct.unpack("<d", value)[0])
