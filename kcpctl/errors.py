"""The error tree: everything kcpctl raises on purpose is a :class:`KcpctlError`.

    KcpctlError
    |- UsageError              the command line or a call is wrong (exit code 2)
    |- ConfigError             a kubeconfig or another file cannot be used
    |- NotConnected            the pool has no live connection to a cluster
    |- CrossWorkspaceAccess    a client bound to one logical cluster was asked for another
    |- ConditionTimeout        an object did not become what was waited for (also a TimeoutError)
    |- DeadlineExceeded        a piece of work ran out of the time that it was given
    |- TerminalError           a reconcile that only a change of the object can mend
    |- TransportError          no answer: refused, reset, timed out, bad TLS, cut off
    |  |- ConnectionRefused, TransportTimeout, CertificateInvalid
    `- ApiError                the server answered with an error Status
       |- BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, MethodNotAllowed 405,
       |  NotAcceptable 406, UnsupportedMediaType 415, RequestEntityTooLarge 413, Invalid 422
       |- Conflict 409, AlreadyExists 409
       |- Gone 410 (Expired is one)
       |- TooManyRequests 429 (retry_after_seconds)
       |- InternalError 500, ServiceUnavailable 503
       `- ServerTimeout 504 (ResourceVersionTooLarge is one)

``retryable`` says whether the same call may succeed later without anybody changing anything.
Messages name the object, the cluster and the way out; secrets are never part of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "CertificateInvalid",
    "ConditionTimeout",
    "ConfigError",
    "Conflict",
    "ConnectionRefused",
    "CrossWorkspaceAccess",
    "DeadlineExceeded",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "KcpctlError",
    "LeadershipLost",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotConnected",
    "NotFound",
    "NotLeading",
    "RequestEntityTooLarge",
    "ResourceVersionTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "TerminalError",
    "TooManyRequests",
    "TransportError",
    "TransportTimeout",
    "Unauthorized",
    "UnsupportedMediaType",
    "UsageError",
    "error_from_status",
]


class KcpctlError(Exception):
    """The root of the tree. ``retryable`` is an attribute of the class, not a guess."""

    retryable: ClassVar[bool] = False


class UsageError(KcpctlError):
    """The caller's words are off; the command line exits with 2."""


class ConfigError(KcpctlError):
    """A kubeconfig, credential or settings file cannot be used; the message names it."""


class CrossWorkspaceAccess(KcpctlError):
    """A client bound to one logical cluster was asked to reach another one."""


class ConditionTimeout(KcpctlError, TimeoutError):
    """An object did not become what was waited for in time."""

    retryable = True


class DeadlineExceeded(KcpctlError):
    """A piece of work ran out of the time that it was given as a whole."""

    retryable = True


class TerminalError(KcpctlError):
    """Raised by a reconciler: do not retry until the object changes."""


class NotConnected(KcpctlError):
    """There is no live connection to a cluster right now.

    Parameters
    ----------
    cluster: the pool's key of the connection.
    state: the pool's state name, for example ``Connecting``.
    since: wall-clock seconds since the epoch at which that state began.
    last_error: one line, free of secrets, or "".
    next_attempt_in_seconds: time until the pool tries again, or None when nothing is planned.
    """

    retryable = True

    def __init__(
        self,
        cluster: str,
        *,
        state: str,
        since: float,
        last_error: str = "",
        next_attempt_in_seconds: float | None = None,
    ) -> None:
        self.cluster = cluster
        self.state = state
        self.since = since
        self.last_error = last_error
        self.next_attempt_in_seconds = next_attempt_in_seconds
        plan = (
            "no attempt is planned"
            if next_attempt_in_seconds is None
            else f"next attempt in {next_attempt_in_seconds:.0f}s"
        )
        why = f": {last_error}" if last_error else ""
        super().__init__(f"cluster {cluster!r} is not connected ({state}{why}); {plan}")


class NotLeading(KcpctlError):
    """A write was refused here because this process does not hold the lease that it needs."""


class LeadershipLost(KcpctlError):
    """The lease could not be renewed in time, or somebody else has it."""


class TransportError(KcpctlError):
    """No usable answer came: the connection failed, broke or timed out."""

    retryable = True


class ConnectionRefused(TransportError):
    """Nothing listens at the address."""


class TransportTimeout(TransportError):
    """The server did not answer in time."""


class CertificateInvalid(TransportError):
    """The server's certificate does not match the CA or the host name."""

    retryable = False


class ApiError(KcpctlError):
    """An error Status of an API server.

    Attributes: ``code`` (HTTP), ``reason`` (Status.reason, "" when absent), ``message``,
    ``details`` (Status.details as sent), ``retry_after_seconds`` (header or details, else None),
    ``request`` ("GET https://host/path" or "", without query values that could hold a secret).
    """

    code: int = 0

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
        request: str = "",
    ) -> None:
        if code is not None:
            self.code = code
        self.reason = reason
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        self.retry_after_seconds = retry_after_seconds
        self.request = request
        super().__init__(f"{message} ({request})" if request else message)


class BadRequest(ApiError):
    """400: the request itself is malformed."""

    code = 400


class Unauthorized(ApiError):
    """401: the credentials are not accepted."""

    code = 401


class Forbidden(ApiError):
    """403: the identity lacks the right."""

    code = 403


class NotFound(ApiError):
    """404: no such object, resource or logical cluster."""

    code = 404


class MethodNotAllowed(ApiError):
    """405: the resource does not support the verb."""

    code = 405


class NotAcceptable(ApiError):
    """406: none of the accepted media types is served."""

    code = 406


class Conflict(ApiError):
    """409: the object changed since it was read (or an apply conflicts with another manager)."""

    code = 409
    retryable = True


class AlreadyExists(ApiError):
    """409: an object of that name exists."""

    code = 409


class Gone(ApiError):
    """410: the version or continue token is too old; list again."""

    code = 410
    retryable = True


class Expired(Gone):
    """410 with reason Expired."""


class RequestEntityTooLarge(ApiError):
    """413: the body is too large."""

    code = 413


class UnsupportedMediaType(ApiError):
    """415: the content type (for example a patch type) is not supported."""

    code = 415


class Invalid(ApiError):
    """422: the object is well-formed but not valid."""

    code = 422


class TooManyRequests(ApiError):
    """429: slow down; ``retry_after_seconds`` when the server says so."""

    code = 429
    retryable = True


class InternalError(ApiError):
    """500 and every other 5xx without a class of its own."""

    code = 500
    retryable = True


class ServiceUnavailable(ApiError):
    """503: the server or the API behind it is not ready."""

    code = 503
    retryable = True


class ServerTimeout(ApiError):
    """504, or 500 with reason ServerTimeout: the server gave up."""

    code = 504
    retryable = True


class ResourceVersionTooLarge(ServerTimeout):
    """504 for a resourceVersion that the server has not seen yet; list again without one."""


_BY_REASON: dict[str, type[ApiError]] = {
    "BadRequest": BadRequest,
    "Unauthorized": Unauthorized,
    "Forbidden": Forbidden,
    "NotFound": NotFound,
    "MethodNotAllowed": MethodNotAllowed,
    "NotAcceptable": NotAcceptable,
    "Conflict": Conflict,
    "AlreadyExists": AlreadyExists,
    "Gone": Gone,
    "Expired": Expired,
    "RequestEntityTooLarge": RequestEntityTooLarge,
    "UnsupportedMediaType": UnsupportedMediaType,
    "Invalid": Invalid,
    "TooManyRequests": TooManyRequests,
    "InternalError": InternalError,
    "ServiceUnavailable": ServiceUnavailable,
    "ServerTimeout": ServerTimeout,
    "Timeout": ServerTimeout,
}
_BY_CODE: dict[int, type[ApiError]] = {
    cls.code: cls
    for cls in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        Gone,
        RequestEntityTooLarge,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        InternalError,
        ServiceUnavailable,
        ServerTimeout,
    )
}
_TOO_LARGE = "Too large resource version"


def _too_large(message: str, details: Mapping[str, Any]) -> bool:
    """RF-12: servers say "too large resource version" in three shapes."""
    causes = details.get("causes")
    if not isinstance(causes, Sequence):
        causes = ()
    # The oldest shape is "Timeout: Too large resource version: 9, current: 7".
    return _TOO_LARGE in message or any(
        cause.get("reason") == "ResourceVersionTooLarge" or cause.get("message") == _TOO_LARGE
        for cause in causes
        if isinstance(cause, Mapping)
    )


def _number(value: object) -> float | None:
    """Return a number of a Status; anybody may have written it."""
    return value if isinstance(value, int | float) else None


def error_from_status(
    status: Mapping[str, Any],
    *,
    code: int | None = None,
    retry_after_seconds: float | None = None,
    request: str = "",
) -> ApiError:
    """Return the error for a ``v1.Status`` (a decoded body or the object of an ERROR event).

    ``code`` is the HTTP status and wins over the one in the body; ``retry_after_seconds`` the
    Retry-After header. A Status with neither a known reason nor a known code is an ApiError.
    """
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    actual = code if code is not None else int(_number(status.get("code")) or 0)
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or reason or f"the server answered {actual}")
    if retry_after_seconds is None:
        retry_after_seconds = _number(details.get("retryAfterSeconds")) or None
    if _too_large(message, details):
        cls: type[ApiError] = ResourceVersionTooLarge
    else:
        fallback = InternalError if actual >= 500 else ApiError
        cls = _BY_REASON.get(reason) or _BY_CODE.get(actual, fallback)
    return cls(
        message,
        code=actual or None,
        reason=reason,
        details=details,
        retry_after_seconds=retry_after_seconds,
        request=request,
    )
