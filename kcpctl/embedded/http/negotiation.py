"""Which representation a client wants, and which one it sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from kcpctl.embedded.status import StatusError, not_acceptable, unsupported_media_type

__all__ = ["BODY_TYPES", "Representation", "body_is_yaml", "negotiate", "parse_media_type"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
BODY_TYPES: Final = (JSON, YAML, PROTOBUF)
_STREAM_TYPES: Final = tuple(f"{one};stream=watch" for one in (JSON, PROTOBUF))
_PLAIN_406: Final = f"406: Not Acceptable\nAvailable representations: {JSON}, {YAML}, {PROTOBUF}"
_META_VERSIONS: Final = ("v1", "v1beta1")

Transform = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
_TRANSFORMS: Final[dict[str, Transform]] = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadataList",
}


@dataclass(frozen=True, slots=True)
class Representation:
    """What to answer with: JSON or YAML, as the object itself or transformed."""

    yaml: bool = False
    transform: Transform = ""
    transform_version: str = "v1"

    @property
    def media_type(self) -> str:
        """The Content-Type to send."""
        return YAML if self.yaml else JSON


def parse_media_type(text: str) -> tuple[str, dict[str, str]]:
    """Split ``type/subtype;a=b`` into the lower-case type and its parameters."""
    media_type, *parts = text.split(";")
    parameters = {}
    for part in parts:
        key, _, value = part.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    return media_type.strip().lower(), parameters


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return the clauses of an Accept header, the most wanted first."""
    clauses = [parse_media_type(part) for part in accept.split(",") if part.strip()]

    def quality(clause: tuple[str, dict[str, str]]) -> float:
        try:
            return -float(clause[1].get("q", "1"))
        except ValueError:
            return -1.0

    return sorted(clauses, key=quality)


def _transform(parameters: dict[str, str]) -> tuple[Transform, str] | None:
    """Return the transformation that a clause asks for; None when there is no such one."""
    kind = parameters.get("as", "")
    if not kind:
        return "", "v1"
    known = _TRANSFORMS.get(kind)
    version = parameters.get("v", "")
    if known is None or parameters.get("g") != "meta.k8s.io" or version not in _META_VERSIONS:
        return None
    return known, version


def negotiate(accept: str, *, transforms: frozenset[str] = frozenset()) -> Representation:
    """Return the first representation that the client takes and we have; raises 406.

    ``transforms``: the ``as=`` values that this endpoint can give.
    """
    clauses = _clauses(accept) or [("*/*", {})]
    known_type = False
    for media_type, parameters in clauses:
        if media_type == "*/*":
            return Representation()
        if media_type not in (JSON, YAML):
            known_type = known_type or media_type == PROTOBUF
            continue
        known_type = True
        wanted = _transform(parameters)
        if wanted is None or (wanted[0] and wanted[0] not in transforms):
            continue
        return Representation(media_type == YAML, *wanted)
    if not known_type:
        raise StatusError(406, "NotAcceptable", _PLAIN_406, plain_text=True)
    raise not_acceptable(BODY_TYPES)


def negotiate_stream(accept: str, *, transforms: frozenset[str]) -> Representation:
    """Return the representation of a watch: JSON only; raises 406."""
    try:
        found = negotiate(accept, transforms=transforms)
    except StatusError as error:
        if error.plain_text:
            raise
        raise not_acceptable(_STREAM_TYPES) from None
    if found.yaml:
        raise not_acceptable(_STREAM_TYPES)
    return found


def body_is_yaml(content_type: str) -> bool:
    """Whether a request's body is YAML (else JSON); raises 415."""
    media_type = parse_media_type(content_type)[0]
    if media_type in ("", JSON):
        return False
    if media_type == YAML:
        return True
    raise unsupported_media_type(BODY_TYPES)
