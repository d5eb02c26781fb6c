"""Waiting for what another process does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kcpctl.runtime.clock import SYSTEM_CLOCK

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(
    check: Callable[[], T], *, timeout_seconds: float = 60.0, poll_seconds: float = 0.05
) -> T:
    """Call ``check`` until it returns something true, and return that.

    An AssertionError, LookupError or kcpctl error of ``check`` counts as "not yet"; the last one
    is the cause of the AssertionError that comes when the time is over: far more than a busy
    machine takes to start a process.
    """
    deadline = SYSTEM_CLOCK.monotonic() + timeout_seconds
    while True:
        error: Exception | None = None
        result = None
        try:
            result = check()
        except Exception as caught:  # noqa: BLE001 - it is raised as the cause below
            error = caught
        if result:
            return result
        if SYSTEM_CLOCK.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_seconds:g}s: {error or result!r}") from error
        SYSTEM_CLOCK.sleep(poll_seconds)
