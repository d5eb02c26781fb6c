"""Signals: the first SIGTERM or SIGINT asks the process to stop, the second one ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType

from kcpctl.runtime import get_logger, start_thread

__all__ = ["install"]

_log = get_logger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def install(stop: threading.Event | None = None) -> threading.Event:
    """Set ``stop`` (a new event if not given) at the first SIGTERM or SIGINT, and return it.

    The second one ends the process at once with 128 + its number, whatever hangs. Call it once,
    on the main thread. The signal's number goes through a pipe to a watchdog thread: a handler
    that set the event itself could meet the lock that the waiting main thread holds.
    """
    stop = stop or threading.Event()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, _ignore)

    def watch() -> None:
        seen = 0
        while data := os.read(read_end, 1):
            if data[0] not in _SIGNALS:
                continue
            seen += 1
            if seen > 1:
                os._exit(128 + data[0])
            with contextlib.suppress(ValueError):  # a closed standard error must not lose the stop
                _log.info("Stopping", signal=signal.Signals(data[0]).name)
            stop.set()

    start_thread(watch, name="kcpctl-signals", daemon=True)
    return stop


def _ignore(number: int, frame: FrameType | None) -> None:
    """Let the C-level handler write the number to the pipe; there is nothing to do here."""
