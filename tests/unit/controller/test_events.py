"""The event recorder: EV-01 to EV-14."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, cast

import msgspec
import pytest

from kcpctl.apis.meta import ApiObject, ObjectMeta
from kcpctl.client import AsyncClient, Call, Client, Response, confine
from kcpctl.controller import EventRecorder, ObjectReference
from kcpctl.controller.event_series import SpamFilter
from kcpctl.errors import ConnectionRefused, Forbidden, NotFound
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import FakeClock

HANG = "hang"
POD = ObjectReference("root", "v1", "Pod", "default", "web", "u1", "7")
NODE = ObjectReference("root", "v1", "Node", "", "n1", "u2")


class InlineLoop:
    on_loop_thread = True

    def call(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)


class Recording:
    """A recorder and the server it writes to; also that server's transport."""

    server = "https://server"

    def __init__(self, *, multi_cluster: bool = True) -> None:
        self.calls: list[Call] = []
        self.active = self.most_active = 0
        self.behaviour: Exception | str = ""
        self.clock = FakeClock()
        self.metrics = Metrics()
        name = "*" if multi_cluster else "root"
        prefix = "/clusters/*" if multi_cluster else ""
        aio = AsyncClient(self, cluster_name=name, prefix=prefix, multi_cluster=multi_cluster)
        self.recorder = EventRecorder(
            Client(aio, cast(IOLoop, InlineLoop())),
            "kcpctl-test",
            instance="kcpctl-test-0",
            clock=self.clock,
            rng=random.Random(1),
            metrics=self.metrics,
        )

    async def request(self, call: Call) -> Response:
        self.calls.append(call)
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        try:
            await asyncio.sleep(0)
            if self.behaviour == HANG:
                await asyncio.Future()
            if isinstance(self.behaviour, Exception):
                raise self.behaviour
        finally:
            self.active -= 1
        return Response(200, {}, call.body or b"{}")

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    async def event(self, obj: Any = POD, note: str = "it works", **more: Any) -> None:
        arguments = {"type": "Normal", "reason": "Worked", "message": note, **more}
        self.recorder.event(obj, **arguments)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    async def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        await self.settle()

    def bodies(self, method: str = "POST") -> list[dict[str, Any]]:
        return [msgspec.json.decode(c.body or b"") for c in self.calls if c.method == method]

    def dropped(self, reason: str) -> float:
        name, labels = "kcpctl_events_dropped_total", {"reason": reason}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def recording() -> AsyncIterator[Recording]:
    made = Recording()
    yield made
    made.behaviour = ""
    await made.recorder.aclose(0)
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("events/")]


# What cannot be recorded.


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": "Error"},
        {"reason": ""},
        {"obj": POD._replace(name="")},
        {"obj": POD._replace(cluster="*")},
        {"obj": {"kind": "Pod"}},
        {"obj": None},
        {"note": None},
        {"action": ""},
    ],
)
async def test_an_invalid_event_is_told_and_dropped_and_never_raises(
    recording: Recording, arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """EV-02."""
    await recording.event(**arguments)
    assert recording.calls == []
    assert recording.dropped("invalid") == 1
    assert "Dropped an invalid event" in caplog.text


async def test_a_full_queue_drops_and_never_blocks(recording: Recording) -> None:
    """EV-01: 1000 in the queue besides the 8 that are being written."""
    recording.behaviour = HANG
    for number in range(8):
        await recording.event(POD._replace(uid=f"busy-{number}"))
    for number in range(1005):
        recording.recorder.event(POD._replace(uid=str(number)), "Normal", "Worked", "x")
    assert recording.dropped("queue_full") == 5


async def test_at_most_8_are_written_at_once(recording: Recording) -> None:
    """EV-14."""
    for number in range(50):
        recording.recorder.event(POD._replace(uid=str(number)), "Normal", "Worked", "x")
    for _ in range(20):
        await recording.settle()
    assert len(recording.bodies()) == 50
    assert recording.most_active == 8


async def test_what_the_server_refuses_is_not_tried_again(recording: Recording) -> None:
    """EV-04."""
    recording.behaviour = Forbidden("no")
    await recording.event()
    await recording.step(60)
    assert len(recording.calls) == 1
    assert recording.dropped("rejected") == 1


async def test_what_gets_no_answer_is_tried_12_times(recording: Recording) -> None:
    """EV-04."""
    recording.behaviour = ConnectionRefused("refused")
    await recording.event()
    for _ in range(20):
        await recording.step(10)
    assert len(recording.calls) == 12
    assert recording.dropped("gave_up") == 1


async def test_a_server_that_comes_back_gets_the_event(recording: Recording) -> None:
    recording.behaviour = ConnectionRefused("refused")
    await recording.event()
    recording.behaviour = ""
    await recording.step(1)
    assert len(recording.bodies()) == 2
    assert recording.dropped("gave_up") == 0


async def test_an_event_that_was_refused_is_tried_anew_when_it_repeats(
    recording: Recording,
) -> None:
    recording.behaviour = Forbidden("no")
    await recording.event()
    recording.behaviour = ""
    await recording.event()
    assert [call.method for call in recording.calls] == ["POST", "POST"]
    assert "series" not in recording.bodies()[1]


# What is written.


async def test_an_event_says_what_happened_to_what(recording: Recording) -> None:
    await recording.event(action="Deploy")
    body = recording.bodies()[0]
    name = body.pop("metadata").pop("name")
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2023-11-14T22:13:20.000000Z",
        "type": "Normal",
        "reason": "Worked",
        "note": "it works",
        "action": "Deploy",
        "reportingController": "kcpctl-test",
        "reportingInstance": "kcpctl-test-0",
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "default",
            "name": "web",
            "uid": "u1",
            "resourceVersion": "7",
        },
    }
    assert name.startswith("web.")


async def test_an_event_goes_to_its_objects_cluster_and_namespace(recording: Recording) -> None:
    await recording.event(POD._replace(cluster="abc"))
    path = "/clusters/abc/apis/events.k8s.io/v1/namespaces/default/events"
    assert recording.calls[0].path == path


async def test_the_event_of_a_cluster_scoped_object_is_in_default(recording: Recording) -> None:
    """EV-03."""
    await recording.event(NODE)
    assert "/namespaces/default/events" in recording.calls[0].path
    assert "namespace" not in recording.bodies()[0]["regarding"]


async def test_names_are_unique_and_within_the_limit(recording: Recording) -> None:
    """EV-12."""
    for number in range(5):
        await recording.event(POD._replace(name="a" * 253, uid=str(number)))
    names = {body["metadata"]["name"] for body in recording.bodies()}
    assert len(names) == 5
    assert all(len(name) <= 253 for name in names)


async def test_long_notes_are_cut_at_whole_letters(recording: Recording) -> None:
    await recording.event(note="é" * 2000)
    assert recording.bodies()[0]["note"] == "é" * 512


@pytest.mark.parametrize(
    "obj",
    [
        ApiObject(
            api_version="v1",
            kind="Pod",
            metadata=ObjectMeta(name="web", annotations={"kcp.io/cluster": "abc"}),
        ),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "annotations": {"kcp.io/cluster": "abc"}},
        },
    ],
    ids=["struct", "dict"],
)
async def test_an_object_says_its_cluster_itself(recording: Recording, obj: Any) -> None:
    await recording.event(obj)
    assert recording.calls[0].path.startswith("/clusters/abc/")
    assert recording.bodies()[0]["regarding"]["name"] == "web"


async def test_with_a_client_of_one_cluster_every_object_is_of_it() -> None:
    recording = Recording(multi_cluster=False)
    meta = {"name": "web", "annotations": {"kcp.io/cluster": "abc"}}
    await recording.event({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
    assert recording.calls[0].path.startswith("/apis/events.k8s.io/")
    await recording.recorder.aclose()


# Repeats.


async def test_a_repeat_becomes_a_series_of_2(recording: Recording) -> None:
    """EV-05, EV-06, EV-13."""
    await recording.event()
    await recording.step(5)
    await recording.event()
    assert len(recording.bodies()) == 1
    series = {"count": 2, "lastObservedTime": "2023-11-14T22:13:25.000000Z"}
    assert recording.bodies("PATCH") == [{"series": series}]
    assert recording.calls[1].path.endswith(recording.bodies()[0]["metadata"]["name"])


async def test_later_repeats_stay_in_memory_until_the_series_ends(recording: Recording) -> None:
    """EV-13: six minutes without a repeat end it, and its count is written."""
    for _ in range(10):
        await recording.event()
    assert len(recording.calls) == 2
    for _ in range(8):
        await recording.step(60)
    assert [body["series"]["count"] for body in recording.bodies("PATCH")] == [2, 10]
    await recording.event()
    assert len(recording.bodies()) == 2


async def test_a_long_series_is_refreshed_every_30_minutes(recording: Recording) -> None:
    """EV-13."""
    for _ in range(65):
        await recording.event()
        await recording.step(60)
    assert [body["series"]["count"] for body in recording.bodies("PATCH")] == [2, 32, 62]


async def test_an_event_that_has_expired_is_created_anew(recording: Recording) -> None:
    """EV-05."""
    await recording.event()
    recording.behaviour = NotFound("gone")
    await recording.event()
    assert [call.method for call in recording.calls] == ["POST", "PATCH", "POST"]
    assert recording.bodies()[1]["series"]["count"] == 2


async def test_repeats_while_the_first_is_written_are_one_series(recording: Recording) -> None:
    for _ in range(5):
        recording.recorder.event(POD, "Normal", "Worked", "it works")
    await recording.settle()
    assert len(recording.bodies()) == 1
    counts = [body["series"]["count"] for body in recording.bodies("PATCH")]
    assert counts[-1:] in ([5], [])


@pytest.mark.parametrize(
    "change", [{"note": "other"}, {"reason": "Other"}, {"type": "Warning"}, {"action": "Other"}]
)
async def test_what_differs_is_another_event(recording: Recording, change: Any) -> None:
    await recording.event()
    await recording.event(**change)
    assert len(recording.bodies()) == 2


async def test_ten_similar_notes_become_one_event(recording: Recording) -> None:
    """EV-07."""
    for number in range(15):
        await recording.event(note=f"failed {number}")
    notes = [body["note"] for body in recording.bodies()]
    assert len(notes) == 10
    assert notes[-1] == "(combined from similar events): failed 9"


async def test_one_object_cannot_flood_the_server(recording: Recording) -> None:
    """EV-08: 25 at once, then one in 5 minutes."""
    for number in range(30):
        await recording.event(reason=f"R{number}")
    assert len(recording.bodies()) == 25
    assert recording.dropped("spam") == 5
    await recording.event(POD._replace(name="other", uid="u9"))
    assert len(recording.bodies()) == 26
    await recording.step(301)
    for number in range(2):
        await recording.event(reason=f"S{number}")
    assert len(recording.bodies()) == 27


async def test_notes_that_differ_slowly_stay_apart(recording: Recording) -> None:
    """EV-07: ten in ten minutes, not ten in an hour."""
    for number in range(15):
        await recording.event(note=f"failed {number}")
        await recording.step(90)
    assert not any("combined" in body["note"] for body in recording.bodies())


async def test_a_quiet_object_saves_up_25_events_and_no_more(recording: Recording) -> None:
    await recording.event()
    await recording.step(24 * 3600)
    for number in range(40):
        await recording.event(reason=f"R{number}")
    assert len(recording.bodies()) == 1 + 25


async def test_the_spam_filter_remembers_4096_objects(recording: Recording) -> None:
    """EV-09."""
    spam = SpamFilter(recording.clock)
    while spam.allow(POD):
        pass
    for number in range(4095):
        spam.allow(POD._replace(uid=str(number)))
    assert not spam.allow(POD)
    for number in range(4096):
        spam.allow(POD._replace(uid=str(number)))
    assert spam.allow(POD)


# The end.


async def test_what_happened_once_is_written_once(recording: Recording) -> None:
    await recording.event()
    await recording.step(600)
    await recording.event(NODE)
    await recording.recorder.aclose()
    assert [call.method for call in recording.calls] == ["POST", "POST"]


async def test_repeats_that_are_queued_at_the_end_are_counted(recording: Recording) -> None:
    for _ in range(3):
        await recording.event()
    for _ in range(4):
        recording.recorder.event(POD, "Normal", "Worked", "it works")
    await recording.recorder.aclose()
    assert [body["series"]["count"] for body in recording.bodies("PATCH")] == [2, 7]


async def test_close_writes_what_is_queued_and_the_counts(recording: Recording) -> None:
    for _ in range(5):
        await recording.event()
    for number in range(20):
        recording.recorder.event(POD._replace(uid=str(number)), "Normal", "Worked", "x")
    await recording.recorder.aclose()
    assert len(recording.bodies()) == 21
    assert [body["series"]["count"] for body in recording.bodies("PATCH")] == [2, 5]


async def test_close_does_not_wait_for_a_server_that_hangs(recording: Recording) -> None:
    """EV-11."""
    recording.behaviour = HANG
    await recording.event()
    closing = asyncio.ensure_future(recording.recorder.aclose(2))
    await recording.settle()
    assert not closing.done()
    await recording.step(2)
    assert closing.done()


async def test_events_after_close_are_dropped(recording: Recording) -> None:
    await recording.recorder.aclose()
    await recording.event()
    assert recording.dropped("closed") == 1
    await recording.recorder.aclose()


async def test_work_on_one_cluster_records_nothing_in_another(recording: Recording) -> None:
    confine("other")
    await recording.event()
    assert (recording.calls, recording.dropped("invalid")) == ([], 1)
    confine("root")
    await recording.event()
    assert len(recording.calls) == 1
