"""What goes wrong in a reflector: how it is told, and how long it is waited for."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from kcpctl.errors import ApiError, Gone, KcpctlError, ResourceVersionTooLarge, TransportError
from kcpctl.informers.options import ReflectorOptions
from kcpctl.runtime import Backoff, Clock, get_logger

__all__ = [
    "Failures",
    "Incomplete",
    "RelistWanted",
    "VeryShortWatch",
    "cause_of",
    "default_backoff",
]

_log = get_logger(__name__)

# Decision 15 and RF-03, RF-04.
_BACKOFF_SECONDS: Final = 0.8
_MAX_BACKOFF_SECONDS: Final = 30.0
_BACKOFF_RESET_SECONDS: Final = 120.0


class VeryShortWatch(KcpctlError):
    """RF-26: a watch ended at once without an event; the version may be of another server."""

    retryable = True


class RelistWanted(KcpctlError):
    """KCP-16: somebody has reason to believe that the watch is not to be trusted."""

    retryable = True


class Incomplete(TransportError):
    """A stream ended in order, but before the state was complete (WL-06)."""


# How a cycle ends when nothing is wrong with the server.
_EXPECTED: Final = (Gone, VeryShortWatch, RelistWanted)


def default_backoff(clock: Clock, rng: random.Random) -> Backoff:
    """Return the back-off of a reflector that was given none."""
    return Backoff(
        _BACKOFF_SECONDS,
        _MAX_BACKOFF_SECONDS,
        reset_after_seconds=_BACKOFF_RESET_SECONDS,
        clock=clock,
        rng=rng,
    )


class Failures:
    """The failures of one reflector. One owner.

    The first one in a row is logged as a warning, the rest at debug level, the recovery at info;
    or ``options.on_error`` is told of each (RF-08). ``last`` is None while all is well.
    """

    def __init__(
        self, description: str, clock: Clock, rng: random.Random, options: ReflectorOptions
    ) -> None:
        self.last: Exception | None = None
        self._description = description
        self._clock = clock
        self._backoff = options.backoff() if options.backoff else default_backoff(clock, rng)
        self._on_error = options.on_error

    @property
    def unanswered(self) -> bool:
        """Whether the last thing that was asked of the server got no answer."""
        return isinstance(self.last, TransportError)

    async def rest_after(self, error: Exception) -> None:
        """Note a failure and wait."""
        self.note(error)
        await self._clock.asleep(self.pause_after(error))

    def pause_after(self, error: Exception) -> float:
        """Return for how long to wait: at least what the server asks for, within reason."""
        pause = self._backoff.next()
        if isinstance(error, ApiError) and error.retry_after_seconds is not None:
            pause = max(pause, min(error.retry_after_seconds, _MAX_BACKOFF_SECONDS))
        return pause

    def note(self, error: Exception) -> None:
        """Tell of a failure."""
        first, self.last = self.last is None, error
        if self._on_error is not None:
            self._tell(self._on_error, error)
        elif not isinstance(error, KcpctlError):
            _log.error("Reflector failed", informer=self._description, exc_info=error)
        elif first and not isinstance(error, _EXPECTED):
            _log.warning(
                "List or watch failed",
                informer=self._description,
                error=error,
                cause=type(error).__name__,
            )
        else:
            _log.debug("List or watch failed", informer=self._description, error=error)

    def _tell(self, on_error: Callable[[Exception], None], error: Exception) -> None:
        try:
            on_error(error)
        except Exception as fault:  # noqa: BLE001 - it is told of a failure, and must not be one
            _log.error("Error handler failed", informer=self._description, exc_info=fault)

    def recovered(self) -> None:
        """Note that lists and watches work."""
        error, self.last = self.last, None
        if error is None or self._on_error is not None or isinstance(error, _EXPECTED):
            return
        _log.info("List and watch work again", informer=self._description)


def cause_of(error: Exception) -> str:
    """Return the word for why the state is read again."""
    if isinstance(error, Gone):
        return "expired"
    if isinstance(error, ResourceVersionTooLarge):
        return "too_large"
    if isinstance(error, RelistWanted):
        return "requested"
    return "very_short_watch" if isinstance(error, VeryShortWatch) else "error"
