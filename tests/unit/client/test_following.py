from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, RawEvent
from kcpctl.client.following import follow
from kcpctl.errors import (
    ConditionTimeout,
    ConnectionRefused,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    KcpctlError,
    TooManyRequests,
    TransportError,
    Unauthorized,
    UsageError,
)
from kcpctl.testing.clock import FakeClock
from kcpctl.testing.transport import FakeTransport


def event(version: int | str, type_: str = "MODIFIED") -> RawEvent:
    body = {"metadata": {"name": "one", "resourceVersion": str(version)}}
    return RawEvent(type_, msgspec.json.encode(body))


class ImpatientClock(FakeClock):
    """A clock whose sleeps are over at once, and are written down."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.step(seconds)


class Watches:
    """Gives each watch its script: events, then an error or an orderly end."""

    def __init__(self, *scripts: list[RawEvent | Exception]) -> None:
        self._scripts = list(scripts)
        self.versions: list[str] = []
        self.closed = 0
        self.clock = ImpatientClock()

    async def __call__(self, version: str) -> AsyncGenerator[RawEvent, None]:
        self.versions.append(version)
        script = self._scripts.pop(0) if self._scripts else [Gone("over")]
        try:
            for one in script:
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.closed += 1

    async def follow(self, version: str = "1") -> list[str]:
        """Return the versions of what came until the end, which is Gone."""
        followed = follow(self, version, clock=self.clock)
        seen = []
        with suppress(Gone):
            while True:
                body = (await anext(followed)).object
                seen.append(msgspec.json.decode(body)["metadata"]["resourceVersion"])
        return seen


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_version_that_is_none_is_refused(version: str) -> None:
    """RW-01."""
    with pytest.raises(UsageError, match="cannot be followed from version"):
        await anext(follow(Watches(), version, clock=FakeClock()))


async def test_it_goes_on_at_the_last_version_that_was_delivered() -> None:
    """RW-02: after an orderly end and after a fault."""
    watches = Watches([event(2), event(3)], [TransportError("cut")], [event(4)])
    assert await watches.follow() == ["2", "3", "4"]
    assert watches.versions == ["1", "3", "3", "4"]


async def test_there_is_one_start_a_second_at_most() -> None:
    """RW-02."""
    watches = Watches([], [ConnectionRefused("x")], [])
    await watches.follow()
    assert watches.clock.slept == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("error", [Gone("x"), Expired("x"), Unauthorized("x"), Forbidden("x")])
async def test_what_waiting_does_not_mend_ends_it(error: KcpctlError) -> None:
    """RW-03."""
    watches = Watches([event(2), error])
    followed = follow(watches, "1", clock=watches.clock)
    await anext(followed)
    with pytest.raises(type(error)):
        await anext(followed)
    assert watches.versions == ["1"]


@pytest.mark.parametrize("body", [b"{}", b'{"metadata":{}}', b"[]", b"{"])
async def test_an_event_without_a_version_ends_it(body: bytes) -> None:
    """RW-03: nobody knows where to go on."""
    watches = Watches([RawEvent("ADDED", body)])
    with pytest.raises(TransportError, match="without a resourceVersion"):
        await anext(follow(watches, "1", clock=watches.clock))


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (InternalError("x", retry_after_seconds=7), 7.0),
        (TooManyRequests("x"), 1.0),
        (TooManyRequests("x", retry_after_seconds=3600), 30.0),
    ],
)
async def test_every_other_failure_is_waited_out(error: KcpctlError, pause: float) -> None:
    """RW-03: for as long as the server asks, but not for an hour."""
    watches = Watches([error], [event(2)])
    assert await watches.follow() == ["2"]
    assert watches.clock.slept[0] == pause


async def test_bookmarks_count_and_are_not_delivered() -> None:
    """RW-05."""
    watches = Watches([event(2), event(9, "BOOKMARK")])
    assert await watches.follow() == ["2"]
    assert watches.versions == ["1", "9"]


async def test_closing_it_with_unread_events_closes_the_watch() -> None:
    """RW-04."""
    watches = Watches([event(2), event(3), event(4)])
    followed = follow(watches, "1", clock=watches.clock)
    await anext(followed)
    await followed.aclose()
    assert watches.closed == 1


# Waiting for an object.


def config_map(version: int, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": "one", "resourceVersion": str(version)}, "data": data}


class Script(FakeTransport):
    """Lists and watches, each answered by the next of its own."""

    def __init__(self, lists: Sequence[object], watches: Sequence[Sequence[object]]) -> None:
        super().__init__(*lists)
        self.watches = list(watches)

    async def stream(self, call: Any) -> AsyncGenerator[bytes, None]:
        self.calls.append(call)
        if not self.watches:
            await asyncio.Event().wait()
        for one in self.watches.pop(0):
            if isinstance(one, Exception):
                raise one
            yield msgspec.json.encode(one) + b"\n"


def listed(version: int, *items: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(version)},
        "items": items,
    }


def change(type_: str, version: int, **data: str) -> dict[str, Any]:
    return {"type": type_, "object": config_map(version, **data)}


async def wait(transport: Script, *conditions: Any, seconds: float | None = 5) -> Any:
    client = AsyncClient(transport, cluster_name="root", clock=ImpatientClock())
    maps = client.resource(CONFIG_MAPS)
    return await maps.wait_until("one", *conditions, namespace="default", timeout_seconds=seconds)


def has(key: str) -> Any:
    return lambda found: found is not None and key in found["data"]


async def test_what_holds_already_needs_no_watch() -> None:
    """RW-06: the state comes first."""
    transport = Script([listed(5, config_map(3, a="1"))], [])
    assert (await wait(transport, has("a")))["data"] == {"a": "1"}
    assert dict(transport.call.query)["fieldSelector"] == "metadata.name=one"


async def test_conditions_are_waited_for_in_their_order() -> None:
    """RW-06: and one state may fulfil several."""
    held: list[str] = []

    def noting(key: str) -> Any:
        def condition(found: Any) -> bool:
            if has(key)(found):
                held.append(key)
            return bool(has(key)(found))

        return condition

    events = [
        change("ADDED", 6, b="1"),
        change("MODIFIED", 7, a="1"),
        change("MODIFIED", 8, b="1", c="1"),
    ]
    transport = Script([listed(5)], [events])
    found = await wait(transport, noting("a"), noting("b"), noting("c"))
    assert found["metadata"]["resourceVersion"] == "8"
    assert held == ["a", "b", "c"]


async def test_what_a_condition_raises_ends_it() -> None:
    """RW-06."""

    def condition(found: Any) -> bool:
        raise ValueError("never")

    with pytest.raises(ValueError, match="never"):
        await wait(Script([listed(5)], []), condition)


async def test_a_watch_that_ends_is_opened_again() -> None:
    """RW-06: an early end is no error here."""
    transport = Script([listed(5)], [[change("ADDED", 6)], [], [change("MODIFIED", 7, a="1")]])
    assert (await wait(transport, has("a")))["metadata"]["resourceVersion"] == "7"
    versions = [dict(call.query).get("resourceVersion") for call in transport.calls]
    assert versions == [None, "5", "6", "6"]


async def test_the_time_is_limited() -> None:
    """RW-06: a timeout is a timeout, and names what was waited for."""
    with pytest.raises(ConditionTimeout, match=r"ConfigMap default/one of .* within 0\.01s"):
        await wait(Script([listed(5)], []), has("a"), seconds=0.01)
    assert issubclass(ConditionTimeout, TimeoutError)


async def test_a_condition_that_times_out_is_not_ours() -> None:
    def condition(found: Any) -> bool:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await wait(Script([listed(5)], []), condition)


async def test_a_deleted_object_is_none_and_its_last_state_is_returned() -> None:
    """RW-07."""
    events = [change("MODIFIED", 6, a="2"), change("DELETED", 7, a="3")]
    transport = Script([listed(5, config_map(3, a="1"))], [events])
    found = await wait(transport, lambda found: found is None)
    assert found["data"] == {"a": "3"}


async def test_a_deletion_that_was_missed_is_seen_by_the_next_list() -> None:
    """RW-07: with the last state that was seen."""
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
    transport = Script([listed(5, config_map(3, a="1")), listed(9)], [[gone]])
    found = await wait(transport, lambda found: found is None)
    assert found["data"] == {"a": "1"}


async def test_what_was_never_there_is_none() -> None:
    assert await wait(Script([listed(5)], []), lambda found: found is None) is None


async def test_a_watch_from_a_version_yields_decoded_objects() -> None:
    """RW-02."""
    transport = Script([], [[change("ADDED", 6, a="1")], [change("MODIFIED", 7)]])
    client = AsyncClient(transport, cluster_name="root", clock=ImpatientClock())
    async with aclosing(client.resource(CONFIG_MAPS).watch_from("5", namespace="default")) as seen:
        types = [(await anext(seen)).type, (await anext(seen)).type]
    assert types == ["ADDED", "MODIFIED"]
    assert dict(transport.calls[0].query)["allowWatchBookmarks"] == "true"
