"""What a person sees while things start: one line as it happens, with the time since the start."""

from __future__ import annotations

import sys
from typing import IO

from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock

__all__ = ["Progress"]


class Progress:
    """Prints ``  1.2s  subject  text`` lines to standard output, flushed one by one.

    Colour is used on a terminal that has it; a closed output (``| head``) is no error.
    """

    def __init__(
        self, *, started_at: float, clock: Clock = SYSTEM_CLOCK, out: IO[str] | None = None
    ) -> None:
        self._clock = clock
        self._started_at = started_at
        self._out = out or sys.stdout
        self._colour = self._out.isatty()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the start of the process."""
        return self._clock.monotonic() - self._started_at

    def say(self, subject: str, text: str) -> None:
        """Print that something has happened."""
        stamp = f"{self.elapsed_seconds:6.1f}s"
        if self._colour:
            stamp, subject = f"\x1b[2m{stamp}\x1b[0m", f"\x1b[36m{subject:<22}\x1b[0m"
        self.line(f"{stamp}  {subject:<22} {text}")

    def line(self, text: str = "") -> None:
        """Print a line as it is."""
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except BrokenPipeError:
            self._out = sys.stderr
