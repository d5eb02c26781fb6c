"""Full states as streams: WL of the client-go behaviours, and pitfall 6."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawEvent, Transport
from kcpctl.errors import (
    BadRequest,
    ConnectionRefused,
    Expired,
    Gone,
    InternalError,
    Invalid,
    ResourceVersionTooLarge,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)
from kcpctl.informers.initial import InitialStates
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import CachedObject, ObjectDecoder, Transform
from kcpctl.informers.options import DEFAULTS, ReflectorOptions
from kcpctl.informers.reflector import Reflector
from kcpctl.informers.source import ClientSource, StateStreamer, StreamingClientSource
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import (
    HANG,
    ScriptedSource,
    StreamingSource,
    end_of_state,
    event,
    page,
    raw_object,
)


class Recorder:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.versions: list[str] = []

    def bookmark(self, resource_version: str) -> None:
        self.versions.append(resource_version)

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        self.versions.append(resource_version)
        self.calls.append("replace " + ",".join(obj.key for obj in objects))

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        self.versions.append(resource_version)
        self.calls.append(f"{event_type} {obj.key}")


class Rig:
    def __init__(
        self,
        states: InitialStates | None = None,
        *,
        multi: bool = False,
        transform: Transform | None = None,
        options: ReflectorOptions = DEFAULTS,
    ) -> None:
        self.clock = FakeClock()
        self.source = StreamingSource()
        self.sink = Recorder()
        self.states = states or InitialStates()
        self.metrics = Metrics()
        rng = random.Random(1)
        rng.random = lambda: 0.0  # type: ignore[method-assign] # the longest of each pause
        self.reflector = Reflector(
            self.source,
            ObjectDecoder(
                CONFIG_MAPS,
                cluster="*" if multi else "root",
                multi_cluster=multi,
                transform=transform,
            ),
            self.sink,
            description="configmaps of root",
            clock=self.clock,
            rng=rng,
            metrics=InformerMetrics(self.metrics, "", "configmaps", ""),
            initial_states=self.states,
            server="https://one",
            resource="configmaps",
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

    def count(self, name: str) -> float:
        labels = {"name": "", "resource": "configmaps", "scope": ""}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


A = event("ADDED", raw_object("a", 5))
B = event("ADDED", raw_object("b", 3))


async def test_the_state_comes_by_one_stream_which_is_then_the_watch(rig: Rig) -> None:
    """WL-01, WL-02, WL-04."""
    rig.source.streams.append([A, B, end_of_state(10), event("ADDED", raw_object("c", 11)), HANG])
    async with rig.running():
        assert rig.sink.calls == [
            "replace root|default/a,root|default/b",
            "ADDED root|default/c",
        ]
        assert rig.source.stream_versions == [""]
        assert rig.source.requests == []
        assert rig.source.open_watches == 1
        assert rig.reflector.resource_version == "11"
        assert rig.reflector.streamed
        assert rig.count("reflector_watchlists_total") == 1


async def test_state_end_and_changes_may_come_in_one_piece(rig: Rig) -> None:
    together = [A, end_of_state(10), event("DELETED", raw_object("a", 11))]
    rig.source.streams.append([together, HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace root|default/a", "DELETED root|default/a"]


async def test_nothing_is_replaced_before_the_end_of_the_state(rig: Rig) -> None:
    """WL-02, WL-03: neither by a plain bookmark nor by another value of the annotation."""
    other = raw_object("", 9, metadata={"annotations": {"k8s.io/initial-events-end": "false"}})
    rig.source.streams.append([A, event("BOOKMARK", 8), RawEvent("BOOKMARK", other), HANG])
    async with rig.running():
        assert rig.sink.calls == []
        assert rig.reflector.resource_version == ""


async def test_changes_before_the_end_are_part_of_the_state(rig: Rig) -> None:
    """WL-05; an old event that comes again changes nothing."""
    changes = [
        event("MODIFIED", raw_object("a", 7)),
        event("DELETED", raw_object("a", 6)),
        event("DELETED", raw_object("b", 8)),
    ]
    rig.source.streams.append([A, B, *changes, end_of_state(10), HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace root|default/a"]


async def test_objects_of_one_name_in_two_clusters_do_not_overwrite_each_other() -> None:
    """WL-15, KCP-11."""
    rig = Rig(multi=True)
    one, two = (event("ADDED", raw_object("a", 5, cluster=name)) for name in ("one", "two"))
    rig.source.streams.append([one, two, end_of_state(10), HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace one|default/a,two|default/a"]


async def test_a_stream_that_ends_too_early_is_begun_again_with_nothing(rig: Rig) -> None:
    """WL-06."""
    rig.source.streams.extend([[A], [B, end_of_state(10), HANG]])
    async with rig.running():
        await rig.step(1)
        assert rig.sink.calls == ["replace root|default/b"]
        assert rig.source.stream_versions == ["", ""]
        assert rig.source.list_versions == []


@pytest.mark.parametrize("ending", [[A], [A, TransportError("cut")]])
async def test_when_streams_keep_ending_too_early_the_state_is_listed(
    rig: Rig, ending: list[object]
) -> None:
    """Better than WL-06: a proxy that cuts every stream keeps nobody from the state."""
    rig.source.streams.extend([ending, ending])
    rig.source.lists.append(page(10))
    async with rig.running():
        await rig.step(1)
        await rig.step(2)
        assert rig.source.stream_versions == ["", ""]
        assert rig.source.list_versions == ["0"]
        assert rig.sink.calls == ["replace "]


@pytest.mark.parametrize("error", [ConnectionRefused("refused"), TooManyRequests("slow")])
async def test_a_refused_stream_is_tried_again_as_a_stream(rig: Rig, error: Exception) -> None:
    """WL-07."""
    rig.source.streams.extend([[error]] * 4 + [[end_of_state(10), HANG]])
    async with rig.running():
        for pause in [1, 1.6, 3.2, 6.4]:
            await rig.step(pause)
        assert rig.source.stream_versions == [""] * 5
        assert rig.source.list_versions == []
        assert rig.sink.calls == ["replace "]
        assert rig.reflector.last_error is None


@pytest.mark.parametrize("error", [Gone("x"), Expired("x"), ResourceVersionTooLarge("x")])
async def test_a_stream_of_an_unavailable_version_is_asked_for_without_one(
    rig: Rig, error: Exception
) -> None:
    """WL-07, RF-10, RF-13: "", "10", ""."""
    rig.source.streams.extend(
        [[end_of_state(10), Gone("old")], [error], [A, end_of_state(20), Gone("old")], [HANG]]
    )
    async with rig.running():
        await rig.step(1)
        await rig.step(1)
        assert rig.sink.calls == ["replace ", "replace root|default/a"]
        await rig.step(2)
        assert rig.source.stream_versions == ["", "10", "", "20"]


@pytest.mark.parametrize("error", [BadRequest("what?"), Invalid("no such parameter")])
async def test_a_server_without_streams_is_listed_in_this_cycle_and_asked_again_in_the_next(
    rig: Rig, error: Exception
) -> None:
    """WL-08."""
    rig.source.streams.extend([[error], [end_of_state(20), HANG]])
    rig.source.lists.append(page(10))
    rig.source.watches.append([Gone("old")])
    async with rig.running():
        assert rig.source.list_versions == ["0"]
        assert rig.sink.calls == ["replace "]
        assert not rig.reflector.streamed
        await rig.step(1)
        await rig.step(1)
        assert rig.source.stream_versions == ["", "10"]
        assert rig.reflector.streamed


async def test_a_state_without_its_end_is_listed_after_thirty_quiet_seconds_for_good(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """WL-09 fixed, pitfall 6: and other informers of the same server and resource know."""
    rig.source.streams.append([A, event("BOOKMARK", 8), HANG])
    rig.source.lists.extend([page(10), page(20)])
    rig.source.watches.append([HANG])
    async with rig.running():
        await rig.step(29.9)
        assert rig.source.list_versions == []
        await rig.step(0.1)
        assert rig.source.list_versions == ["0"]
        assert rig.source.open_watches == 1
        assert [one.getMessage() for one in caplog.records] == [
            "The end of a streamed state does not come; states are listed from now on"
        ]
        assert rig.count("reflector_watchlist_fallbacks_total") == 1
    other = Rig(rig.states)
    other.source.lists.append(page(10))
    async with other.running():
        assert other.source.stream_versions == []
        assert other.source.list_versions == ["0"]
    assert rig.states.can_stream("https://one", "secrets")
    assert rig.states.can_stream("https://two", "configmaps")


async def test_a_state_that_never_ends_is_listed_after_five_minutes(rig: Rig) -> None:
    """Pitfall 6: whatever comes meanwhile."""
    queue: asyncio.Queue[RawEvent] = asyncio.Queue()

    async def trickle(*, resource_version: str, timeout_seconds: int):  # type: ignore[no-untyped-def]
        while True:
            yield [await queue.get()]

    rig.source.stream = trickle  # type: ignore[method-assign]
    rig.source.lists.append(page(10))
    async with rig.running():
        for _ in range(14):
            await rig.step(20)
            queue.put_nowait(A)
            await settle()
        assert rig.source.list_versions == []
        await rig.step(20)
        assert rig.source.list_versions == ["0"]


async def test_a_complete_stream_may_be_quiet(rig: Rig) -> None:
    """The short patience is for the state only."""
    rig.source.streams.append([end_of_state(10), HANG])
    async with rig.running():
        for _ in range(16):
            await rig.step(10)
        assert rig.source.open_watches == 1
        assert rig.reflector.last_error is None


async def test_a_stream_cut_after_the_state_is_watched_on_without_one(rig: Rig) -> None:
    """WL-04, RF-28."""
    rig.source.streams.append([end_of_state(10), TransportError("cut")])
    async with rig.running():
        await rig.step(1)
        assert rig.source.watch_versions == ["10"]
        assert rig.source.stream_versions == [""]


async def test_a_stream_that_is_refused_as_gone_without_a_version_is_listed(rig: Rig) -> None:
    """WL-08: a version was not the reason."""
    rig.source.streams.append([Gone("410 for everything")])
    rig.source.lists.append(page(10))
    async with rig.running():
        assert rig.source.list_versions == ["0"]


async def test_a_state_that_is_older_than_what_was_seen_is_asked_for_as_the_newest(
    rig: Rig,
) -> None:
    """RF-10: nothing of it is shown; the newest is believed, whatever its version."""
    ghost = event("ADDED", raw_object("ghost", 7))
    rig.source.streams.extend(
        [[end_of_state(10), Gone("old")], [ghost, end_of_state(7)], [A, end_of_state(9), HANG]]
    )
    async with rig.running():
        await rig.step(1)
        await rig.step(1)
        assert rig.source.stream_versions == ["", "10", ""]
        assert rig.sink.calls == ["replace ", "replace root|default/a"]
        assert rig.reflector.resource_version == "9"


async def test_an_add_that_comes_again_does_not_bring_a_deleted_object_into_the_state(
    rig: Rig,
) -> None:
    """WL-05, pitfall 7."""
    deleted = event("DELETED", raw_object("a", 8))
    rig.source.streams.append([A, deleted, A, B, end_of_state(10), HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace root|default/b"]


async def test_internal_errors_after_the_state_have_their_window_too() -> None:
    """RF-33."""
    rig = Rig(options=ReflectorOptions(internal_error_seconds=10))
    rig.source.streams.append([end_of_state(10), InternalError("x")])
    async with rig.running():
        await rig.step(1)
        assert rig.source.watch_versions == ["10"]
        assert rig.source.stream_versions == [""]


async def test_a_server_that_does_not_even_answer_may_well_have_streams(rig: Rig) -> None:
    """WL-09: only one that has begun to answer can leave out the end of the state."""
    rig.source.streams.append([HANG])
    async with rig.running():
        await rig.step(30)
        await rig.step(29.9)
        assert rig.source.list_versions == []
    other = Rig()
    other.source.streams.append([[], HANG])
    other.source.lists.append(page(10))
    async with other.running():
        await other.step(30)
        assert other.source.list_versions == ["0"]


async def test_cancelling_ends_a_pause_between_streams_at_once(rig: Rig) -> None:
    """WL-10 fixed; the rig checks that nothing is left."""
    rig.source.streams.extend([[TooManyRequests("slow", retry_after_seconds=30)]])
    async with rig.running():
        assert rig.clock.sleepers == 1


async def test_a_source_without_streams_is_listed_and_watched() -> None:
    """WL-11: the default of fakes, and of informers that are told not to stream."""
    rig = Rig()
    source = ScriptedSource()
    source.lists.append(page(10))
    rig.reflector = Reflector(
        source,
        ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False),
        rig.sink,
        description="configmaps of root",
        clock=rig.clock,
        rng=random.Random(1),
        metrics=InformerMetrics(None, "", "configmaps", ""),
    )
    async with rig.running():
        assert source.list_versions == ["0"]
        assert source.watch_versions == ["10"]
    client = AsyncClient(cast(Transport, None), cluster_name="root")
    assert isinstance(StreamingClientSource(client, CONFIG_MAPS), StateStreamer)
    assert not isinstance(ClientSource(client, CONFIG_MAPS), StateStreamer)


async def test_a_transform_sees_each_object_of_a_streamed_state_once() -> None:
    """WL-12 mended: it need not be idempotent."""
    seen: list[str] = []

    def transform(obj: Unstructured) -> Unstructured:
        seen.append(obj["metadata"]["name"])
        return obj

    rig = Rig(transform=transform)
    rig.source.streams.append([A, B, end_of_state(10), event("ADDED", raw_object("c", 11)), HANG])
    async with rig.running():
        assert seen == ["a", "b", "c"]
        assert len(rig.sink.calls) == 2


async def test_a_bad_object_does_not_keep_the_state_from_being_complete(rig: Rig) -> None:
    """FIFO-18 fixed."""
    bad = RawEvent("ADDED", b'{"metadata":{"labels":5}}')
    rig.source.streams.append([A, bad, B, end_of_state(10), HANG])
    async with rig.running():
        assert rig.sink.calls == ["replace root|default/a,root|default/b"]
        assert rig.count("informer_skipped_objects_total") == 1


# The limit on states that are read at once


async def test_states_are_read_a_few_at_a_time() -> None:
    """Pitfall 7: streams and lists alike, in the order in which they came."""
    states = InitialStates(1)
    first, second, third = (Rig(states) for _ in range(3))
    gate = asyncio.Event()

    async def slow(*, resource_version: str, timeout_seconds: int):  # type: ignore[no-untyped-def]
        await gate.wait()
        yield [end_of_state(10)]
        await asyncio.Event().wait()

    first.source.stream = slow  # type: ignore[method-assign]
    second.source.streams.append([BadRequest("no streams")])
    second.source.lists.append(page(10))
    third.source.streams.append([end_of_state(10), HANG])
    async with first.running(), second.running(), third.running():
        assert states.waiting == 2
        assert second.source.stream_versions == third.source.stream_versions == []
        gate.set()
        await settle()
        assert first.sink.calls == second.sink.calls == third.sink.calls == ["replace "]
        assert states.waiting == 0


async def test_a_server_that_does_not_answer_keeps_others_for_two_seconds() -> None:
    """Pitfall 10: and the next time it waits with its like."""
    states = InitialStates(1)
    silent, other = Rig(states), Rig(states)
    silent.source.streams.extend([[HANG], [TransportTimeout("30 s")]])
    other.source.streams.append([[], A, end_of_state(10), HANG])
    async with silent.running(), other.running():
        assert other.source.stream_versions == []
        await silent.step(1.9)
        assert other.source.stream_versions == []
        await silent.step(0.1)
        assert other.sink.calls == ["replace root|default/a"]
        assert silent.source.open_watches == 1


async def test_a_server_that_did_not_answer_waits_with_its_like() -> None:
    """Pitfall 10."""
    states = InitialStates(1)
    silent, other = Rig(states), Rig(states)
    silent.source.streams.extend([[TransportTimeout("30 s")], [HANG]])
    other.source.streams.append([[], A, end_of_state(10), HANG])
    async with silent.running():
        await silent.step(1)
        assert silent.source.open_watches == 1
        async with other.running():
            assert other.sink.calls == ["replace root|default/a"]


async def test_a_state_that_comes_slowly_keeps_its_place() -> None:
    """Pitfall 7."""
    states = InitialStates(1)
    slow, other = Rig(states), Rig(states)
    slow.source.streams.append([[], A, HANG])
    async with slow.running(), other.running():
        await slow.step(2.5)
        assert other.source.stream_versions == []


async def test_servers_that_did_not_answer_have_places_of_their_own() -> None:
    """Pitfall 10."""
    states = InitialStates(1)
    gate = asyncio.Event()

    async def hold(entered: list[bool], *, silent: bool) -> None:
        async with states.turn(silent=silent):
            entered.append(silent)
            await gate.wait()

    entered: list[bool] = []
    tasks = [asyncio.create_task(hold(entered, silent=silent)) for silent in (True, True, False)]
    await settle()
    assert entered == [True, False]
    assert states.waiting == 1
    gate.set()
    await asyncio.gather(*tasks)
    assert entered == [True, False, True]


async def test_a_place_that_was_given_back_early_is_not_given_back_twice() -> None:
    states = InitialStates(1)
    async with states.turn() as give_back:
        give_back()
        give_back()
        async with asyncio.timeout(60), states.turn():
            waiting = asyncio.create_task(states.turn().__aenter__())
            await settle()
            give_back()
            assert states.waiting == 1
            waiting.cancel()
            await asyncio.wait({waiting})


async def test_a_server_that_has_streamed_before_is_given_a_second_chance() -> None:
    """WL-09: the connection may have been cut off without a word."""
    rig = Rig()
    rig.source.streams.extend([[end_of_state(10), Gone("old")], [[], A, HANG]])
    rig.source.streams.append([[], A, end_of_state(20), HANG])
    async with rig.running():
        for _ in range(34):
            await rig.step(1)
        assert rig.source.stream_versions == ["", "10", "10"]
        assert rig.states.can_stream("https://one", "configmaps")
        assert rig.reflector.resource_version == "20"
    rig = Rig()
    rig.source.streams.extend([[end_of_state(10), Gone("old")], [[], A, HANG], [[], A, HANG]])
    rig.source.lists.append(page(20))
    async with rig.running():
        for _ in range(70):
            await rig.step(1)
        assert rig.source.list_versions == ["10"]
        assert not rig.states.can_stream("https://one", "configmaps")


async def test_who_is_cancelled_while_waiting_gives_its_place_back() -> None:
    states = InitialStates(1)

    async def hold(entered: asyncio.Event) -> None:
        async with states.turn():
            entered.set()
            await asyncio.Event().wait()

    events = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(one)) for one in events]
    await events[0].wait()
    await settle()
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    assert states.waiting == 1
    # The second of these is cancelled in the moment in which its turn has come.
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    tasks[2].cancel()
    await asyncio.wait({tasks[2]})
    await settle()
    async with asyncio.timeout(60), states.turn():
        pass


async def test_a_turn_that_is_given_back_goes_to_the_next() -> None:
    states = InitialStates(2)
    most = now = 0

    async def work() -> None:
        nonlocal most, now
        async with states.turn():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(work() for _ in range(20)))
    assert most == 2
