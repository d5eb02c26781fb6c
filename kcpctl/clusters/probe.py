"""One look at a cluster: does it answer, and does it know us?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, NamedTuple

from kcpctl.client import AsyncClient
from kcpctl.clusters.status import ConnectionReason
from kcpctl.errors import (
    CertificateInvalid,
    Forbidden,
    KcpctlError,
    NotFound,
    TooManyRequests,
    TransportTimeout,
    Unauthorized,
)
from kcpctl.runtime import Clock, Limit

__all__ = ["Failure", "connect", "probe"]

_MAX_MESSAGE: Final = 300


class Failure(NamedTuple):
    """Why a cluster cannot be used: a reason for the condition, and one line for people."""

    reason: ConnectionReason
    message: str

    @property
    def final(self) -> bool:
        """Whether the same credentials will fail again: no use in waiting for more failures."""
        return self.reason is not ConnectionReason.CONNECTION_FAILED


async def probe(client: AsyncClient, *, timeout_seconds: float, clock: Clock) -> Failure | None:
    """GET /readyz, or /version where that is not served (decision 16); None is health.

    An answer of 403 or 429 is health too: the server is there and knows who asks.
    """
    ask = partial(_ask, client, timeout_seconds)
    return await _judge(ask, client, timeout_seconds, clock)


async def connect(client: AsyncClient, *, timeout_seconds: float, clock: Clock) -> Failure | str:
    """Probe for the first time; return the server's version ("" if we may not read it)."""
    version = ""

    async def ask() -> None:
        nonlocal version
        await _ask(client, timeout_seconds)
        try:
            # Also tells an API server from anything else that answers 200.
            version = await client.server_version()
        except (Forbidden, TooManyRequests):
            version = ""

    failure = await _judge(ask, client, timeout_seconds, clock)
    return version if failure is None else failure


async def _ask(client: AsyncClient, timeout_seconds: float) -> None:
    try:
        await client.request(
            "GET", "/readyz", timeout_seconds=timeout_seconds, retry=False, pulse=True
        )
    except NotFound:
        await client.request("GET", "/version", timeout_seconds=timeout_seconds, retry=False)
    except (Forbidden, TooManyRequests):
        return


async def _judge(
    work: Callable[[], Coroutine[Any, Any, None]],
    client: AsyncClient,
    timeout_seconds: float,
    clock: Clock,
) -> Failure | None:
    """Run ``work`` for ``timeout_seconds`` at most, whatever it hangs on, and say how it went."""
    try:
        async with Limit(timeout_seconds, clock):
            await work()
    except KcpctlError as error:
        return _failure(error)
    except TimeoutError:
        late = f"{client.server} did not answer in {timeout_seconds:g}s"
        return _failure(TransportTimeout(late))
    return None


def _failure(error: KcpctlError) -> Failure:
    reason = ConnectionReason.CONNECTION_FAILED
    if isinstance(error, Unauthorized):
        reason = ConnectionReason.UNAUTHORIZED
    elif isinstance(error, CertificateInvalid):
        reason = ConnectionReason.CERTIFICATE_INVALID
    message = " ".join(str(error).split())
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "..."
    return Failure(reason, message)
