"""What goes over the wire: pages of lists, watch events, patch types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

import msgspec

from kcpctl.errors import TransportError

__all__ = [
    "UNREADABLE",
    "ItemList",
    "PatchType",
    "RawEvent",
    "RawPage",
    "WatchEvent",
    "cut_event",
    "decode_event",
    "decode_page",
    "excerpt",
]

T = TypeVar("T")

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError)
"""What decoding an answer raises that is not as it should be, or nested without end."""


class PatchType(Enum):
    """The four ways to patch; the value is the content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class ItemList(Generic[T]):
    """All items of a list, whatever the number of pages, and the version they are of."""

    items: list[T]
    resource_version: str

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class RawPage:
    """One page of a list with its items left as bytes.

    ``items`` are views of the response: ``bytes(item)`` or ``item.copy()`` frees the rest of it.
    ``continue_`` is the token of the next page, "" on the last one. Items of built-in kinds come
    without apiVersion and kind; ``item_api_version`` and ``item_kind`` are what they would be.
    """

    items: list[msgspec.Raw]
    resource_version: str
    continue_: str = ""
    item_api_version: str = ""
    item_kind: str = ""


class RawEvent(msgspec.Struct, frozen=True, gc=False):
    """One watch event with its object left as bytes, which need not be valid JSON.

    ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; ERROR events are raised instead.
    """

    type: str
    object: msgspec.Raw | bytes


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One watch event with its object decoded; ``type`` as in :class:`RawEvent`."""

    type: str
    object: T


class _Envelope(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _ListEnvelope(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


_list_decoder = msgspec.json.Decoder(_ListEnvelope)
_event_decoder = msgspec.json.Decoder(_Envelope)
# What API servers write before and after the object of an event: no spaces, two fields, in order.
_OPENINGS: Final = tuple(
    (f'{{"type":"{type_}","object":{{'.encode(), type_)
    for type_ in ("MODIFIED", "ADDED", "DELETED", "BOOKMARK")
)
_CLOSING: Final = b"}}"


def excerpt(body: bytes) -> str:
    """Return the first 200 characters of a body as one line, for a message."""
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    # What anybody answers goes to terminals and logs.
    text = "".join(one if one.isprintable() else "\ufffd" for one in text)
    return text if len(text) <= 200 else text[:200] + "..."


def decode_page(body: bytes) -> RawPage:
    """Split the JSON of a list into items; raises TransportError for anything else."""
    try:
        envelope = _list_decoder.decode(body)
    except UNREADABLE as error:
        raise TransportError(f"the answer is not a list ({error}): {excerpt(body)}") from error
    if not envelope.kind.endswith("List"):
        raise TransportError(f"the answer is not a list: {excerpt(body)}")
    return RawPage(
        items=envelope.items or [],
        resource_version=envelope.metadata.resource_version,
        continue_=envelope.metadata.continue_,
        item_api_version=envelope.api_version,
        item_kind=envelope.kind.removesuffix("List"),
    )


def decode_event(line: bytes) -> RawEvent:
    """Decode one line of a watch; raises ``msgspec.MsgspecError`` for anything else."""
    envelope = _event_decoder.decode(line)
    return RawEvent(envelope.type, envelope.object)


def cut_event(chunk: bytes, start: int, end: int) -> RawEvent | None:
    """Cut the event out of a line of ``chunk`` without looking at the object.

    So its bytes are copied and parsed once, by the reader. What is cut out is the whole object or
    no JSON value at all: a third field, or half an object, would be part of it. None for a line
    that must be decoded: another form, or an ERROR.
    """
    if chunk.startswith(_CLOSING, end - len(_CLOSING)):
        for opening, type_ in _OPENINGS:
            if chunk.startswith(opening, start):
                return RawEvent(type_, chunk[start + len(opening) - 1 : end - 1])
    return None
