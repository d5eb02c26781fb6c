"""How a reflector starts and what it does about failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kcpctl.runtime import Backoff

__all__ = ["DEFAULTS", "ReflectorOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorOptions:
    """Options that few informers need.

    Parameters
    ----------
    newest_first: have the first list be the newest state too, as first streams always are, and not
        what some cache of the server holds: after a restart that may be older than what the
        process before has acted on (RF-22).
    internal_error_seconds: for how long a watch that reports internal errors (500) is watched on,
        after pauses, before the state is read again; they begin anew after a minute without one
        (RF-33). 0 reads it again at once.
    backoff: makes the pauses after failures; None for 0.8 s to 30 s with full jitter (RF-05). Each
        reflector asks for one of its own.
    on_error: told of each failure of a list or watch, in place of the log (RF-08). Called on the
        I/O thread, must not block; what it raises is logged.
    """

    newest_first: bool = False
    internal_error_seconds: float = 0.0
    backoff: Callable[[], Backoff] | None = None
    on_error: Callable[[Exception], None] | None = None


DEFAULTS: Final = ReflectorOptions()
"""What informers have that ask for nothing else."""
