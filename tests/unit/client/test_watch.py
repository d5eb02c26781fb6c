from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.client.objects import RawEvent, cut_event
from kcpctl.client.watch import LineSplitter, batches, events
from kcpctl.errors import ApiError, Expired, TransportError


def line(type_: str, name: str = "a") -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": {"name": name}}}).encode() + b"\n"


class Chunks:
    """Chunks of a stream that remember whether they were closed."""

    def __init__(self, chunks: Sequence[bytes], error: Exception | None = None) -> None:
        self._chunks = chunks
        self._error = error
        self.closed = False

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in self._chunks:
                yield chunk
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


async def read(*chunks: bytes, error: Exception | None = None) -> list[RawEvent]:
    return [event async for event in events(Chunks(chunks, error).stream(), "the watch")]


async def test_a_watch_that_is_cut_in_a_line_says_so() -> None:
    with pytest.raises(TransportError, match="ended mid-line, 12 bytes into an event"):
        await read(line("ADDED"), line("ADDED")[:12])


async def test_a_connection_lost_in_a_line_says_both() -> None:
    with pytest.raises(TransportError, match=r"ended mid-line.*: reset"):
        await read(line("ADDED")[:12], error=TransportError("reset"))


async def test_a_connection_lost_between_lines_is_that_error() -> None:
    with pytest.raises(TransportError, match=r"^reset$"):
        await read(line("ADDED"), error=TransportError("reset"))


async def test_a_line_that_is_not_an_event_is_shown() -> None:
    with pytest.raises(TransportError, match="not an event: <html>bad gateway"):
        await read(b"<html>bad gateway\n")


async def test_an_error_event_is_raised_as_its_status_says() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    data = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    with pytest.raises(Expired, match="too old"):
        await read(line("ADDED"), data)


async def test_an_error_event_without_a_status_is_an_api_error() -> None:
    with pytest.raises(ApiError, match="not a Status: 5"):
        await read(b'{"type":"ERROR","object":5}\n')


async def test_events_before_a_fault_are_delivered() -> None:
    iterator = events(Chunks([line("ADDED"), b"{"]).stream(), "the watch")
    assert (await anext(iterator)).type == "ADDED"
    with pytest.raises(TransportError):
        await anext(iterator)


async def test_blank_lines_are_dropped() -> None:
    blank = [b"\n", b"\r\n\n", b" ", b"\t\n", b"  \n"]
    assert len(await read(*blank, line("ADDED"), *blank, b" " + line("MODIFIED"), *blank)) == 2


async def test_bookmarks_are_passed_on() -> None:
    assert [event.type for event in await read(line("BOOKMARK"))] == ["BOOKMARK"]


async def test_a_last_line_without_its_end_counts_when_it_is_whole() -> None:
    assert len(await read(line("ADDED").rstrip())) == 1


async def test_the_object_stays_as_bytes() -> None:
    (event,) = await read(line("ADDED"))
    assert bytes(event.object) == b'{"metadata": {"name": "a"}}'


async def test_a_line_of_several_mebibytes_is_one_event() -> None:
    big = line("ADDED", "x" * 5_000_000)
    pieces = [big[start : start + 16_384] for start in range(0, len(big), 16_384)]
    (event,) = await read(*pieces)
    assert len(bytes(event.object)) > 5_000_000


async def test_closing_the_iterator_closes_the_stream() -> None:
    chunks = Chunks([line("ADDED"), line("ADDED")])
    async with aclosing(events(chunks.stream(), "the watch")) as iterator:
        await anext(iterator)
        assert not chunks.closed
    assert chunks.closed


async def test_a_fault_closes_the_stream() -> None:
    chunks = Chunks([b"garbage\n", line("ADDED")])
    with pytest.raises(TransportError):
        await anext(events(chunks.stream(), "the watch"))
    assert chunks.closed


@given(st.lists(st.binary().filter(bytes.strip)), st.data())
def test_lines_do_not_depend_on_where_chunks_end(parts: list[bytes], data: st.DataObject) -> None:
    given_lines = [one for part in parts for one in part.split(b"\n")]
    lines = [one.strip() for one in given_lines if one.strip()]
    whole = b"".join(one + b"\n" for one in given_lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    splitter = LineSplitter()
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        got += [chunk[first:last] for chunk, first, last in splitter.feed(whole[start:end])]
    assert got == lines
    assert splitter.rest() == b""


def compact(type_: str, obj: object) -> bytes:
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode()


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "NEW"]),
    st.dictionaries(st.text(max_size=5), TREES),
)
def test_an_event_that_is_cut_is_the_one_that_is_decoded(type_: str, obj: dict[str, Any]) -> None:
    line = compact(type_, obj)
    event = cut_event(b"x" + line + b"x", 1, 1 + len(line))
    if type_ == "NEW":
        assert event is None
        return
    assert event is not None
    assert event.type == type_
    assert json.loads(bytes(event.object)) == obj


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ADDED","object":{"a":{}}',
        b'{"type":"ADDED","object":{"a":1},"more":{}}',
        b'{"type":"ADDED","object":{"a":1}}}',
    ],
)
def test_what_is_cut_out_of_another_line_is_no_json(line: bytes) -> None:
    event = cut_event(line, 0, len(line))
    assert event is not None
    with pytest.raises(json.JSONDecodeError):
        json.loads(bytes(event.object))


async def test_what_came_together_is_read_together() -> None:
    chunks = Chunks([line("ADDED") + line("MODIFIED") + line("DELETED")[:9], line("DELETED")[9:]])
    found = [len(batch) async for batch in batches(chunks.stream(), "the watch")]
    assert found == [2, 1]


async def test_events_before_a_fault_in_the_same_chunk_are_delivered() -> None:
    iterator = batches(Chunks([line("ADDED") + b"garbage\n"]).stream(), "the watch")
    assert len(await anext(iterator)) == 1
    with pytest.raises(TransportError, match="garbage"):
        await anext(iterator)


async def test_that_the_server_has_begun_to_answer_is_a_batch_of_nothing() -> None:
    chunks = Chunks([b"", b"\n", line("ADDED"), b""])
    assert [len(batch) async for batch in batches(chunks.stream(), "the watch")] == [0, 1, 0]


async def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    """No object is that large; a server that goes on must not be believed."""
    piece = b"x" * (8 * 1024 * 1024)
    with pytest.raises(TransportError, match="no line is longer than 33554432 bytes"):
        await read(*[piece] * 5)
    splitter = LineSplitter()
    for _ in range(10):
        assert len(splitter.feed(piece[:-1] + b"\n")) == 1


def held_by(error: BaseException | None) -> int:
    """Return how many bytes of a stream an error keeps, by the frames of its tracebacks."""
    size = 0
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            for value in trace.tb_frame.f_locals.values():
                pieces = value._parts if isinstance(value, LineSplitter) else [value]
                size += sum(len(one) for one in pieces if isinstance(one, bytes))
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return size


@pytest.mark.parametrize("pieces", [100, 1000])
async def test_whoever_keeps_the_error_does_not_keep_the_line(pieces: int) -> None:
    """An informer keeps its last one for as long as it fails."""
    piece = b"x" * (64 * 1024)
    with pytest.raises(TransportError) as caught:
        await read(*[piece] * pieces)
    assert held_by(caught.value) <= 4 * len(piece)
