"""The reflector: RF of the client-go behaviours, with decision 15."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import RawEvent
from kcpctl.errors import (
    ApiError,
    ConnectionRefused,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    NotFound,
    ResourceVersionTooLarge,
    ServerTimeout,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import CachedObject, ObjectDecoder
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.informers.reflector import Reflector
from kcpctl.runtime import Backoff, Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import (
    HANG,
    ListRequest,
    ScriptedSource,
    WatchRequest,
    event,
    page,
    raw_object,
)


class Longest(random.Random):
    """Draws the upper end of every jitter, and the shortest watch."""

    def random(self) -> float:
        return 0.0


class Recorder:
    """A sink that notes what it is fed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.versions: list[str] = []

    def bookmark(self, resource_version: str) -> None:
        self.versions.append(resource_version)

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        self.versions.append(resource_version)
        self.calls.append("replace " + ",".join(obj.meta.name for obj in objects))

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        self.versions.append(resource_version)
        self.calls.append(f"{event_type} {obj.meta.name}")


class Rig:
    """A reflector with everything around it scripted."""

    def __init__(self, page_size: int | None = None, options: ReflectorOptions = DEFAULTS) -> None:
        self.clock = FakeClock()
        self.source = ScriptedSource()
        self.sink = Recorder()
        self.metrics = Metrics()
        self.reflector = Reflector(
            self.source,
            ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False),
            self.sink,
            description="configmaps of root",
            clock=self.clock,
            rng=Longest(),
            metrics=InformerMetrics(self.metrics, "", "configmaps", ""),
            page_size=page_size,
            options=options,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert self.source.open_watches == 0
            assert self.clock.sleepers == 0

    async def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        await settle()

    def count(self, name: str, **labels: str) -> float:
        sample = self.metrics.registry.get_sample_value(
            name, {"name": "", "resource": "configmaps", "scope": "", **labels}
        )
        return sample or 0.0


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    # RF-07, in every test: one watch at a time.
    assert rig.source.open_watches == 0


async def test_it_lists_then_watches_from_the_lists_version(rig: Rig) -> None:
    """RF-01, RF-02, RF-09, RF-14, RF-23, RF-24."""
    rig.source.lists.append(page(10, raw_object("a", 3)))
    async with rig.running():
        assert rig.source.requests == [ListRequest("0", 500), WatchRequest("10", 300)]
        assert rig.sink.calls == ["replace a"]
        assert rig.source.open_watches == 1


async def test_watch_timeouts_are_random_between_five_and_ten_minutes() -> None:
    """RF-24."""
    rig = Rig()
    rig.reflector._rng = random.Random(1)
    rig.source.lists.append(page(10))
    rig.source.watches.extend([[event("BOOKMARK", 10)]] * 20)
    async with rig.running():
        for _ in range(20):
            await rig.step(1)
    timeouts = {one.timeout_seconds for one in rig.source.requests if isinstance(one, WatchRequest)}
    assert len(timeouts) > 10
    assert all(300 <= seconds <= 600 for seconds in timeouts)


async def test_events_reach_the_sink_in_order_and_move_the_version(rig: Rig) -> None:
    """RF-34, RF-37."""
    rig.source.lists.append(page(10))
    rig.source.watches.append(
        [
            event("ADDED", raw_object("a", 11)),
            event("MODIFIED", raw_object("a", 12)),
            event("DELETED", raw_object("a", 13)),
            event("BOOKMARK", 20),
            HANG,
        ]
    )
    async with rig.running():
        assert rig.sink.calls == ["replace ", "ADDED a", "MODIFIED a", "DELETED a"]
        assert rig.reflector.resource_version == "20"


async def test_events_that_come_together_are_handled_together(rig: Rig) -> None:
    """RF-34: no other task runs in between."""
    rig.source.lists.append(page(10))
    together = [event("ADDED", raw_object(name, 11 + index)) for index, name in enumerate("abc")]
    rig.source.watches.append([together, HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace ", "ADDED a", "ADDED b", "ADDED c"]
        assert rig.reflector.resource_version == "13"


async def test_an_event_that_is_no_json_ends_the_watch_and_not_the_cycle(rig: Rig) -> None:
    rig.source.lists.append(page(10))
    garbled = RawEvent("ADDED", b'{"metadata":{}')
    rig.source.watches.append([[event("ADDED", raw_object("a", 11)), garbled]])
    async with rig.running():
        assert isinstance(rig.reflector.last_error, TransportError)
        await rig.step(1)
        assert rig.source.watch_versions == ["10", "11"]
        assert rig.source.list_versions == ["0"]


# Lists


@pytest.mark.parametrize("error", [Gone("gone"), Expired("old"), ResourceVersionTooLarge("new")])
async def test_a_list_of_an_unavailable_version_is_repeated_at_once_without_one(
    rig: Rig, error: ApiError
) -> None:
    """RF-10, RF-11: the canonical sequence "0", "10", ""."""
    rig.source.lists.extend([page(10), error, page(30, raw_object("a", 30))])
    rig.source.watches.append([event("BOOKMARK", 10), Gone("gone")])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10", ""]
        assert rig.source.watch_versions == ["10"]
        await rig.step(1)
        assert rig.source.watch_versions == ["10", "30"]
        assert rig.sink.calls == ["replace ", "replace a"]


async def test_the_newest_state_is_asked_for_until_a_list_succeeds(rig: Rig) -> None:
    """RF-13."""
    rig.source.lists.extend(
        [page(10), Gone("x"), InternalError("x"), InternalError("x"), page(20), page(30)]
    )
    rig.source.watches.extend([[Gone("x")], [Gone("x")]])
    async with rig.running():
        for _ in range(8):
            await rig.step(15)
        assert rig.source.list_versions == ["0", "10", "", "", "", "20"]


async def test_a_410_for_the_newest_state_is_an_ordinary_failure(rig: Rig) -> None:
    rig.source.lists.extend([Gone("x"), Gone("x"), page(10)])
    async with rig.running():
        assert rig.source.list_versions == ["0", ""]
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "", ""]
        assert rig.sink.calls == ["replace "]


async def test_a_list_that_is_older_than_what_was_seen_is_asked_for_as_the_newest(rig: Rig) -> None:
    """RF-10, pitfall 7: a server behind a balancer whose cache lags; the newest is believed."""
    rig.source.lists.extend([page(10), page(7, raw_object("ghost", 7)), page(12), page(15)])
    rig.source.watches.extend([[Gone("x")], [Gone("x")]])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10", ""]
        assert rig.sink.calls == ["replace ", "replace "]
        for _ in range(3):
            await rig.step(1)
        assert rig.source.list_versions == ["0", "10", "", "12"]


async def test_the_first_list_may_be_asked_to_be_the_newest_too() -> None:
    """RF-22 mended for those who ask: nothing older than what a process before has seen."""
    rig = Rig(options=ReflectorOptions(newest_first=True))
    rig.source.lists.extend([InternalError("x"), page(10), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        await rig.step(2)
        assert rig.source.list_versions == ["", "", "10"]


async def test_a_version_counts_only_when_the_sink_has_taken_the_state(rig: Rig) -> None:
    """RF-18."""
    rig.source.lists.extend([page(10), page(20)])
    replace, failures = rig.sink.replace, [ZeroDivisionError("bug")]

    def fails_once(objects: list[CachedObject], resource_version: str) -> None:
        assert rig.reflector.resource_version == ""
        if failures:
            raise failures.pop()
        replace(objects, resource_version)

    rig.sink.replace = fails_once  # type: ignore[method-assign]
    async with rig.running():
        assert rig.reflector.resource_version == ""
        assert rig.source.watch_versions == []
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "0"]
        assert rig.reflector.resource_version == "20"


@pytest.mark.parametrize("error", [TransportTimeout("30 s"), ServerTimeout("504")])
async def test_a_whole_list_that_takes_too_long_is_paged_from_then_on(
    rig: Rig, error: Exception
) -> None:
    """Better than RF-15: it would take too long the next time as well."""
    rig.source.lists.extend([page(10), error, page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(1)
        await rig.step(2)
        lists = [one for one in rig.source.requests if isinstance(one, ListRequest)]
        assert lists == [ListRequest("0", 500), ListRequest("10", 0), ListRequest("10", 500)]


async def test_only_whole_lists_that_take_too_long_are_paged(rig: Rig) -> None:
    """RF-15: not after a page that did, nor after a version that is not there yet."""
    rig.source.lists.extend([TransportTimeout("30 s"), page(10)])
    rig.source.lists.extend([ResourceVersionTooLarge("x"), page(20), page(30)])
    rig.source.watches.extend([[Gone("x")], [Gone("x")]])
    async with rig.running():
        for _ in range(5):
            await rig.step(3)
        lists = [one for one in rig.source.requests if isinstance(one, ListRequest)]
        assert lists == [
            ListRequest("0", 500),
            ListRequest("0", 500),
            ListRequest("10", 0),
            ListRequest("", 500),
            ListRequest("20", 0),
        ]


async def test_pages_are_joined_and_the_version_is_the_first_pages(rig: Rig) -> None:
    """RF-14, PG-01."""
    rig.source.lists.extend(
        [
            page(10, raw_object("a", 1), continue_="t1"),
            page(11, raw_object("b", 2), continue_="t2"),
            page(12, raw_object("c", 3)),
        ]
    )
    async with rig.running():
        assert rig.source.requests[:3] == [
            ListRequest("0", 500),
            ListRequest(None, 500, "t1"),
            ListRequest(None, 500, "t2"),
        ]
        assert rig.sink.calls == ["replace a,b,c"]
        assert rig.source.watch_versions == ["10"]


async def test_a_relist_is_not_paged_when_the_server_can_use_its_cache(rig: Rig) -> None:
    """RF-15."""
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.requests[2] == ListRequest("10", 0)


async def test_a_relist_is_paged_when_the_first_list_came_in_pages(rig: Rig) -> None:
    """RF-15."""
    rig.source.lists.extend([page(10, continue_="t"), page(10), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.requests[3] == ListRequest("10", 500)


async def test_a_page_size_that_was_set_is_used_for_every_list() -> None:
    """RF-15."""
    rig = Rig(page_size=7)
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.requests[0] == ListRequest("0", 7)
        assert rig.source.requests[2] == ListRequest("10", 7)


async def test_an_expired_continue_token_leads_to_one_whole_list() -> None:
    """RF-16: the canonical sequence "0", "10", "", "10"."""
    rig = Rig(page_size=2)
    rig.source.lists.extend(
        [
            page(10),
            page(15, raw_object("old", 11), continue_="t"),
            Gone("the token is too old"),
            page(20, raw_object("a", 12), raw_object("b", 20)),
        ]
    )
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10", "", "10"]
        assert [one for one in rig.source.requests if isinstance(one, ListRequest)][3].limit == 0
        assert rig.sink.calls == ["replace ", "replace a,b"]
        assert rig.reflector.resource_version == "20"


async def test_a_failed_list_ends_the_cycle_and_is_told(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-17."""
    rig.source.lists.extend([Forbidden("no list for you"), page(10)])
    async with rig.running():
        assert type(rig.reflector.last_error).__name__ == "Forbidden"
        assert caplog.records[0].getMessage() == "List or watch failed"
        assert rig.sink.calls == []
        await rig.step(0.8)
        assert rig.reflector.last_error is None
        assert rig.sink.calls == ["replace "]
        assert rig.count("reflector_relists_total", cause="error") == 1


async def test_a_kind_that_is_not_served_yet_is_asked_for_again(rig: Rig) -> None:
    """CL-17: with pauses of up to 30 s, for as long as it takes."""
    rig.source.lists.extend([NotFound("no such kind")] * 20 + [page(10)])
    async with rig.running():
        assert len(rig.source.requests) == 1
        for times in range(20):
            await rig.step(29.9)
            assert len(rig.source.requests) >= min(times, 5)
            await rig.step(0.1)
        assert rig.sink.calls == ["replace "]


async def test_a_throttled_list_waits_as_long_as_the_server_says(rig: Rig) -> None:
    rig.source.lists.extend([TooManyRequests("slow", retry_after_seconds=12), page(10)])
    async with rig.running():
        await rig.step(11.9)
        assert rig.sink.calls == []
        await rig.step(0.1)
        assert rig.sink.calls == ["replace "]


async def test_an_object_that_cannot_be_decoded_does_not_keep_the_others_out(rig: Rig) -> None:
    """FIFO-18 fixed."""
    bad = msgspec.Raw(b'{"metadata":{"labels":5}}')
    rig.source.lists.append(page(10, raw_object("a", 1), bad, raw_object("b", 2)))
    async with rig.running():
        assert rig.sink.calls == ["replace a,b"]
        assert rig.count("informer_skipped_objects_total") == 1


async def test_a_long_list_leaves_room_for_other_tasks(rig: Rig) -> None:
    """The I/O loop is shared: decoding stops for breath."""
    breaths = 0

    async def other() -> None:
        nonlocal breaths
        while not rig.sink.calls:
            breaths += 1
            await asyncio.sleep(0)

    rig.source.lists.append(page(10, *[raw_object("a", 1)] * 5000))
    waiting = asyncio.create_task(other())
    async with rig.running():
        await waiting
    assert breaths >= 5


# Back-off


async def test_pauses_between_cycles_double_up_to_thirty_seconds(rig: Rig) -> None:
    """RF-03, decision 15."""
    rig.source.lists.extend([InternalError("x")] * 9)
    async with rig.running():
        for number, pause in enumerate([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30], start=1):
            await rig.step(pause - 0.01)
            assert len(rig.source.list_versions) == number
            await rig.step(0.01)
            assert len(rig.source.list_versions) == number + 1


async def test_pauses_start_over_after_two_good_minutes(rig: Rig) -> None:
    """RF-04."""
    rig.source.lists.extend([InternalError("x")] * 3 + [page(10), page(20)])
    rig.source.watches.append([HANG])
    async with rig.running():
        await rig.step(0.8)
        await rig.step(1.6)
        await rig.step(3.2)
        await rig.step(121)
        assert rig.reflector._failures._backoff.next() == 0.8


async def test_pauses_have_full_jitter() -> None:
    """Decision 15: informers that lost one server do not come back together (pitfall 7)."""
    pauses = set()
    for seed in range(10):
        rig = Rig()
        rig.reflector._failures._backoff._rng = random.Random(seed)
        pauses.add(round(rig.reflector._failures._backoff.next(), 6))
    assert len(pauses) == 10
    assert all(0 < pause <= 0.8 for pause in pauses)


async def test_the_back_off_can_be_another_one() -> None:
    """RF-05."""
    rig = Rig()
    options = ReflectorOptions(backoff=lambda: Backoff(7, 7, clock=rig.clock, rng=Longest()))
    rig = Rig(options=options)
    rig.source.lists.extend([InternalError("x"), page(10)])
    async with rig.running():
        await rig.step(6.9)
        assert rig.source.list_versions == ["0"]
        await rig.step(0.1)
        assert rig.source.list_versions == ["0", "0"]


# Watches


async def test_a_watch_that_ended_is_resumed_without_a_list(rig: Rig) -> None:
    """RF-25."""
    rig.source.lists.append(page(10))
    rig.source.watches.extend([[event("ADDED", raw_object("a", 11))], [HANG]])
    async with rig.running():
        await rig.step(1)
        assert rig.source.list_versions == ["0"]
        assert rig.source.watch_versions == ["10", "11"]


async def test_a_very_short_watch_without_events_leads_to_a_list_after_a_pause(rig: Rig) -> None:
    """RF-26."""
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([])
    async with rig.running():
        assert rig.source.list_versions == ["0"]
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10"]
        assert rig.count("reflector_relists_total", cause="very_short_watch") == 1
        assert rig.count("reflector_short_watches_total") == 1


async def test_watches_that_end_early_with_an_event_are_no_hot_loop(rig: Rig) -> None:
    """RF-27 fixed: at most one watch a second."""
    rig.source.lists.append(page(10))
    rig.source.watches.extend([[event("BOOKMARK", 10)]] * 1000)
    async with rig.running():
        for _ in range(100):
            await rig.step(0.1)
        assert 10 <= len(rig.source.watch_versions) <= 11
        assert rig.source.list_versions == ["0"]


@pytest.mark.parametrize(
    "error", [ConnectionRefused("refused"), TooManyRequests("slow"), TransportError("reset")]
)
async def test_a_watch_that_is_refused_is_tried_again_without_a_list(
    rig: Rig, error: Exception
) -> None:
    """RF-28: five attempts, one list."""
    rig.source.lists.append(page(10))
    rig.source.watches.extend([[error]] * 4 + [[event("ADDED", raw_object("a", 11)), HANG]])
    async with rig.running():
        for pause in [1, 1.6, 3.2, 6.4]:
            await rig.step(pause)
        assert rig.source.watch_versions == ["10"] * 5
        assert rig.source.list_versions == ["0"]
        assert rig.sink.calls == ["replace ", "ADDED a"]


async def test_a_429_inside_the_stream_backs_off_without_a_list(rig: Rig) -> None:
    """RF-29, with the server's Retry-After."""
    rig.source.lists.append(page(10))
    rig.source.watches.append(
        [event("ADDED", raw_object("a", 11)), TooManyRequests("slow", retry_after_seconds=5)]
    )
    async with rig.running():
        await rig.step(4.9)
        assert rig.source.watch_versions == ["10"]
        await rig.step(0.1)
        assert rig.source.watch_versions == ["10", "11"]
        assert rig.source.list_versions == ["0"]


async def test_a_retry_after_of_an_hour_is_capped(rig: Rig) -> None:
    rig.source.lists.append(page(10))
    rig.source.watches.append([TooManyRequests("slow", retry_after_seconds=3600)])
    async with rig.running():
        await rig.step(30)
        assert rig.source.watch_versions == ["10", "10"]


async def test_a_stream_that_breaks_mid_line_is_resumed_without_a_list(rig: Rig) -> None:
    rig.source.lists.append(page(10))
    rig.source.watches.append([event("ADDED", raw_object("a", 11)), TransportError("mid-line")])
    async with rig.running():
        await rig.step(1)
        assert rig.source.watch_versions == ["10", "11"]
        assert rig.source.list_versions == ["0"]


@pytest.mark.parametrize("error", [Gone("x"), Forbidden("x"), InternalError("x"), ApiError("x")])
@pytest.mark.parametrize("events", [[], [event("ADDED", raw_object("a", 11))]])
async def test_any_other_error_of_a_watch_leads_to_a_list(
    rig: Rig, error: Exception, events: list[object]
) -> None:
    """RF-30, RF-31, RF-32, RF-40: the list is at the last version seen, not a quorum read."""
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([*events, error])
    async with rig.running():
        assert rig.source.list_versions == ["0"]
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "11" if events else "10"]
        await rig.step(1)
        assert rig.source.watch_versions[-1] == "20"


async def test_internal_errors_are_watched_on_after_pauses_inside_the_window() -> None:
    """RF-33, with pauses."""
    rig = Rig(options=ReflectorOptions(internal_error_seconds=3))
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.extend([[[], InternalError("x", reason="InternalError")]] * 3)
    async with rig.running():
        await rig.step(0.5)
        assert rig.source.watch_versions == ["10"]
        for pause in [0.5, 1.6]:
            await rig.step(pause)
        assert rig.source.watch_versions == ["10"] * 3
        assert rig.source.list_versions == ["0"]
        await rig.step(3.2)
        assert rig.source.watch_versions == ["10"] * 4
        assert rig.source.list_versions == ["0"]


async def test_the_window_for_internal_errors_ends() -> None:
    """RF-33."""
    rig = Rig(options=ReflectorOptions(internal_error_seconds=2))
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.extend([[[], InternalError("x")]] * 3)
    async with rig.running():
        for pause in [1, 1.6, 3.2]:
            await rig.step(pause)
        assert rig.source.watch_versions[:3] == ["10"] * 3
        assert rig.source.list_versions == ["0", "10"]


@pytest.mark.parametrize(
    "steps",
    [
        [InternalError("not opened")],
        [[], InternalError("corrupt", reason="StoreReadError")],
    ],
)
async def test_the_window_is_for_internal_errors_of_open_watches_only(steps: list[object]) -> None:
    """RF-30, RF-40: an object that became unreadable is told of by no other event."""
    rig = Rig(options=ReflectorOptions(internal_error_seconds=100))
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append(steps)
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10"]


async def test_a_watch_that_breaks_at_the_same_place_leads_to_a_list(rig: Rig) -> None:
    """An event that cannot be read would be in the way for ever."""
    rig.source.lists.extend([page(10), page(20, raw_object("a", 12))])
    poison = RawEvent("ADDED", b'{"metadata":{}')
    rig.source.watches.append([event("ADDED", raw_object("a", 11)), poison])
    rig.source.watches.extend([[poison]] * 4)
    async with rig.running():
        for pause in [1, 1.6, 3.2, 6.4, 12.8]:
            await rig.step(pause)
        assert rig.source.watch_versions[:5] == ["10", "11", "11", "11", "11"]
        assert rig.source.list_versions == ["0", "11"]
        assert rig.reflector.resource_version == "20"


async def test_breaks_with_news_in_between_are_none_in_a_row(rig: Rig) -> None:
    """RF-28."""
    rig.source.lists.append(page(10))
    for version in range(11, 21):
        rig.source.watches.append([event("ADDED", raw_object("a", version)), TransportError("cut")])
    async with rig.running():
        for _ in range(20):
            await rig.step(30)
        assert rig.source.list_versions == ["0"]
        assert rig.reflector.resource_version == "20"


async def test_an_event_that_the_sink_cannot_take_keeps_no_other_away(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-35, FIFO-32: reported, and its version is taken."""
    rig.source.lists.append(page(10))
    apply = rig.sink.apply

    def fails(event_type: str, obj: CachedObject, resource_version: str) -> None:
        if obj.meta.name == "a":
            raise ZeroDivisionError("bug")
        apply(event_type, obj, resource_version)

    rig.sink.apply = fails  # type: ignore[method-assign]
    events = [event("ADDED", raw_object("b", 11)), event("ADDED", raw_object("a", 12))]
    rig.source.watches.append([events, HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace ", "ADDED b"]
        assert rig.reflector.resource_version == "12"
        assert rig.source.open_watches == 1
        assert [one.getMessage() for one in caplog.records] == ["Event not stored"]
        assert rig.count("informer_store_errors_total") == 1


async def test_an_add_that_comes_again_after_the_deletion_does_not_bring_the_object_back(
    rig: Rig,
) -> None:
    """Pitfall 7: neither one of this watch, nor one of before the list."""
    rig.source.lists.append(page(10))
    rig.source.watches.append(
        [
            event("ADDED", raw_object("a", 11)),
            event("DELETED", raw_object("a", 13)),
            event("ADDED", raw_object("a", 11)),
            event("MODIFIED", raw_object("a", 12)),
            event("MODIFIED", raw_object("before", 9)),
            event("ADDED", raw_object("a", 12, uid="another")),
            HANG,
        ]
    )
    async with rig.running():
        assert rig.sink.calls == ["replace ", "ADDED a", "DELETED a", "ADDED a"]
        assert rig.reflector.resource_version == "13"


@pytest.mark.parametrize(
    "bad",
    [
        event("ADDED", raw_object("wrong", 99, kind="Secret")),
        event("ADDED", raw_object("table", 99, kind="Table")),
        event("ADDED", msgspec.Raw(b'{"kind":"ConfigMap"}')),
        event("BOOKMARK", msgspec.Raw(b"{}")),
        event("RENAMED", raw_object("a", 99)),
    ],
)
async def test_an_event_that_cannot_be_used_is_reported_and_skipped(
    rig: Rig, bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-21, RF-36: its version is not taken."""
    rig.source.lists.append(page(10))
    rig.source.watches.append([bad, HANG])
    async with rig.running():
        assert rig.reflector.resource_version == "10"
        assert rig.sink.calls == ["replace "]
        assert rig.count("informer_skipped_objects_total") == 1
        assert "Object skipped" in caplog.text


@pytest.mark.parametrize("version", ["", "0"])
async def test_no_version_is_taken_from_synthetic_adds(rig: Rig, version: str) -> None:
    """RF-39; such a watch is not resumed: what was deleted meanwhile would stay for ever."""
    rig.source.lists.extend([page(version), page(version)])
    rig.source.watches.append(
        [
            event("ADDED", raw_object("b", 20)),
            event("ADDED", raw_object("a", 5)),
            TransportError("cut"),
        ]
    )
    rig.source.watches.append(
        [
            event("ADDED", raw_object("b", 20)),
            event("MODIFIED", raw_object("a", 21)),
            event("ADDED", raw_object("c", 22)),
            HANG,
        ]
    )
    async with rig.running():
        assert rig.reflector.resource_version == version
        assert rig.sink.versions == [version] * 3
        await rig.step(1)
        assert rig.source.list_versions == ["0", "0"]
        assert rig.source.watch_versions == [version, version]
        assert rig.reflector.resource_version == "22"


async def test_a_watch_without_a_version_that_ends_in_order_is_not_resumed_either(rig: Rig) -> None:
    """RF-39."""
    rig.source.lists.extend([page(""), page("")])
    rig.source.watches.append([event("ADDED", raw_object("a", 5))])
    async with rig.running():
        await rig.step(1)
        assert rig.source.list_versions == ["0", "0"]


async def test_a_deletion_with_the_version_of_its_object_is_one(rig: Rig) -> None:
    """RF-34: servers of long ago, and some of today, do not give deletions one of their own."""
    rig.source.lists.append(page(10, raw_object("a", 7)))
    events = [event("MODIFIED", raw_object("b", 12)), event("DELETED", raw_object("a", 7))]
    rig.source.watches.append([*events, HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace a", "MODIFIED b", "DELETED a"]
        assert rig.reflector.resource_version == "12"


async def test_an_old_event_does_not_move_the_version_back(rig: Rig) -> None:
    """Pitfall 7."""
    rig.source.lists.append(page(10))
    rig.source.watches.append([event("MODIFIED", raw_object("a", 7)), HANG])
    async with rig.running():
        assert rig.reflector.resource_version == "10"


async def test_a_bookmark_from_the_past_leads_to_a_list(rig: Rig) -> None:
    """Pitfall 7: a server that was reset is not watched on as if nothing had happened."""
    rig.source.lists.extend([page(10), ResourceVersionTooLarge("x"), page(5, raw_object("a", 4))])
    rig.source.watches.append([event("BOOKMARK", 3), HANG])
    async with rig.running():
        await rig.step(0.8)
        assert rig.source.list_versions == ["0", "10", ""]
        assert rig.reflector.resource_version == "5"


# Dead connections


async def test_a_watch_that_outlives_its_time_is_cut_and_resumed(rig: Rig) -> None:
    """RF-41 fixed, pitfall 8: 300 s were asked for, 30 s is the grace."""
    rig.source.lists.append(page(10))
    async with rig.running():
        for _ in range(11):
            await rig.step(29.99)
        assert rig.source.watch_versions == ["10"]
        await rig.step(1)
        await rig.step(0.8)
        assert rig.source.watch_versions == ["10", "10"]
        assert rig.source.list_versions == ["0"]


async def test_a_watch_that_showed_a_bookmark_and_went_silent_is_cut(rig: Rig) -> None:
    """Pitfall 8: about three minutes without a sign of life."""
    rig.source.lists.append(page(10))
    rig.source.watches.append([event("BOOKMARK", 15), HANG])
    async with rig.running():
        for _ in range(17):
            await rig.step(10)
        assert rig.source.watch_versions == ["10"]
        assert rig.reflector.silence_seconds == 170
        for _ in range(6):
            await rig.step(10)
        assert rig.source.watch_versions == ["10", "15"]


async def test_a_silent_watch_without_bookmarks_is_left_alone(rig: Rig) -> None:
    """Pitfall 8: some servers send none."""
    rig.source.lists.append(page(10))
    rig.source.watches.append([event("ADDED", raw_object("a", 11)), HANG])
    async with rig.running():
        for _ in range(29):
            await rig.step(10)
        assert rig.source.watch_versions == ["10"]


# The end, and what is told


async def test_cancelling_during_a_list_a_pause_or_a_watch_ends_at_once() -> None:
    """RF-06; the rig checks that nothing is left open."""
    for lists in ([], [InternalError("x")], [page(10)]):
        rig = Rig()
        rig.source.lists.extend(lists)
        async with rig.running():
            assert rig.source.requests


async def test_a_failure_is_told_once_and_so_is_the_recovery(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rig.source.lists.extend([ConnectionRefused("refused")] * 4 + [page(10)])
    async with rig.running():
        for pause in [0.8, 1.6, 3.2, 6.4]:
            await rig.step(pause)
        assert [record.getMessage() for record in caplog.records] == [
            "List or watch failed",
            "List and watch work again",
        ]


async def test_a_server_that_answers_and_breaks_off_has_not_recovered(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rig.source.lists.append(page(10))
    rig.source.watches.extend([[[], TransportError("cut")]] * 3)
    async with rig.running():
        for pause in [1, 1.6]:
            await rig.step(pause)
        assert [one.getMessage() for one in caplog.records] == ["List or watch failed"]


async def test_an_expired_watch_is_nobodys_trouble(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-08."""
    caplog.set_level("INFO")
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([Gone("x")])
    async with rig.running():
        await rig.step(0.8)
        assert not caplog.records
        assert rig.count("reflector_relists_total", cause="expired") == 1


async def test_failures_can_be_told_to_somebody_else(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-08: every one of them, in place of the log; what that raises hurts nobody."""
    caplog.set_level("INFO")
    told: list[Exception] = []

    def tell(error: Exception) -> None:
        told.append(error)
        if len(told) == 1:
            raise ZeroDivisionError("bug")

    rig = Rig(options=ReflectorOptions(on_error=tell))
    rig.source.lists.extend([Forbidden("no"), Forbidden("no"), page(10), page(20)])
    rig.source.watches.extend([[Gone("old")]])
    async with rig.running():
        for pause in [0.8, 1.6, 3.2]:
            await rig.step(pause)
        assert [type(one) for one in told] == [Forbidden, Forbidden, Gone]
        assert rig.reflector.last_error is None
        assert [one.getMessage() for one in caplog.records] == ["Error handler failed"]


async def test_a_bug_is_told_with_its_traceback_and_survived(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """RF-19."""
    rig.source.lists.extend([ZeroDivisionError("bug"), page(10)])
    async with rig.running():
        assert caplog.records[0].exc_info is not None
        await rig.step(0.8)
        assert rig.sink.calls == ["replace "]
