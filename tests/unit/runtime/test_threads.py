"""The lock for short sections."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from kcpctl.runtime import ShortLock, start_thread
from kcpctl.testing import eventually


@pytest.fixture
def lock() -> ShortLock:
    return ShortLock()


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads change after a microsecond instead of five milliseconds: also inside sections."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_lock_that_nobody_holds_cannot_be_given_back(lock: ShortLock) -> None:
    """Or there would be two tokens, and room for two threads."""
    with pytest.raises(RuntimeError, match="not held"):
        lock.release()
    with lock:
        assert not lock.acquire(blocking=False)


def test_a_lock_that_is_taken_is_refused_at_once_to_whoever_does_not_wait(lock: ShortLock) -> None:
    lock.enter()
    assert not lock.acquire(blocking=False)
    with pytest.raises(IndexError):
        lock.enter()
    lock.leave(None)
    assert lock.acquire(blocking=False)


def test_whoever_waits_gets_the_lock_when_it_is_given_back(lock: ShortLock) -> None:
    lock.acquire()
    got = threading.Event()

    def wait() -> None:
        with lock:
            got.set()

    waiting = start_thread(wait, name="waiting", daemon=True)
    assert not got.wait(0.01)
    lock.release()
    assert got.wait(30)
    waiting.join(30)


def test_an_exception_inside_gives_the_lock_back(lock: ShortLock) -> None:
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert lock.acquire(blocking=False)


def test_a_condition_gives_the_lock_back_while_it_waits(lock: ShortLock) -> None:
    condition = lock.condition()
    woken: list[bool] = []

    def wait() -> None:
        with lock:
            woken.append(condition.wait(30))

    waiting = start_thread(wait, name="waiting", daemon=True)

    def wake() -> bool:
        with lock:
            condition.notify()
        return bool(woken)

    eventually(wake, poll_seconds=0.001)
    waiting.join(30)
    assert woken == [True]


def test_a_condition_of_a_lock_that_is_not_held_refuses(lock: ShortLock) -> None:
    with pytest.raises(RuntimeError):
        lock.condition().notify()


@pytest.mark.usefixtures("switching_often")
def test_no_two_threads_are_ever_inside(lock: ShortLock) -> None:
    """Read, change, write: one thread that sees another's half loses a count, GIL or not."""
    inside = 0
    total = 0
    overlaps = 0
    together = threading.Barrier(4)

    def work() -> None:
        nonlocal inside, total, overlaps
        together.wait(30)
        for turn in range(6000):
            if turn % 2:
                lock.acquire()
            else:
                try:
                    lock.enter()
                except IndexError:
                    lock.acquire()
            inside += 1
            overlaps += inside != 1
            seen = total
            for _ in range(20):
                pass  # CPython with a GIL changes threads at loops and calls only.
            total = seen + 1
            inside -= 1
            lock.leave(None)

    threads = [start_thread(work, name=f"worker-{number}") for number in range(4)]
    for thread in threads:
        thread.join()
    assert (overlaps, total) == (0, 4 * 6000)
