"""Conditions in the shape of kcp: a severity when False, Ready first, the others by type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.schema import doc
from kcpctl.runtime import format_time

__all__ = [
    "ERROR",
    "FALSE",
    "INFO",
    "READY",
    "TRUE",
    "UNKNOWN",
    "WARNING",
    "Condition",
    "false",
    "get_condition",
    "is_false",
    "is_true",
    "is_unknown",
    "set_condition",
    "true",
    "unknown",
]

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"
ERROR: Final = "Error"
WARNING: Final = "Warning"
INFO: Final = "Info"
READY: Final = "Ready"

_LONGEST_MESSAGE: Final = 1024


class Condition(ApiStruct):
    """One observation about an object. A reader needs status, reason and message."""

    type: Annotated[str, doc("What is observed, in CamelCase.", {"minLength": 1, "maxLength": 316})]
    status: Annotated[
        str, doc("Whether it holds: True, False or Unknown.", {"enum": [TRUE, FALSE, UNKNOWN]})
    ]
    severity: Annotated[
        str,
        doc(
            "How bad a False is: Error stops the object from working, Warning degrades it, Info "
            "says that something is under way. Set only when status is False.",
            {"enum": [ERROR, WARNING, INFO]},
        ),
    ] = ""
    reason: Annotated[
        str, doc("One CamelCase word for programs that says why.", {"maxLength": 1024})
    ] = ""
    message: Annotated[
        str, doc("One sentence for people that says what, where and how to go on.")
    ] = ""
    last_transition_time: Annotated[
        str | None, doc("When status last changed.", {"format": "date-time"})
    ] = None
    observed_generation: Annotated[
        int, doc("The metadata.generation that this was observed for.", {"minimum": 0})
    ] = 0


def true(type_: str, reason: str, message: str = "") -> Condition:
    """Return a condition that holds."""
    return Condition(type=type_, status=TRUE, reason=reason, message=message)


def false(type_: str, severity: str, reason: str, message: str) -> Condition:
    """Return a condition that does not hold."""
    return Condition(type=type_, status=FALSE, severity=severity, reason=reason, message=message)


def unknown(type_: str, reason: str, message: str) -> Condition:
    """Return a condition that nobody can judge right now."""
    return Condition(type=type_, status=UNKNOWN, reason=reason, message=message)


def get_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    for one in conditions:  # three times as fast as next() of a generator
        if one.type == type_:
            return one
    return None


def set_condition(
    conditions: Iterable[Condition], condition: Condition, now: float
) -> list[Condition]:
    """Return ``conditions`` with ``condition`` in place of the one of its type, sorted.

    ``lastTransitionTime`` moves to ``now`` (wall-clock seconds) only when the status changes, so
    that ages mean something; a severity is kept on False alone. Messages, which quote what clusters
    of others answer, are cut at 1,024 characters and lose control characters. Nothing passed in is
    modified, and where nothing changes the order stays as well.
    """
    others = list(conditions)
    old = get_condition(others, condition.type)
    message = _presentable(condition.message)
    severity = condition.severity if condition.status == FALSE else ""
    since = None
    if old is not None and old.status == condition.status and old.last_transition_time:
        since = old.last_transition_time
        if (
            old.message == message
            and old.reason == condition.reason
            and old.severity == severity
            and old.observed_generation == condition.observed_generation
        ):
            return others
    new = msgspec.structs.replace(
        condition,
        message=message,
        severity=severity,
        last_transition_time=since or format_time(now),
    )
    result = [one for one in others if one.type != condition.type]
    return sorted([*result, new], key=lambda one: (one.type != READY, one.type))


def _presentable(message: str) -> str:
    cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 3]}..."
    return cut if cut.isprintable() else "".join(c if c.isprintable() else " " for c in cut)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is present and True."""
    return _has_status(conditions, type_, TRUE)


def is_false(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is present and False."""
    return _has_status(conditions, type_, FALSE)


def is_unknown(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is absent or Unknown."""
    found = get_condition(conditions, type_)
    return found is None or found.status == UNKNOWN


def _has_status(conditions: Iterable[Condition], type_: str, status: str) -> bool:
    found = get_condition(conditions, type_)
    return found is not None and found.status == status
