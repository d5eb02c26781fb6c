"""The flag that turns traces on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from kcpctl.cli.options import flag

__all__ = ["traced", "tracing_flag"]

F = TypeVar("F", bound=Callable[..., Any])


def tracing_flag(group: str) -> Callable[[F], F]:
    """Return the decorator that adds ``--tracing`` under a heading of the help."""
    return flag(
        "--tracing",
        group=group,
        is_flag=True,
        help="Export OpenTelemetry traces of reconciles, requests and informers, to where the "
        "standard OTEL_* environment variables say. Needs pip install 'kcpctl[otel]'.",
    )


def traced(on: bool, service: str) -> AbstractContextManager[None]:
    """Return what exports the traces of what runs inside, if that is ``on``."""
    if not on:
        return nullcontext()
    from kcpctl.runtime.tracing import exported

    return exported(service)
