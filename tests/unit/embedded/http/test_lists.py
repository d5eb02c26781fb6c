from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kcpctl.embedded.http.lists import ListPage, Selection, list_page
from kcpctl.embedded.http.request import parse_path
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError
from kcpctl.testing.clock import FakeClock


class Lister:
    def __init__(self, registry: Registry, clock: FakeClock) -> None:
        self.registry = registry
        self.clock = clock
        self.info = registry.info("root", "", "v1", "configmaps")

    def add(self, *names: str, **labels: str) -> None:
        for name in names:
            body = {"metadata": {"name": name, "labels": labels}}
            self.registry.create(self.info, "root", "default", body)

    async def page(
        self, path: str = "/api/v1/namespaces/default/configmaps", **query: Any
    ) -> ListPage:
        values = {key.rstrip("_"): [str(value)] for key, value in query.items()}
        request = parse_path("GET", path, values)
        selection = Selection.of(request, self.info, "root")
        return await list_page(self.registry, self.info, request, selection, self.clock)

    async def names(self, **query: Any) -> list[str]:
        return names(await self.page(**query))

    async def refused(self, **query: Any) -> StatusError:
        with pytest.raises(StatusError) as caught:
            await self.page(**query)
        return caught.value


def names(page: ListPage) -> list[str]:
    return [stored.obj["metadata"]["name"] for stored in page.items]


@pytest.fixture
def lister(plain: Registry, clock: FakeClock) -> Lister:
    return Lister(plain, clock)


async def test_pages_go_on_where_the_last_one_ended_at_the_same_version(lister: Lister) -> None:
    lister.add("c0", "c1", "c2", "c3", "c4")
    first = await lister.page(limit=2)
    assert names(first) == ["c0", "c1"]
    assert first.metadata["remainingItemCount"] == 3
    lister.add("c1new")
    second = await lister.page(limit=2, continue_=first.metadata["continue"])
    assert names(second) == ["c2", "c3"]
    assert second.metadata["resourceVersion"] == first.metadata["resourceVersion"]
    last = await lister.page(limit=2, continue_=second.metadata["continue"])
    assert names(last) == ["c4"]
    assert "continue" not in last.metadata


async def test_selectors_leave_the_count_out(lister: Lister) -> None:
    lister.add("a", "b", "c", x="1")
    page = await lister.page(limit=2, labelSelector="x=1")
    assert names(page) == ["a", "b"]
    assert "remainingItemCount" not in page.metadata
    assert page.metadata["continue"]


async def test_version_zero_ignores_the_limit(lister: Lister) -> None:
    lister.add("a", "b")
    assert await lister.names(limit=1, resourceVersion=0) == ["a", "b"]


@pytest.mark.parametrize("limit", [-1, 0])
async def test_limits_below_one_are_none(lister: Lister, limit: int) -> None:
    lister.add("a", "b")
    assert await lister.names(limit=limit) == ["a", "b"]


async def test_exact_lists_an_older_state(lister: Lister) -> None:
    lister.add("a")
    version = lister.registry.store.revision
    lister.add("b")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert await lister.names(**exact) == ["a"]
    assert await lister.names(resourceVersion=version) == ["a", "b"]
    assert await lister.names(resourceVersion=version, limit=5) == ["a"]


async def test_an_expired_token_is_410_with_one_that_works(lister: Lister) -> None:
    lister.add("a", "b", "c")
    token = (await lister.page(limit=1)).metadata["continue"]
    lister.add("aa")
    lister.registry.store.compact()
    error = await lister.refused(limit=5, continue_=token)
    assert (error.code, error.reason) == (410, "Expired")
    fresh = error.metadata["continue"]
    assert await lister.names(limit=5, continue_=fresh) == ["aa", "b", "c"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (
            "bogus",
            "illegal base64 data at input byte 4",
        ),
        (
            "e30",
            "server does not recognize this encoded version",
        ),
    ],
)
async def test_malformed_tokens(lister: Lister, token: str, message: str) -> None:
    error = await lister.refused(continue_=token)
    assert error.message == f"invalid continue token: continue key is not valid: {message}"


async def test_a_token_excludes_a_version(lister: Lister) -> None:
    lister.add("a", "b")
    token = (await lister.page(limit=1)).metadata["continue"]
    error = await lister.refused(continue_=token, resourceVersion=5)
    assert error.message == "specifying resource version is not allowed when using continue"
    assert await lister.names(continue_=token, resourceVersion=0) == ["b"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"resourceVersionMatch": "Exact"}, "forbidden unless resourceVersion is provided"),
        (
            {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
            'forbidden for resourceVersion "0"',
        ),
        ({"resourceVersion": "1", "resourceVersionMatch": "x"}, "Unsupported value"),
        ({"sendInitialEvents": "true"}, "sendInitialEvents is forbidden for list"),
    ],
)
async def test_impossible_options_are_422(
    lister: Lister, query: dict[str, str], message: str
) -> None:
    error = await lister.refused(**query)
    assert error.code == 422
    assert message in error.message


async def test_a_version_from_the_future_is_waited_for_and_then_504(
    lister: Lister, clock: FakeClock
) -> None:
    ahead = lister.registry.store.revision + 1
    waits = asyncio.ensure_future(lister.page(resourceVersion=ahead))
    await asyncio.sleep(0)
    clock.step(3)
    with pytest.raises(StatusError) as caught:
        await waits
    assert caught.value.code == 504
    waits = asyncio.ensure_future(lister.page(resourceVersion=ahead))
    await asyncio.sleep(0)
    lister.add("a")
    clock.step(3)
    assert names(await waits) == ["a"]


async def test_a_version_that_is_no_number_is_400(lister: Lister) -> None:
    assert (await lister.refused(resourceVersion="abc")).code == 400
