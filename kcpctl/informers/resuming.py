"""Whether a watch that failed is watched on, or the state has to be read again."""

from __future__ import annotations

from typing import Final

from kcpctl.errors import (
    ConnectionRefused,
    InternalError,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)
from kcpctl.runtime import Clock

__all__ = ["Resumption"]

# An event that cannot be read comes again and again with each watch from before it: the fifth
# broken answer leads to a new state, and so does the fifth time that there is none. A connection
# that is lost before the answer is mostly that of a server which is away, behind a balancer; when
# it comes back its clients must not all read their states. But a proxy may do that to every watch.
_MAX_POINTS: Final = 20
_POINTS: Final = 4
_POINTS_WHEN_AWAY: Final = 1
# A connection that lasted for longer was not broken by what the watch began with.
_LASTING_SECONDS: Final = 30.0
# RF-33: after that much time without an internal error the window begins anew.
_QUIET_SECONDS: Final = 60.0


class Resumption:
    """Counts the failures in a row of one reflector's watches. One owner.

    ``internal_error_seconds`` is the window of RF-33.
    """

    __slots__ = ("_clock", "_internal_error_at", "_points", "_window_began_at", "_window_seconds")

    def __init__(self, clock: Clock, internal_error_seconds: float) -> None:
        self._clock = clock
        self._window_seconds = internal_error_seconds
        self._points = 0
        self._window_began_at: float | None = None
        self._internal_error_at = 0.0

    def may_resume(
        self, error: Exception, *, opened: bool, moved: bool, lasted_seconds: float
    ) -> bool:
        """Whether the same watch is to be tried again without reading the state.

        ``opened`` is whether the server had begun to answer, ``moved`` whether the watch brought
        the version on.
        """
        if moved or (opened and lasted_seconds >= _LASTING_SECONDS):
            self._points = 0
        if isinstance(error, ConnectionRefused | TooManyRequests):
            return True
        if isinstance(error, TransportError):
            answered = opened or isinstance(error, TransportTimeout)
            self._points += _POINTS if answered else _POINTS_WHEN_AWAY
            if self._points < _MAX_POINTS:
                return True
            self._points = 0
            return False
        return opened and _is_internal(error) and self._in_window()

    def _in_window(self) -> bool:
        now = self._clock.monotonic()
        if self._window_began_at is None or now - self._internal_error_at >= _QUIET_SECONDS:
            self._window_began_at = now
        self._internal_error_at = now
        return now - self._window_began_at < self._window_seconds


def _is_internal(error: Exception) -> bool:
    # Others of that code mean something: StoreReadError that an object has become unreadable and
    # was removed, of which no other event tells (RF-40).
    return isinstance(error, InternalError) and error.reason in {"", "InternalError"}
