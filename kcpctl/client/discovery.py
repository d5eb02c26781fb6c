"""What a server serves, as far as the client itself needs to know."""

from __future__ import annotations

from typing import Final

import msgspec

from kcpctl.client.objects import UNREADABLE, excerpt
from kcpctl.errors import TransportError

__all__ = ["parse_version", "serves"]


class _Version(msgspec.Struct, rename="camel"):
    git_version: str


class _ServedResource(msgspec.Struct):
    name: str


class _ResourceList(msgspec.Struct):
    resources: list[_ServedResource] | None = None


# Made before there are threads: msgspec cannot prepare a type in two of them at once.
_versions: Final = msgspec.json.Decoder(_Version)
_lists: Final = msgspec.json.Decoder(_ResourceList)


def parse_version(body: bytes) -> str:
    """Return the gitVersion of an answer to ``/version``, as far as it is presentable."""
    try:
        return excerpt(_versions.decode(body).git_version.encode())
    except UNREADABLE as error:
        raise TransportError(f"the answer is not a version: {excerpt(body)}") from error


def serves(body: bytes, plural: str) -> bool:
    """Whether an APIResourceList names ``plural``."""
    try:
        listed = _lists.decode(body)
    except UNREADABLE as error:
        raise TransportError(f"the answer is not a resource list: {excerpt(body)}") from error
    return any(resource.name == plural for resource in listed.resources or ())
