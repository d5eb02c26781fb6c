"""Objects and lists as bytes: plain, as Tables, or metadata only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kcpctl.embedded.conversion import from_storage
from kcpctl.embedded.http.negotiation import Representation
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import bad_request
from kcpctl.embedded.store import Stored
from kcpctl.embedded.tables import cells, columns

__all__ = ["encode", "include_object_of", "list_bytes", "partial_metadata", "table", "to_yaml"]

Json = dict[str, Any]
_encoder = msgspec.json.Encoder()
_META_GROUP = "meta.k8s.io"


def to_yaml(obj: Any) -> bytes:
    """Return an object as YAML, keys sorted."""
    import yaml

    text: str = yaml.safe_dump(obj, default_flow_style=False, sort_keys=True)
    return text.encode()


def encode(obj: Any, representation: Representation) -> bytes:
    """Return decoded JSON as the client wants it."""
    if representation.yaml:
        return to_yaml(obj)
    return _encoder.encode(obj) + b"\n"


def partial_metadata(obj: Json, version: str = "v1") -> Json:
    """Return the PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{_META_GROUP}/{version}",
        "metadata": obj.get("metadata") or {},
    }


def include_object_of(value: str) -> str:
    """Check the includeObject parameter; raises 400."""
    if value not in ("", "None", "Metadata", "Object"):
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{value}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return value or "Metadata"


def table(
    info: ResourceInfo,
    objects: Iterable[Json],
    metadata: Json,
    *,
    version: str,
    include_object: str,
    now: float,
    with_columns: bool = True,
) -> Json:
    """Return a Table of objects (in ``info``'s version)."""
    rows = []
    for obj in objects:
        shown: Json | None = None
        if include_object == "Metadata":
            shown = partial_metadata(obj, version)
        elif include_object == "Object":
            shown = obj
        rows.append({"cells": cells(info, obj, now), "object": shown})
    return {
        "kind": "Table",
        "apiVersion": f"{_META_GROUP}/{version}",
        "metadata": metadata,
        "columnDefinitions": columns(info) if with_columns else None,
        "rows": rows,
    }


def list_bytes(info: ResourceInfo, items: Sequence[Stored], metadata: Json) -> bytes:
    """Return a plain list, built from the bytes of its items."""
    convert = from_storage(info)
    joined = b",".join(stored.item(info.api_version, convert) for stored in items)
    if info.crd is not None:
        head = f'{{"apiVersion":"{info.api_version}","items":['.encode()
        metadata = {"continue": "", **metadata}
        tail = f'],"kind":"{info.list_kind}","metadata":'.encode()
        return b"".join((head, joined, tail, _encoder.encode(metadata), b"}\n"))
    head = f'{{"kind":"{info.list_kind}","apiVersion":"{info.api_version}","metadata":'.encode()
    return b"".join((head, _encoder.encode(metadata), b',"items":[', joined, b"]}\n"))
