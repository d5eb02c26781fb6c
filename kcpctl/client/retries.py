"""Which failures are sent again by themselves, when, and how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from kcpctl.client.failures import ConnectionLost
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.transport import Call
from kcpctl.errors import ApiError, KcpctlError, ResourceVersionTooLarge
from kcpctl.runtime.logging import get_logger

__all__ = ["with_retries"]

T = TypeVar("T")
_log = get_logger(__name__)

_MAX_TRIES = 10  # RC-06
_MAX_WAIT_SECONDS = 30.0  # RC-13
_MAX_LOST_TRIES = 3  # those above have back-offs of their own
_LOST_WAIT_SECONDS = 1.0  # RC-08


async def with_retries(
    call: Call,
    send: Callable[[Call], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]],
    metrics: ClientMetrics,
) -> T:
    """Send ``call``, again where the rules allow it, and raise the last failure.

    429 and 5xx with a Retry-After: any method, at most 10 tries, waits capped at 30 s (RC-06,
    RC-13). A GET whose connection broke: 3 tries, 1 s apart (RC-08). All else is the caller's. A
    failure tells of the one before it, if that was another (RC-14). What ``sleep`` raises ends it.
    """
    try:
        return await send(call)
    except (ApiError, ConnectionLost) as error:
        if _wait_seconds(error, call) is None:
            raise
        # Asked for help only now: tenacity's bookkeeping is a fifth of a small request.
        failed: list[Exception] = [error]
        previous = str(error)

    async def attempt() -> T:
        nonlocal previous
        if failed:
            raise failed.pop()
        try:
            return await send(call)
        except KcpctlError as error:
            before, previous = previous, str(error)
            if before != previous:
                error.args = (f"{error}; the try before: {before}", *error.args[1:])
            raise

    def note(state: tenacity.RetryCallState) -> None:
        error = _error_of(state)
        metrics.retried(call.method, error.code if isinstance(error, ApiError) else None)
        _log.debug("Request is sent again", attempt=state.attempt_number, error=error)

    retrying = tenacity.AsyncRetrying(
        sleep=sleep,
        retry=tenacity.retry_if_exception(lambda error: _wait_seconds(error, call) is not None),
        stop=_is_last_try,
        wait=lambda state: _wait_seconds(_error_of(state), call) or 0.0,
        before_sleep=note,
        reraise=True,
    )
    return await retrying(attempt)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _wait_seconds(error: BaseException | None, call: Call) -> float | None:
    """Return how long to wait before the call is sent again; None when it must not be."""
    if not call.retry or isinstance(error, ResourceVersionTooLarge):
        # The server waited for that version for 3 s; the way out is another one, not patience.
        return None
    if isinstance(error, ApiError) and (error.code == 429 or error.code >= 500):
        after = error.retry_after_seconds
        return None if after is None else min(after, _MAX_WAIT_SECONDS)
    if isinstance(error, ConnectionLost) and call.method == "GET":
        return _LOST_WAIT_SECONDS
    return None


def _is_last_try(state: tenacity.RetryCallState) -> bool:
    lost = isinstance(_error_of(state), ConnectionLost)
    return state.attempt_number >= (_MAX_LOST_TRIES if lost else _MAX_TRIES)
