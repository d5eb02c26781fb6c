"""What a server serves, as far as the client itself needs to know."""

from __future__ import annotations

from typing import Final

import msgspec

from kcpctl.client.objects import UNREADABLE, excerpt
from kcpctl.errors import TransportError

__all__ = ["parse_group_versions", "parse_plurals", "parse_version", "serves"]


class _Version(msgspec.Struct, rename="camel"):
    git_version: str


class _ServedResource(msgspec.Struct):
    name: str


class _ResourceList(msgspec.Struct):
    resources: list[_ServedResource] | None = None


class _GroupVersion(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    """An APIGroup, or the APIVersions of the core group, which are names alone."""

    versions: list[str | _GroupVersion]


# Made before there are threads: msgspec cannot prepare a type in two of them at once.
_versions: Final = msgspec.json.Decoder(_Version)
_lists: Final = msgspec.json.Decoder(_ResourceList)
_groups: Final = msgspec.json.Decoder(_Group)


def parse_version(body: bytes) -> str:
    """Return the gitVersion of an answer to ``/version``, as far as it is presentable."""
    try:
        return excerpt(_versions.decode(body).git_version.encode())
    except UNREADABLE as error:
        raise TransportError(f"the answer is not a version: {excerpt(body)}") from error


def parse_group_versions(body: bytes) -> list[str]:
    """Return the versions of an APIGroup or of APIVersions, in the server's order."""
    try:
        found = _groups.decode(body).versions
    except UNREADABLE as error:
        raise TransportError(f"the answer is not an API group: {excerpt(body)}") from error
    return [one if isinstance(one, str) else one.version for one in found]


def parse_plurals(body: bytes) -> set[str]:
    """Return what an APIResourceList names, subresources too."""
    try:
        listed = _lists.decode(body)
    except UNREADABLE as error:
        raise TransportError(f"the answer is not a resource list: {excerpt(body)}") from error
    return {resource.name for resource in listed.resources or ()}


def serves(body: bytes, plural: str) -> bool:
    """Whether an APIResourceList names ``plural``."""
    return plural in parse_plurals(body)
