"""Where every thread and every task of the I/O loop is right now."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType

__all__ = ["tasks_and_frames", "threads_and_frames"]

Stack = tuple[str, list[str]]
"""A name and the lines of its stack, outermost call first. No values: those may be secret."""


def threads_and_frames() -> list[Stack]:
    """Return the stacks of all threads, by name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = [
        (names.get(ident, f"thread {ident}"), _lines(reversed(list(traceback.walk_stack(frame)))))
        for ident, frame in sys._current_frames().items()
    ]
    return sorted(found)


def tasks_and_frames(tasks: Iterable[asyncio.Task[object]]) -> list[Stack]:
    """Return the stacks of tasks, by name, down to what each awaits.

    May be called on another thread than the tasks' own: a stack may then be of two moments.
    """
    return sorted((task.get_name(), _lines(_awaits(task))) for task in tasks)


def _awaits(task: asyncio.Task[object]) -> Iterator[tuple[FrameType, int]]:
    """Walk from the task's coroutine to the innermost one; Task.get_stack has only the first."""
    at: object = task.get_coro()
    while at is not None:
        for kind, inner in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            if hasattr(at, f"{kind}_frame"):
                frame: FrameType | None = getattr(at, f"{kind}_frame")
                if frame is not None:
                    yield frame, frame.f_lineno or 0
                at = getattr(at, f"{kind}_{inner}")
                break
        else:
            return


def _lines(frames: Iterable[tuple[FrameType, int]]) -> list[str]:
    found = []
    for entry in traceback.StackSummary.extract(iter(frames)):
        place = f"{entry.filename}:{entry.lineno} in {entry.name}"
        found.append(f"{place}: {entry.line}" if entry.line else place)
    return found
