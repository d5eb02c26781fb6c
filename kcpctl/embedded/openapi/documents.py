"""The documents as bytes, cached."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.openapi.paths import paths
from kcpctl.embedded.openapi.protobuf import encode_document
from kcpctl.embedded.openapi.schemas import components
from kcpctl.embedded.schema.builtin import package

__all__ = ["v2", "v2_protobuf", "v3_group", "v3_index"]

Json = dict[str, Any]
_INFO: Final = {"title": "Kubernetes", "version": "unversioned"}
# Per group version and set of resources; logical clusters with the same CRDs share documents.
_CACHED_DOCUMENTS: Final = 64


def v2(infos: Sequence[ResourceInfo]) -> bytes:
    """Return the ``/openapi/v2`` document."""
    return _v2(tuple(infos))


def v2_protobuf(infos: Sequence[ResourceInfo]) -> bytes:
    """Return the ``/openapi/v2`` document without paths, in protobuf (what kubectl asks for)."""
    return _v2_protobuf(tuple(infos))


def v3_index(infos: Sequence[ResourceInfo]) -> bytes:
    """Return ``/openapi/v3``: the paths of the documents by group version (cheap)."""
    groups: dict[str, list[ResourceInfo]] = {}
    for info in infos:
        root = f"apis/{info.api_version}" if info.group else f"api/{info.api_version}"
        groups.setdefault(root, []).append(info)
    entries = {
        root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={_fingerprint(tuple(members))}"}
        for root, members in sorted(groups.items())
    }
    return msgspec.json.encode({"paths": entries})


def v3_group(group_version: str, infos: Sequence[ResourceInfo]) -> bytes | None:
    """Return ``/openapi/v3/apis/GROUP/VERSION`` (``v1`` for core), None when not served."""
    chosen = tuple(info for info in infos if info.api_version == group_version)
    return _v3(chosen) if chosen else None


@lru_cache(maxsize=1024)
def _fingerprint(infos: tuple[ResourceInfo, ...]) -> str:
    digest = hashlib.sha512(package().encode())
    for info in infos:
        digest.update(f"{info.api_version}/{info.plural}/{info.kind}".encode())
        if info.crd is not None:
            digest.update(msgspec.json.encode(info.crd.schema))
    return digest.hexdigest()[:64].upper()


@lru_cache(maxsize=_CACHED_DOCUMENTS)
def _v3(infos: tuple[ResourceInfo, ...]) -> bytes:
    document = {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths(infos),
        "components": {"schemas": components(infos)},
    }
    return msgspec.json.encode(document)


@lru_cache(maxsize=4)
def _v2(infos: tuple[ResourceInfo, ...]) -> bytes:
    document = {
        "swagger": "2.0",
        "info": _INFO,
        "paths": {path: _v2_path(item) for path, item in paths(infos).items()},
        "definitions": {name: _v2_schema(node) for name, node in components(infos).items()},
    }
    return msgspec.json.encode(document)


@lru_cache(maxsize=4)
def _v2_protobuf(infos: tuple[ResourceInfo, ...]) -> bytes:
    return encode_document(msgspec.json.decode(_v2(infos)))


def _v2_path(item: Json) -> Json:
    return {method: _v2_operation(operation) for method, operation in item.items()}


def _v2_operation(operation: Json) -> Json:
    result = {key: value for key, value in operation.items() if key != "requestBody"}
    result["parameters"] = [
        {**{k: v for k, v in parameter.items() if k != "schema"}, **parameter["schema"]}
        for parameter in operation["parameters"]
    ]
    if "requestBody" in operation:
        body = {"name": "body", "in": "body", "required": True, "schema": {"type": "object"}}
        result["parameters"].append(body)
    return result


def _v2_schema(node: Any) -> Any:
    """Return a v3 schema in the older form: other references, no oneOf, no nullable."""
    if isinstance(node, list):
        return [_v2_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    result: Json = {}
    for key, value in node.items():
        if key == "properties":
            # Names, not keywords: JSONSchemaProps has fields called $ref and oneOf.
            result[key] = {name: _v2_schema(child) for name, child in value.items()}
        elif key == "$ref":
            result[key] = value.replace("#/components/schemas/", "#/definitions/")
        elif key == "allOf" and len(value) == 1 and "$ref" in value[0]:
            result |= _v2_schema(value[0])
        elif key in {"oneOf", "anyOf"}:
            result.setdefault("type", "string")
        elif key not in {"nullable", "not"}:
            result[key] = _v2_schema(value)
    return result
