from __future__ import annotations

import asyncio
import logging

import pytest

from kcpctl.runtime import TaskSet, gather_all


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_has_its_owners_name() -> None:
    tasks = TaskSet("pool")
    assert tasks.spawn(forever(), name="probe").get_name() == "pool/probe"
    await tasks.close()


async def test_close_ends_every_task_and_refuses_new_ones() -> None:
    tasks = TaskSet("pool")
    first, second = tasks.spawn(forever(), name="a"), tasks.spawn(forever(), name="b")
    await tasks.close()
    await tasks.close()
    assert first.cancelled()
    assert second.cancelled()
    assert len(tasks) == 0
    with pytest.raises(RuntimeError, match="pool is closed"):
        tasks.spawn(forever(), name="late")


async def test_close_waits_for_a_task_that_cleans_up() -> None:
    tasks = TaskSet("pool")
    cleaned = []

    async def careful() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    tasks.spawn(careful(), name="careful")
    await asyncio.sleep(0)
    await tasks.close()
    assert cleaned == [True]


async def test_a_failing_task_is_logged_with_its_name_and_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = TaskSet("pool")

    async def fail() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR, logger="kcpctl"):
        other = tasks.spawn(forever(), name="other")
        await asyncio.wait([tasks.spawn(fail(), name="bad")])
        await asyncio.sleep(0)
    assert not other.done()
    assert caplog.records[0].__dict__["fields"] == {"task": "pool/bad"}
    await tasks.close()


async def test_gather_all_keeps_the_order() -> None:
    async def value(number: int) -> int:
        await asyncio.sleep(0)
        return number

    assert await gather_all(value(1), value(2), value(3)) == [1, 2, 3]
