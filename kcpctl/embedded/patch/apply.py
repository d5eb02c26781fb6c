"""Server-side apply, and the tracking of field owners of all other writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcpctl.embedded.schema.builtin import Schema

__all__ = ["server_side_apply", "track_update"]


def server_side_apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str,
    schema: Schema,
    *,
    force: bool,
    now: float,
    api_version: str,
    subresource: str = "",
    reset_fields: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the live object merged with an applied one, with its new managedFields.

    ``live`` None creates. The result is to be defaulted, pruned and validated like any other
    write, but not tracked again. ``reset_fields``: top-level fields that this endpoint does not
    write (``("status",)`` on the main one of a kind with a status subresource). A no-op returns
    an object equal to ``live``. ``now``: wall clock seconds. Raises StatusError 409 with the
    conflicts, 400 and 500 for bodies that are not an applicable object.
    """
    raise NotImplementedError


def track_update(
    old: dict[str, Any] | None,
    new: dict[str, Any],
    manager: str,
    schema: Schema,
    *,
    now: float,
    api_version: str,
    subresource: str = "",
) -> dict[str, Any]:
    """Return ``new`` (complete: defaulted, status and metadata filled in) with managedFields.

    ``old`` None is a create. What the client sent as managedFields is taken as the state to go
    on from when it is valid; an empty list resets. Objects that nobody owns stay untracked.
    """
    raise NotImplementedError
