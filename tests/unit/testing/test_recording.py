"""What a transport notes of the rights that requests need."""

from __future__ import annotations

from kcpctl.client import Call, Response
from kcpctl.client.access import Access
from kcpctl.testing.recording import RecordingTransport
from kcpctl.testing.transport import FakeTransport

POD = "/api/v1/namespaces/default/pods/web"
WATCH = {"watch": "true"}


class Creating(FakeTransport):
    """Answers that the object was created."""

    async def request(self, call: Call) -> Response:
        return Response(201, {}, b"{}")


async def test_an_apply_that_creates_needs_that_right_too() -> None:
    transport = RecordingTransport(Creating({}))
    await transport.request(Call("PATCH", POD))
    assert {one.verb for one in transport.used} == {"patch", "create"}


async def test_streams_are_recorded_and_all_is_passed_on() -> None:
    inner = FakeTransport({"a": 1})
    transport = RecordingTransport(inner)
    call = Call("GET", "/api/v1/pods", WATCH)
    assert [piece async for piece in transport.stream(call)] == [b'{"a":1}\n']
    await transport.close()
    assert transport.used == {Access("watch", "", "pods")}
    assert (inner.calls, inner.closed, transport.server) == ([call], True, inner.server)
