from __future__ import annotations

import msgspec
import pytest

from kcpctl.client.objects import RawPage, decode_page
from kcpctl.client.paging import each_page, list_all
from kcpctl.errors import Expired, TransportError


def page(*names: str, rv: str = "7", token: str = "") -> RawPage:
    return RawPage([msgspec.Raw(name.encode()) for name in names], rv, token)


class Pages:
    """Answers by token, and what was asked."""

    def __init__(self, answers: dict[str, RawPage | Exception]) -> None:
        self._answers = answers
        self.asked: list[tuple[int, str]] = []

    async def __call__(self, limit: int, token: str) -> RawPage:
        self.asked.append((limit, token))
        answer = self._answers[token if limit else "full"]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def names(pages: Pages, limit: int = 2) -> tuple[list[str], str]:
    items, version = await list_all(pages, limit)
    return [bytes(item).decode() for item in items], version


async def test_pages_are_merged_at_the_version_of_the_first_pg_01() -> None:
    """PG-01."""
    pages = Pages({"": page("a", "b", token="t"), "t": page("c", rv="9")})
    assert await names(pages) == (["a", "b", "c"], "7")
    assert pages.asked == [(2, ""), (2, "t")]


async def test_an_expired_token_gives_one_full_list_pg_02() -> None:
    """PG-02."""
    pages = Pages(
        {
            "": page("a", token="t"),
            "t": Expired("too old"),
            "full": page("a", "b", rv="9"),
        }
    )
    assert await names(pages) == (["a", "b"], "9")
    assert pages.asked[-1] == (0, "")


async def test_a_first_page_that_has_expired_is_an_error() -> None:
    with pytest.raises(Expired):
        await names(Pages({"": Expired("too old")}))


async def test_no_limit_is_one_request_pg_04() -> None:
    """PG-04."""
    pages = Pages({"full": page("a", "b", "c")})
    await names(pages, limit=0)
    assert pages.asked == [(0, "")]


def test_a_page_says_what_its_items_are() -> None:
    found = decode_page(
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5","continue":"t",'
        b'"remainingItemCount":3},"items":[{"metadata":{"name":"a"}}]}'
    )
    assert (found.item_kind, found.item_api_version) == ("Pod", "v1")
    assert (found.resource_version, found.continue_) == ("5", "t")
    assert bytes(found.items[0]) == b'{"metadata":{"name":"a"}}'


def test_null_items_are_none() -> None:
    assert decode_page(b'{"kind":"PodList","apiVersion":"v1","items":null}').items == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"kind":"Pod"}', b"", b'{"items":5}'])
def test_what_is_no_list_is_an_error(body: bytes) -> None:
    with pytest.raises(TransportError, match="the answer is not a list"):
        decode_page(body)


async def test_pages_are_asked_for_one_by_one_as_they_are_read() -> None:
    """PG-03: a reader that stops has not asked for the rest."""
    pages = Pages({"": page("a", "b", token="t"), "t": page("c", token="u"), "u": page("d")})
    reading = each_page(pages, 2)
    assert [bytes(item) for item in await anext(reading)] == [b"a", b"b"]
    assert pages.asked == [(2, "")]
    assert [bytes(item) for item in await anext(reading)] == [b"c"]
    await reading.aclose()
    assert pages.asked == [(2, ""), (2, "t")]


async def test_reading_page_by_page_ends_with_the_last() -> None:
    """PG-03, PG-04."""
    pages = Pages({"": page("a", token="t"), "t": page(), "full": page("a", "b")})
    assert [len(items) async for items in each_page(pages, 2)] == [1, 0]
    assert [len(items) async for items in each_page(pages, 0)] == [2]
    assert pages.asked[-1] == (0, "")


async def test_a_token_that_expires_on_the_way_ends_the_reading() -> None:
    """PG-03: what was yielded is not yielded again."""
    pages = Pages({"": page("a", token="t"), "t": Expired("too old"), "full": page("a", "b")})
    reading = each_page(pages, 2)
    await anext(reading)
    with pytest.raises(Expired):
        await anext(reading)


async def test_a_list_without_end_is_given_up() -> None:
    pages = Pages({"": page("a", token="t"), "t": page(token="t")})
    with pytest.raises(TransportError, match="does not end after 10000 pages"):
        await names(pages)
    assert len(pages.asked) == 10_000
