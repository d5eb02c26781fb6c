"""Request bodies: reading, decoding, and what is wrong with them in the real server's words."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from kcpctl.embedded.http.negotiation import PROTOBUF, body_is_yaml, parse_media_type
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.protobuf import decode_protobuf
from kcpctl.embedded.schema import Decoded, decode
from kcpctl.embedded.status import bad_request, request_too_large

__all__ = ["MAX_BODY_BYTES", "decode_object", "decode_options", "decode_patch", "read_body"]

Json = dict[str, Any]
MAX_BODY_BYTES: Final = 3 * 1024 * 1024
_SHOWN_BYTES: Final = 30
_TYPE_META: Final = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the whole body; raises 413."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise request_too_large(f"Request entity too large: limit is {MAX_BODY_BYTES}")
        chunks.append(chunk)
    return b"".join(chunks)


def _summary(body: bytes) -> str:
    """Return the beginning of a body as error messages show it."""
    if not body:
        return "<empty>"
    head = body[:_SHOWN_BYTES]
    text = head.decode("utf-8", "replace") if body.startswith(b"{") else head.hex()
    return text + (" ..." if len(body) > _SHOWN_BYTES else "")


_GO_TYPES: Final = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def _is_protobuf(content_type: str) -> bool:
    return parse_media_type(content_type)[0] == PROTOBUF


def decode_object(info: ResourceInfo, body: bytes, content_type: str) -> Decoded:
    """Decode a body that has to be an object of a kind; raises 400 and 415."""
    unrecognized = f"the object provided is unrecognized (must be of type {info.kind}): "
    if info.crd is None and _is_protobuf(content_type):
        try:
            obj = decode_protobuf(body)
        except ValueError as error:
            raise bad_request(f"{unrecognized}{error} ({_summary(body)})") from None
        _check_kind(info, obj)
        return Decoded(obj)
    is_yaml = body_is_yaml(content_type)
    try:
        decoded = decode(body, yaml=is_yaml)
    except ValueError as error:
        prefix = "" if is_yaml else "couldn't get version/kind; json parse error: "
        raise bad_request(f"{unrecognized}{prefix}{error} ({_summary(body)})") from None
    value = decoded.value
    if value is None:
        return Decoded({}, decoded.duplicates)
    if not isinstance(value, dict):
        go_type = _GO_TYPES.get(type(value), "value")
        raise bad_request(
            f"{unrecognized}couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{go_type} into Go value of type {_TYPE_META} ({_summary(body)})"
        )
    _check_kind(info, value)
    return decoded


def _check_kind(info: ResourceInfo, obj: Json) -> None:
    api_version, kind = obj.get("apiVersion") or info.api_version, obj.get("kind") or info.kind
    if (api_version, kind) == (info.api_version, info.kind):
        return
    group, _, version = str(api_version).rpartition("/")
    prefix = f'{kind} in version "{version}" cannot be handled as a {info.kind}: '
    if info.crd is not None:
        if api_version != info.api_version:
            raise bad_request(
                f"the API version in the data ({api_version}) does not match the expected API "
                f"version ({info.api_version})"
            )
        raise bad_request(
            f"{prefix}converting (v1.{kind}) to (core.{info.kind}): unknown conversion"
        )
    if api_version == info.api_version:
        package = group.split(".")[0] or "core"
        raise bad_request(
            f"{prefix}converting ({version}.{kind}) to ({package}.{info.kind}): unknown conversion"
        )
    if group == info.group:
        raise bad_request(
            f'{prefix}no kind "{kind}" is registered for version "{api_version}" in scheme '
            '"pkg/runtime/scheme.go:111"'
        )
    raise bad_request(
        f"the API version in the data ({api_version}) does not match the expected API version "
        f"({info.api_version})"
    )


def decode_patch(body: bytes, *, is_apply: bool, is_strategic: bool) -> Decoded:
    """Decode the body of a patch; raises 400."""
    try:
        return decode(body, yaml=is_apply)
    except ValueError as error:
        if is_apply:
            raise bad_request(f"error decoding YAML: {error}") from None
        prefix = "" if is_strategic else "error decoding patch: "
        raise bad_request(f"{prefix}{error}") from None


def decode_options(body: bytes, content_type: str) -> Json:
    """Decode the DeleteOptions of a request; {} without a body. Raises 400 and 415."""
    if not body:
        return {}
    if _is_protobuf(content_type):
        try:
            return decode_protobuf(body)
        except ValueError as error:
            raise bad_request(f"couldn't get version/kind; {error}") from None
    try:
        decoded = decode(body, yaml=body_is_yaml(content_type))
    except ValueError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    value = decoded.value
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request("couldn't get version/kind; json parse error: not an object")
    kind = value.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        raise bad_request(
            f'no kind "{kind}" is registered for version "{value.get("apiVersion", "v1")}" in '
            'scheme "pkg/runtime/scheme.go:111"'
        )
    return value
