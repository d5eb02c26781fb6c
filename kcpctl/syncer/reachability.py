"""Whether the syncer reaches its cluster, and what is to be said of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kcpctl.apis.conditions import ERROR, Condition, false, true
from kcpctl.apis.synctarget_status import CLUSTER_CONNECTED
from kcpctl.client import AsyncClient
from kcpctl.clusters import ConnectionReason
from kcpctl.clusters.probe import Failure, probe
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["PROBE_SECONDS", "Reachability"]

PROBE_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 5.0
# One lost packet, or a server that starts again, is no news.
_FAILURES: Final = 5
_SYNC_SECONDS: Final = 30.0


class Reachability:
    """Probes the cluster every 10 seconds and remembers what follows.

    After five failures in a row it counts as not reached until a probe succeeds; what the first of
    the five said is told for as long as the reason is the same, so that a wording that varies is
    no news. ``run`` belongs on the loop of the cluster's client; the rest is for any thread.

    Parameters
    ----------
    synced: whether the caches of the cluster's objects have synced; that is waited for 30 s.
    """

    def __init__(
        self, client: AsyncClient, synced: Callable[[], bool], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._synced = synced
        self._clock = clock
        self._begun_at = clock.monotonic()
        self._answered = False
        self._failures = 0
        self._failure: Failure | None = None

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            self._took(
                await probe(self._client, timeout_seconds=_TIMEOUT_SECONDS, clock=self._clock)
            )
            await self._clock.asleep(PROBE_SECONDS)

    def _took(self, failure: Failure | None) -> None:
        if failure is None:
            self._failures, self._failure, self._answered = 0, None, True
            return
        self._failures += 1
        if self._failure is None or self._failure.reason != failure.reason:
            self._failure = failure

    @property
    def _lost(self) -> Failure | None:
        return self._failure if self._failures >= _FAILURES else None

    @property
    def problem(self) -> str:
        """Why the cluster cannot be worked with, "" if it can as far as is known."""
        if (lost := self._lost) is not None:
            return f"The cluster is not reached: {lost.message}"
        late = self._clock.monotonic() - self._begun_at >= _SYNC_SECONDS
        if late and not self._synced():
            return f"The cluster's objects could not be read within {_SYNC_SECONDS:g}s"
        return ""

    @property
    def connected(self) -> Condition | None:
        """ClusterConnected as the syncer sees it; None while nothing is known."""
        if (lost := self._lost) is not None:
            return false(CLUSTER_CONNECTED, ERROR, lost.reason, lost.message)
        if self._answered:
            message = f"The syncer is connected to {self._client.server}"
            return true(CLUSTER_CONNECTED, ConnectionReason.CONNECTED, message)
        return None
