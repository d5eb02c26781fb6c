from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.client.failures import ConnectionLost
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.retries import with_retries
from kcpctl.client.transport import Call
from kcpctl.errors import (
    ConnectionRefused,
    Forbidden,
    InternalError,
    KcpctlError,
    ServiceUnavailable,
    TooManyRequests,
    TransportTimeout,
)
from kcpctl.runtime.metrics import Metrics
from kcpctl.testing.clock import FakeClock


class ImpatientClock(FakeClock):
    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Sender:
    """Raises each error in turn, the last for ever; "" is success."""

    def __init__(self, *errors: KcpctlError | None) -> None:
        self._errors = list(errors)
        self.tries = 0
        self.clock = ImpatientClock()

    async def __call__(self, call: Call) -> str:
        self.tries += 1
        error = self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]
        if error is not None:
            raise error
        return "done"

    async def run(self, method: str = "GET", *, retry: bool = True) -> str:
        call = Call(method, "/", retry=retry)
        return await with_retries(call, self, self.clock.asleep, ClientMetrics(Metrics(), "h"))


def busy(seconds: float | None = 1) -> TooManyRequests:
    return TooManyRequests("busy", retry_after_seconds=seconds)


@pytest.mark.parametrize(
    "error",
    [
        Forbidden("no", retry_after_seconds=1),
        ServiceUnavailable("no hint"),
        ConnectionRefused("refused"),
        TransportTimeout("slow"),
    ],
)
async def test_what_is_not_sent_again(error: KcpctlError) -> None:
    sender = Sender(error, None)
    with pytest.raises(type(error)):
        await sender.run()
    assert sender.tries == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_lost_connection_may_have_done_the_write_rc_08(method: str) -> None:
    """RC-08."""
    sender = Sender(ConnectionLost("reset"), None)
    with pytest.raises(ConnectionLost):
        await sender.run(method)
    assert sender.tries == 1


async def test_a_server_that_asks_for_no_wait_is_asked_at_once() -> None:
    sender = Sender(busy(0), None)
    assert await sender.run() == "done"
    assert sender.clock.slept == [0]


async def test_different_failures_share_the_ten_tries_rc_06() -> None:
    """RC-06."""
    mixed = [busy(2), InternalError("x", retry_after_seconds=3)] * 6
    sender = Sender(*mixed)
    with pytest.raises((TooManyRequests, InternalError)):
        await sender.run("POST")
    assert sender.tries == 10


async def test_the_last_failure_is_raised_and_not_the_first() -> None:
    sender = Sender(busy(), Forbidden("changed"))
    with pytest.raises(Forbidden):
        await sender.run()


async def test_without_retry_the_first_failure_is_raised() -> None:
    sender = Sender(busy(), None)
    with pytest.raises(TooManyRequests):
        await sender.run(retry=False)
    assert sender.clock.slept == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
async def test_no_wait_is_longer_than_the_cap_rc_13(waits: list[float]) -> None:
    """RC-13."""
    sender = Sender(*(busy(seconds) for seconds in waits), None)
    assert await sender.run() == "done"
    assert sender.clock.slept == [min(seconds, 30.0) for seconds in waits]


async def test_a_failure_tells_of_the_one_before_it() -> None:
    """RC-14: what a proxy says at the end may hide what the server said."""
    sender = Sender(busy(), ServiceUnavailable("down", retry_after_seconds=1), Forbidden("no"))
    with pytest.raises(Forbidden, match=r"^no; the try before: down$"):
        await sender.run()


async def test_the_same_failure_is_told_once() -> None:
    """RC-14."""
    sender = Sender(busy())
    with pytest.raises(TooManyRequests, match=r"^busy$"):
        await sender.run()


async def test_what_ends_the_pause_ends_the_call() -> None:
    """RC-12: the client was closed meanwhile."""
    sender = Sender(busy())

    async def sleep(_: float) -> None:
        raise TransportTimeout("closed")

    with pytest.raises(TransportTimeout, match="closed"):
        await with_retries(Call("GET", "/"), sender, sleep, ClientMetrics(None, "h"))
    assert sender.tries == 1
