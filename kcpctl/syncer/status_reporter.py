"""Heartbeats: the syncer's own fields of the SyncTarget's status (1.3, 3.13)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.client import PatchType
from kcpctl.errors import Conflict, Invalid, NotFound
from kcpctl.runtime import SYSTEM_CLOCK, Clock, format_time, get_logger
from kcpctl.syncer.gate import Gate, GateClosed, Verdict, is_gone, judge
from kcpctl.syncer.progress import Progress
from kcpctl.syncer.target import FIELD_MANAGER

__all__ = ["HEARTBEAT_RETRY_SECONDS", "Facts", "StatusReporter", "SyncTargetClient"]

_log = get_logger(__name__)

HEARTBEAT_RETRY_SECONDS: Final = 1.0
"""3.1: on failure a heartbeat is tried again each second."""
# The first beat and the first conditions come at the same time, and both make the status.
_ATTEMPTS: Final = 3
# lastSyncTime tells that work was done, not how often.
_LAST_SYNC_TIME_EVERY_SECONDS: Final = 60.0


class SyncTargetClient(Protocol):
    """What the reporter needs of the SyncTargets' async client."""

    async def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        """Read one SyncTarget; raises NotFound."""

    async def patch(
        self,
        name: str,
        body: Any,
        *,
        type: PatchType = PatchType.MERGE,  # noqa: A002 - the client's word
        subresource: str = "",
        field_manager: str | None = None,
    ) -> Unstructured:
        """Patch one SyncTarget."""


class Facts(Protocol):
    """What the reporter needs of :class:`kcpctl.syncer.facts.ClusterFacts`."""

    @property
    def settled(self) -> bool:
        """Whether the next beat may wait for its time; before, there are news soon."""

    def news(self) -> Unstructured:
        """Return the fields that are worth writing."""

    def told(self, fields: Unstructured) -> None:
        """Note that they were written."""


class StatusReporter:
    """Writes the heartbeat, and with it the identity and the time of the last complete sync.

    A JSON Patch on the status subresource that begins with a test of the uid and touches only
    these fields (row 83): ``lastSyncerHeartbeatTime`` and ``lastHeartbeatTime`` always,
    ``syncerIdentity`` once, ``lastSyncTime`` after a complete pass and at most once a minute
    (row 85), and what :class:`kcpctl.syncer.facts.ClusterFacts` has for news. Never conditions. (A
    merge patch would not do: a real API server ignores a wrong ``metadata.uid`` in one on the
    status of a custom resource.) Runs on the I/O loop.
    """

    def __init__(
        self,
        gate: Gate,
        sync_targets: SyncTargetClient,
        progress: Progress,
        facts: Facts,
        *,
        identity: str,
        interval_seconds: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._gate = gate
        self._client = sync_targets
        self._progress = progress
        self._facts = facts
        self._identity = identity
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._complete = False
        self._last_sync_at: float | None = None
        self._last_error = ""
        self.beats = 0
        self.ticked_at = clock.monotonic()

    async def run(self) -> None:
        """Beat until cancelled or the gate closes; it closes when there is no SyncTarget."""
        while self._gate.is_open:
            self.ticked_at = self._clock.monotonic()
            # Asked before, so that what is known by then goes with this beat.
            settled = self._facts.settled
            beaten = await self._try_beat()
            wait = self._interval_seconds if beaten and settled else HEARTBEAT_RETRY_SECONDS
            await self._clock.asleep(wait)

    async def _try_beat(self) -> bool:
        try:
            await self.beat()
        except Exception as error:  # noqa: BLE001 - a bug must not end the heartbeat either
            if is_gone(error):
                # The watch may never say so: with its logical cluster gone it cannot even list.
                self._gate.close(Verdict.GONE.value)
                _log.warning("No SyncTarget to beat for; nothing is touched downstream")
                return False
            if str(error) != self._last_error:
                _log.warning("Heartbeat failed, will retry", exc_info=error)
                self._last_error = str(error)
            return False
        if self._last_error:
            _log.info("Heartbeat goes through again")
            self._last_error = ""
        return True

    async def beat(self) -> None:
        """Write one heartbeat; raises what kept it from being written."""
        self._gate.require()
        now = self._clock.time()
        stamp = format_time(now)
        fields: Unstructured = {"lastSyncerHeartbeatTime": stamp, "lastHeartbeatTime": stamp}
        if not self.beats:
            fields["syncerIdentity"] = self._identity
        self._complete = self._complete or self._progress.take_complete()
        synced = self._complete and self._may_move_last_sync_time()
        if synced:
            fields["lastSyncTime"] = stamp
        news = self._facts.news()
        await self._write(fields | news)
        self._facts.told(news)
        self.beats += 1
        if synced:
            self._complete = False
            self._last_sync_at = self._clock.monotonic()

    def _may_move_last_sync_time(self) -> bool:
        if self._last_sync_at is None:
            return True
        return self._clock.monotonic() - self._last_sync_at >= _LAST_SYNC_TIME_EVERY_SECONDS

    async def _write(self, fields: Unstructured) -> None:
        name, uid = self._gate.target.name, self._gate.target.uid
        test = {"op": "test", "path": "/metadata/uid", "value": uid}
        ops = [test, *_add("/status", fields)]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._patch(name, ops)
                return
            except (Invalid, Conflict) as error:
                # Either the uid is another one, or there is no status yet to add a field to.
                found = await self._read(name)
                verdict = judge(found, uid)
                if found is None or not verdict.has_syncer:
                    raise GateClosed(f"SyncTarget {name!r} {verdict.value}") from error
                if attempt == _ATTEMPTS:
                    raise
            ops = [test, *_add("/status", fields)]
            if found.get("status") is None:
                version = found["metadata"]["resourceVersion"]
                unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
                ops = [test, unchanged, *_add("", {"status": fields})]

    async def _patch(self, name: str, ops: list[Unstructured]) -> None:
        await self._client.patch(
            name,
            ops,
            type=PatchType.JSON,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )

    async def _read(self, name: str) -> Unstructured | None:
        try:
            return await self._client.get(name)
        except NotFound:
            return None


def _add(path: str, fields: Unstructured) -> list[Unstructured]:
    return [{"op": "add", "path": f"{path}/{key}", "value": fields[key]} for key in fields]
