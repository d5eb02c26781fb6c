"""The same call for each of n pieces, on several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kcpctl.runtime import start_thread

__all__ = ["parallelize"]


def parallelize(
    workers: int,
    pieces: int,
    run: Callable[[int], None],
    *,
    chunk: int = 1,
    cancelled: threading.Event | None = None,
    name: str = "parallelize",
) -> None:
    """Call ``run`` once with each of 0 .. pieces-1 on ``workers`` threads; blocks (PZ-01).

    A worker takes ``chunk`` pieces at a time, so there are never more threads than chunks (PZ-02).
    Once ``cancelled`` is set no piece begins, and those that run are waited for (PZ-03). A piece
    that raises costs no other piece anything; what was raised comes together in an
    ExceptionGroup at the end (mends PZ-04).
    """
    if workers < 1:
        raise ValueError(f"{workers} workers would run nothing")
    chunk = max(chunk, 1)
    chunks = iter(range(0, pieces, chunk))
    lock = threading.Lock()
    errors: list[Exception] = []

    def work() -> None:
        while True:
            with lock:
                first = next(chunks, None)
            if first is None:
                return
            for piece in range(first, min(first + chunk, pieces)):
                if cancelled is not None and cancelled.is_set():
                    return
                try:
                    run(piece)
                except Exception as error:  # noqa: BLE001 - raised below, with those of the others
                    errors.append(error)

    threads = [
        start_thread(work, name=f"{name}-{number}")
        for number in range(min(workers, -(-max(pieces, 0) // chunk)))
    ]
    for thread in threads:
        thread.join()
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {pieces} pieces failed", errors)
