"""The parallelizer: PZ of the client-go behaviours."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kcpctl.runtime import start_thread
from kcpctl.workqueue import parallelize


@pytest.mark.parametrize(
    ("workers", "pieces", "chunk"), [(1, 7, 1), (3, 10, 4), (8, 3, 1), (2, 5, 0), (2, 5, 9)]
)
def test_every_piece_runs_exactly_once(workers: int, pieces: int, chunk: int) -> None:
    """PZ-01, PZ-02: a chunk below one is one."""
    ran: list[int] = []
    parallelize(workers, pieces, ran.append, chunk=chunk)
    assert sorted(ran) == list(range(pieces))


def test_nothing_to_do_returns_at_once() -> None:
    """PZ-02."""
    parallelize(4, 0, lambda piece: pytest.fail("there is no piece"))


@pytest.mark.parametrize(("workers", "chunk", "threads"), [(10, 5, 2), (10, 4, 3), (2, 1, 2)])
def test_there_are_no_more_threads_than_chunks_or_workers(
    monkeypatch: pytest.MonkeyPatch, workers: int, chunk: int, threads: int
) -> None:
    """PZ-02."""
    started: list[str] = []

    def start(target: Callable[[], None], *, name: str) -> threading.Thread:
        started.append(name)
        return start_thread(target, name=name)

    monkeypatch.setattr("kcpctl.workqueue.parallel.start_thread", start)
    parallelize(workers, 10, lambda piece: None, chunk=chunk)
    assert started == [f"parallelize-{number}" for number in range(threads)]


def test_pieces_run_at_the_same_time() -> None:
    """PZ-01: two workers meet, each in a piece of its own."""
    meeting = threading.Barrier(2, timeout=5)

    def meet(piece: int) -> None:
        meeting.wait()

    parallelize(2, 2, meet)


def test_no_workers_are_refused() -> None:
    """PZ-01: or the pieces would silently not run."""
    with pytest.raises(ValueError, match="0 workers"):
        parallelize(0, 5, lambda piece: None)


def test_cancelling_begins_no_further_piece_even_of_a_chunk() -> None:
    """PZ-03."""
    cancelled = threading.Event()
    ran: list[int] = []

    def run(piece: int) -> None:
        cancelled.set()
        ran.append(piece)

    parallelize(1, 10, run, chunk=5, cancelled=cancelled)
    assert ran == [0]


def test_a_piece_that_raises_costs_no_other_piece_anything() -> None:
    """PZ-04 mended."""
    ran: list[int] = []

    def run(piece: int) -> None:
        if piece in {1, 3}:
            raise ValueError(f"piece {piece}")
        ran.append(piece)

    with pytest.raises(ExceptionGroup, match="2 of 6 pieces failed") as raised:
        parallelize(2, 6, run, chunk=3)
    assert sorted(map(str, raised.value.exceptions)) == ["piece 1", "piece 3"]
    assert sorted(ran) == [0, 2, 4, 5]
