from __future__ import annotations

import asyncio
import logging

import pytest

from kcpctl.embedded.controllers.keyed import KeyedLoop
from kcpctl.embedded.status import StatusError
from kcpctl.testing.clock import FakeClock


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_failing_key_is_retried_later_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, seen = FakeClock(), []

    def reconcile(key: str) -> None:
        seen.append(key)
        if key == "bad" and seen.count("bad") < 3:
            raise RuntimeError("no")

    loop = KeyedLoop("test", reconcile, clock=clock)
    loop.add("bad")
    loop.add("good")
    loop.start()
    with caplog.at_level(logging.WARNING):
        await settle()
        assert seen == ["bad", "good"]
        clock.step(0.05)
        await settle()
        assert seen == ["bad", "good", "bad"]
        clock.step(0.05)
        await settle()
        assert len(seen) == 3  # the second delay is longer
        clock.step(0.06)
        await settle()
    assert seen.count("bad") == 3
    assert len(loop) == 0
    assert "Internal controller failed" in caplog.text
    await loop.close()


async def test_a_conflict_is_retried_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    clock, seen = FakeClock(), []

    def reconcile(key: str) -> None:
        seen.append(key)
        if len(seen) == 1:
            raise StatusError(409, "Conflict", "again")

    loop = KeyedLoop("test", reconcile, clock=clock)
    loop.start()
    loop.add("a")
    await settle()
    clock.step(1)
    await settle()
    assert seen == ["a", "a"]
    assert not caplog.records
    await loop.close()


async def test_a_key_added_many_times_runs_once() -> None:
    seen: list[str] = []
    loop = KeyedLoop("test", seen.append, clock=FakeClock())
    for _ in range(5):
        loop.add("a")
    loop.start()
    await settle()
    assert seen == ["a"]
    await loop.close()


async def test_a_key_added_while_it_runs_runs_once_more() -> None:
    seen: list[str] = []

    def reconcile(key: str) -> None:
        seen.append(key)
        if len(seen) == 1:
            loop.add(key)
            loop.add(key)

    loop = KeyedLoop("test", reconcile, clock=FakeClock())
    loop.add("a")
    loop.start()
    await settle()
    assert seen == ["a", "a"]
    await loop.close()


async def test_a_key_that_asks_for_it_runs_again_after_its_time() -> None:
    clock, seen = FakeClock(), []

    def reconcile(key: str) -> float | None:
        seen.append(key)
        return 5.0 if len(seen) == 1 else None

    loop = KeyedLoop("test", reconcile, clock=clock)
    loop.add("a")
    loop.start()
    await settle()
    clock.step(4.9)
    await settle()
    assert seen == ["a"]
    clock.step(0.2)
    await settle()
    assert seen == ["a", "a"]
    await loop.close()


async def test_a_busy_loop_lets_others_have_a_turn() -> None:
    clock = FakeClock()
    turns = 0

    def reconcile(key: int) -> None:
        clock.step(0.03)

    loop = KeyedLoop("test", reconcile, clock=clock)
    for key in range(10):
        loop.add(key)
    loop.start()
    while len(loop):
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 10
    await loop.close()
