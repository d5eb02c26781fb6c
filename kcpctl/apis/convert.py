"""Between structs, dicts, bytes and the objects of the official client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from kcpctl.apis.meta import ApiObject, Unstructured
from kcpctl.apis.resource import Resource

__all__ = ["ToDict", "decode", "encode", "to_unstructured"]

T = TypeVar("T")

_preparing: Final = threading.Lock()
_decoders: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {}


class ToDict(Protocol):
    """What the models and dynamic objects of the official ``kubernetes`` client have in common."""

    def to_dict(self) -> dict[str, Any]:
        """Return the object as a dict."""


ObjectLike = ApiObject | Mapping[str, Any] | ToDict


def to_unstructured(obj: ObjectLike, resource: Resource | None = None) -> Unstructured:
    """Return ``obj`` as JSON data with the names of the wire.

    Accepts our structs, mappings, models of the official client (whose attributes are renamed)
    and its dynamic objects. Structs always carry apiVersion and kind; what lacks them gets those
    of ``resource``, if one is given. The outermost dict is new, nested ones may be shared.
    """
    result = _fields(obj)
    if isinstance(obj, ApiObject):
        # omit_defaults leaves out the two that every struct has as defaults.
        result = {"apiVersion": obj.api_version, "kind": obj.kind, **result}
        if not result.get("status", True):
            del result["status"]  # a nested struct is written even when nothing in it is set
    if resource is not None:
        result["apiVersion"] = result.get("apiVersion") or resource.api_version
        result["kind"] = result.get("kind") or resource.kind
    return result


def _fields(obj: ObjectLike) -> Unstructured:
    if isinstance(obj, msgspec.Struct):
        built: Unstructured = msgspec.to_builtins(obj)
        return built
    if isinstance(obj, Mapping):
        return dict(obj)
    if hasattr(obj, "attribute_map"):
        model: Unstructured = _from_model(obj)
        return model
    if hasattr(obj, "to_dict"):
        return dict(obj.to_dict())
    raise TypeError(f"a {type(obj).__name__} is not an API object")


def _from_model(value: Any) -> Any:
    """Rename a generated model's attributes; what is None was not set and is left out."""
    names: dict[str, str] | None = getattr(value, "attribute_map", None)
    if names is not None:
        pairs = ((wire, getattr(value, name)) for name, wire in names.items())
        return {wire: _from_model(item) for wire, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: _from_model(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_from_model(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


def encode(obj: ObjectLike) -> bytes:
    """Return ``obj`` as JSON."""
    return msgspec.json.encode(to_unstructured(obj))


def decode(data: bytes | Mapping[str, Any], type: type[T]) -> T:  # noqa: A002  the spec's word
    """Return ``data`` (JSON or an unstructured object) as a ``type``.

    Unknown fields are ignored and a null counts as absent, as in Go. Raises
    msgspec.ValidationError, which names the field, when a value has the wrong type. Any thread.
    """
    decoder = _decoders.get(type) or _prepare(type)
    try:
        if isinstance(data, Mapping):
            return msgspec.convert(data, type)
        decoded: T = decoder.decode(data)
        return decoded
    except msgspec.ValidationError:
        # Rare enough to cost a second decode: servers write "creationTimestamp": null.
        plain = data if isinstance(data, Mapping) else msgspec.json.decode(data)
        return msgspec.convert(_without_nulls(plain), type)


def _prepare(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a type that is met for the first time.

    msgspec shows what it knows of a struct to all threads before the fields are filled in (0.22):
    two threads that meet a struct at once end the process. A type that has a decoder is complete.
    """
    with _preparing:
        return _decoders.setdefault(type_, msgspec.json.Decoder(type_))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
