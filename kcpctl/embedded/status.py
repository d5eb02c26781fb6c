"""Errors of the API as ``v1.Status``: every failure a client can see is a :class:`StatusError`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "Cause",
    "ResourceName",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal",
    "invalid",
    "method_not_allowed",
    "not_acceptable",
    "not_found",
    "not_served",
    "request_too_large",
    "retry_later",
    "success",
    "too_large_resource_version",
    "unauthorized",
    "unavailable",
    "unsupported_media_type",
]


class ResourceName(Protocol):
    """What an error message needs to know about a resource type."""

    @property
    def group(self) -> str:
        """The API group, "" for core."""

    @property
    def plural(self) -> str:
        """The resource's name in URLs."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of ``status.details.causes``: a reason, what is wrong, and at which field."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def to_dict(self) -> dict[str, str]:
        """Return the cause as it appears in a Status."""
        pairs = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in pairs.items() if value}

    @classmethod
    def invalid(cls, path: str, value: object, detail: str) -> Cause:
        """Return "Invalid value"; dicts and lists are shown as JSON, as the real server does."""
        return cls("FieldValueInvalid", f"Invalid value: {show(value)}: {detail}", path)

    @classmethod
    def required(cls, path: str, detail: str = "") -> Cause:
        """Return "Required value"."""
        return cls("FieldValueRequired", f"Required value{f': {detail}' if detail else ''}", path)

    @classmethod
    def forbidden(cls, path: str, detail: str) -> Cause:
        """Return "Forbidden"."""
        return cls("FieldValueForbidden", f"Forbidden: {detail}", path)

    @classmethod
    def not_supported(cls, path: str, value: object, supported: Iterable[str]) -> Cause:
        """Return "Unsupported value" with the values that are supported."""
        choices = ", ".join(json.dumps(choice) for choice in supported)
        message = f"Unsupported value: {show(value)}: supported values: {choices}"
        return cls("FieldValueNotSupported", message, path)

    @classmethod
    def duplicate(cls, path: str, value: object) -> Cause:
        """Return "Duplicate value"."""
        return cls("FieldValueDuplicate", f"Duplicate value: {show(value)}", path)

    @classmethod
    def too_long(cls, path: str, limit: int) -> Cause:
        """Return "Too long": the value itself is never repeated."""
        message = f"Too long: may not be more than {limit} bytes"
        return cls("FieldValueTooLong", message, path)


def show(value: object) -> str:
    """Return a value as error messages print it."""
    if value is None:
        return "null"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass
class StatusError(Exception):
    """A request failed; carries everything the HTTP answer needs.

    ``reason`` "" leaves the field out (some 500 answers have none). ``plain_text`` answers are
    sent as text, not as a Status. ``warnings`` go along in headers of their own.
    """

    code: int
    reason: str
    message: str
    details: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    plain_text: bool = False
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    @property
    def status(self) -> dict[str, Any]:
        """The ``v1.Status`` to send."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.metadata),
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _details(resource: ResourceName, name: str = "") -> dict[str, Any]:
    pairs = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in pairs.items() if value}


def _qualified(resource: ResourceName) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def success(resource: ResourceName, name: str, uid: str = "") -> dict[str, Any]:
    """Return the Status that answers a finished deletion."""
    details = _details(resource, name)
    if uid:
        details["uid"] = uid
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: credentials were given and are wrong."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: ResourceName, name: str, message: str) -> StatusError:
    """403 on a resource: ``message`` is what follows "is forbidden: "."""
    text = f'{_qualified(resource)} "{name}" is forbidden: {message}'
    if not name:
        text = f"{_qualified(resource)} is forbidden: {message}"
    return StatusError(403, "Forbidden", text, _details(resource, name))


def not_found(resource: ResourceName, name: str) -> StatusError:
    """404: the object does not exist."""
    message = f'{_qualified(resource)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name))


def not_served() -> StatusError:
    """404: the version or resource is not served (inside a group that is)."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message, {})


def page_not_found() -> StatusError:
    """404 in plain text: nothing is served below this path."""
    return StatusError(404, "NotFound", "404 page not found\n", plain_text=True)


def already_exists(resource: ResourceName, name: str) -> StatusError:
    """409: an object of that name exists."""
    message = f'{_qualified(resource)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: ResourceName, name: str, message: str) -> StatusError:
    """409: the object is not the one the client has seen."""
    text = f'Operation cannot be fulfilled on {_qualified(resource)} "{name}": {message}'
    return StatusError(409, "Conflict", text, _details(resource, name))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: the object breaks rules, all of which are listed."""
    texts = list(dict.fromkeys(str(cause) for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    pairs: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in pairs.items() if value}
    details["causes"] = [cause.to_dict() for cause in causes]
    message = f'{qualified} "{name}" is invalid: {joined}'
    return StatusError(422, "Invalid", message, details)


def expired(message: str, *, continue_token: str = "") -> StatusError:
    """410: the version or token is too old; ``continue_token`` is the inconsistent way on."""
    metadata = {"continue": continue_token} if continue_token else {}
    return StatusError(410, "Expired", message, metadata=metadata)


def too_large_resource_version(wanted: int, current: int) -> StatusError:
    """504: the client has seen a version that this server has not."""
    message = f"Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(
        504,
        "Timeout",
        f"Timeout: {message}",
        {"causes": [cause], "retryAfterSeconds": 1},
        {"Retry-After": "1"},
    )


def retry_later(code: int, reason: str, message: str, seconds: int = 1) -> StatusError:
    """429 or 503 with a time after which the client may ask again."""
    details = {"retryAfterSeconds": seconds}
    return StatusError(code, reason, message, details, {"Retry-After": str(seconds)})


def unavailable(message: str) -> StatusError:
    """503: the server cannot answer now."""
    return StatusError(503, "ServiceUnavailable", message)


def method_not_allowed() -> StatusError:
    """405: the resource does not have this verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    """406: no representation that the client takes."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body's media type is not one of those accepted."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)}"
    )
    return StatusError(415, "UnsupportedMediaType", message)


def request_too_large(message: str) -> StatusError:
    """413: the body is above the limit."""
    return StatusError(413, "RequestEntityTooLarge", message)


def internal(message: str) -> StatusError:
    """500 without a reason, as the real server answers what it did not foresee."""
    return StatusError(500, "", message)
