"""Events, as reconcilers record them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from kcpctl.controller import ObjectReference

__all__ = ["Recorder", "Transition"]


class Recorder(Protocol):
    """What is needed of an event recorder. Never blocks, never raises."""

    def event(
        self,
        obj: ObjectReference,
        type: str,  # noqa: A002 - the field's name
        reason: str,
        message: str,
    ) -> None:
        """Record that something happened to ``obj``."""


class Transition(NamedTuple):
    """One event."""

    type: str
    reason: str
    message: str
