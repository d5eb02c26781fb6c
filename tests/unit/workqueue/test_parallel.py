"""The parallelizer: PZ of the client-go behaviours."""

from __future__ import annotations

import threading

import pytest

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


def test_there_are_no_more_threads_than_chunks() -> None:
    """PZ-02: ten workers, two chunks; the two meet, so there are two."""
    meeting = threading.Barrier(2, timeout=5)
    names = set()

    def run(piece: int) -> None:
        names.add(threading.current_thread().name)
        if piece in {0, 5}:
            meeting.wait()

    parallelize(10, 10, run, chunk=5)
    assert names == {"parallelize-0", "parallelize-1"}


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
