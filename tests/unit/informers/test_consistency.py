"""The check of streamed states against lists."""

from __future__ import annotations

import asyncio

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import RawPage
from kcpctl.errors import Gone, InternalError
from kcpctl.informers.consistency import StreamInconsistent, check_state
from kcpctl.informers.failing import default_backoff
from kcpctl.informers.objects import CachedObject, ObjectDecoder
from kcpctl.runtime import SYSTEM_RANDOM
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import page, raw_object

DECODER = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)


class Lister:
    """Answers exact lists as a script says."""

    def __init__(self, *answers: RawPage | Exception) -> None:
        self._answers = list(answers)
        self.versions: list[str] = []

    async def list_exactly(self, resource_version: str) -> RawPage:
        self.versions.append(resource_version)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def state(*objects: tuple[str, int]) -> list[CachedObject]:
    return [DECODER.decode(raw_object(name, version)) for name, version in objects]


async def check(lister: Lister, objects: list[CachedObject]) -> None:
    clock = FakeClock()
    checking = asyncio.create_task(
        check_state(
            lister,
            DECODER,
            objects,
            "10",
            description="configmaps of root",
            clock=clock,
            backoff=default_backoff(clock, SYSTEM_RANDOM),
        )
    )
    while not checking.done():
        await asyncio.sleep(0)
        clock.step(30)
    await checking


async def test_the_same_in_another_order_is_the_same() -> None:
    """WL-13."""
    lister = Lister(page(10, raw_object("b", 2), raw_object("a", 1)))
    await check(lister, state(("a", 1), ("b", 2)))
    assert lister.versions == ["10"]


@pytest.mark.parametrize("listed", [[("a", 1)], [("a", 1), ("b", 3)], [("a", 1), ("c", 2)]])
async def test_a_difference_names_the_objects(listed: list[tuple[str, int]]) -> None:
    """WL-13."""
    lister = Lister(page(10, *[raw_object(name, version) for name, version in listed]))
    with pytest.raises(StreamInconsistent, match=r"version 10 in .*root\|default/b") as caught:
        await check(lister, state(("a", 1), ("b", 2)))
    assert "default/a" not in str(caught.value)


async def test_a_list_that_fails_is_tried_again() -> None:
    """WL-13."""
    lister = Lister(InternalError("x"), InternalError("x"), page(10))
    with pytest.raises(StreamInconsistent):
        await check(lister, state(("a", 1)))
    assert len(lister.versions) == 3


@pytest.mark.parametrize(("error", "tries"), [(Gone("compacted"), 1), (InternalError("x"), 5)])
async def test_what_cannot_be_listed_is_not_checked(
    error: Exception, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """WL-13."""
    lister = Lister(*[error] * 5)
    await check(lister, state(("a", 1)))
    assert len(lister.versions) == tries
    assert [one.getMessage() for one in caplog.records] == ["Streamed state not checked"]
