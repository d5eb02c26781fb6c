"""How far the work is: what has settled, what fails and why."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Protocol

from kcpctl.controller import Request, Result
from kcpctl.runtime import SYSTEM_CLOCK, Clock, get_logger
from kcpctl.syncer.gate import GateClosed

__all__ = ["SETTLED", "Pass", "Progress", "Step", "Tracked"]

_log = get_logger(__name__)

# A closed gate ends the session soon; should the SyncTarget turn out to be there after all, this
# is how soon the work goes on. The original polls a SyncTarget every 5 s (3.1).
_GATE_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pass:
    """How one look at one object ended.

    ``settled`` is False after a write whose event brings the next look, and while something is
    awaited. ``problem`` says what keeps the object from being synced although nothing failed:
    only a person or a change can help, so it is looked at again slowly. ``reason`` is one word for
    that.
    """

    settled: bool = True
    problem: str = ""
    reason: str = ""
    again_in_seconds: float | None = None


SETTLED: Final = Pass()


class Step(Protocol):
    """A reconciler that tells how far it came."""

    def sync(self, request: Request) -> Pass:
        """Bring one object closer to what it should be."""


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    reason: str
    since: float


class Progress:
    """The sum of all passes. Safe from any thread.

    ``take_complete`` is what lastSyncTime rests on (row 85): a pass over everything is complete
    when something was done since the last question, all of it has settled and nothing fails.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Guarded by _lock. The keys are "controller key".
        self._problems: dict[str, _Problem] = {}
        self._unsettled: set[str] = set()
        self._worked = False

    def ended(self, what: str, result: Pass) -> bool:
        """Take note of the end of a pass; returns whether its problem is a new one."""
        with self._lock:
            self._worked = True
            before = self._problems.get(what)
            news = bool(result.problem) and (before is None or before.text != result.problem)
            if result.problem:
                since = self._clock.monotonic() if before is None else before.since
                self._problems[what] = _Problem(result.problem, result.reason, since)
            else:
                self._problems.pop(what, None)
            if result.settled:
                self._unsettled.discard(what)
            else:
                self._unsettled.add(what)
            return news

    @property
    def problems(self) -> dict[str, str]:
        """What is not synced, and why."""
        with self._lock:
            return {what: problem.text for what, problem in self._problems.items()}

    def lasting(self, seconds: float) -> dict[str, str]:
        """Return what has not been synced for that long, and the reason in one word."""
        with self._lock:
            now = self._clock.monotonic()
            return {
                what: problem.reason
                for what, problem in self._problems.items()
                if now - problem.since >= seconds
            }

    @property
    def unsettled(self) -> list[str]:
        """What waits for the event of a write, or for something to go."""
        with self._lock:
            return sorted(self._unsettled)

    def take_complete(self) -> bool:
        """Whether a complete pass ended since the last time this said so."""
        with self._lock:
            complete = self._worked and not self._problems and not self._unsettled
            if complete:
                self._worked = False
            return complete


class Tracked:
    """A reconciler around a step, which reports to the progress.

    A closed gate is not a failure. A problem is logged once, when it appears or changes.
    """

    def __init__(self, name: str, step: Step, progress: Progress) -> None:
        self._name = name
        self._step = step
        self._progress = progress

    def reconcile(self, request: Request) -> Result | None:
        """Run the step."""
        what = f"{self._name} {request.key}"
        try:
            result = self._step.sync(request)
        except GateClosed as error:
            _log.debug("Nothing is done while the SyncTarget is not served", reason=str(error))
            result = Pass(again_in_seconds=_GATE_RETRY_SECONDS)
        except Exception as error:
            kind = type(error).__name__
            self._progress.ended(what, Pass(problem=str(error) or kind, reason=kind))
            raise
        if self._progress.ended(what, result):
            _log.warning("Not synced", reason=result.problem)
        if result.again_in_seconds is None:
            return None
        return Result(requeue_after_seconds=result.again_in_seconds)
