"""The conditions that the syncer owns in the status of its SyncTarget (1.5)."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kcpctl.apis.conditions import READY, Condition, set_condition
from kcpctl.apis.convert import decode
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.synctarget_status import CLUSTER_CONNECTED
from kcpctl.apis.workload import EXTERNAL, SyncTargetSpec, deployment_mode
from kcpctl.client import PatchType
from kcpctl.errors import Conflict, Invalid
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Backoff, Clock, get_logger
from kcpctl.syncer.gate import Gate, GateClosed, Verdict, is_gone
from kcpctl.syncer.status_reporter import SyncTargetClient
from kcpctl.syncer.target import FIELD_MANAGER

__all__ = ["OwnConditions"]

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 1.0
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 60.0
# Others write the same status: a lost race is run again at once, this often.
_ATTEMPTS: Final = 5


class OwnConditions:
    """Keeps conditions in the SyncTarget's status as they are wanted; others' stay untouched.

    :meth:`want` states from any thread what a condition shall be, and returns at once; ``run``, on
    the I/O loop, writes it within a second and tries again until it is written. To be sure that
    something stands in the status before going on, state it and then ``await write()``::

        conditions.want(false("SyncerReady", INFO, "Drained", "..."))
        loop.run(conditions.write())

    A write reads the SyncTarget live and patches the single conditions that differ, under a test
    of the uid and of the version that was read; one that lost a race reads again. Where nothing
    differs nothing is written, and while nothing changes nothing is read either: what others do to
    these conditions comes by :meth:`look`. ClusterConnected is the controller's, and left alone,
    unless the SyncTarget is in External mode. A SyncTarget that is being deleted is written to like
    any other. One that is gone closes the gate, as a heartbeat would.
    """

    def __init__(
        self,
        gate: Gate,
        sync_targets: SyncTargetClient,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._gate = gate
        self._client = sync_targets
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, clock=clock, rng=rng)
        self._last_error = ""
        self._lock = threading.Lock()
        # Guarded by _lock: what is to be, and what of it is not known to be there.
        self._wanted: dict[str, Condition] = {}
        self._dirty: set[str] = set()

    def want(self, condition: Condition) -> None:
        """State what the condition of that type shall be. Any thread."""
        with self._lock:
            if self._wanted.get(condition.type) != condition:
                self._wanted[condition.type] = condition
                self._dirty.add(condition.type)

    def look(self, sync_target: Unstructured) -> None:
        """Take note of the SyncTarget as the watch has seen it. Any thread."""
        stored = _conditions(sync_target)
        with self._lock:
            for type_, condition in self._wanted.items():
                at = _index(stored, type_)
                if at is not None and not _differs(stored[at], condition):
                    continue
                if _is_ours(sync_target, type_):
                    self._dirty.add(type_)

    async def run(self) -> None:
        """Write what is wanted until cancelled or the gate closes."""
        while self._gate.is_open:
            written = await self._try_write()
            await self._clock.asleep(_LOOK_SECONDS if written else self._backoff.next())

    async def _try_write(self) -> bool:
        try:
            await self.write()
        except Exception as error:  # noqa: BLE001 - a bug must not end the loop either
            if is_gone(error):
                self._gate.close(Verdict.GONE.value)
                return False
            if str(error) != self._last_error:
                _log.warning("The syncer's conditions are not written, will retry", exc_info=error)
                self._last_error = str(error)
            return False
        self._last_error = ""
        self._backoff.reset()
        return True

    async def write(self) -> None:
        """Have the status say what is wanted by now; raises what kept it from that.

        GateClosed: the SyncTarget is another one. NotFound: there is none.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            with self._lock:
                wanted = {type_: self._wanted[type_] for type_ in self._dirty}
            if not wanted:
                return
            try:
                await self._write(wanted)
            except (Conflict, Invalid):
                if attempt == _ATTEMPTS:
                    raise
            else:
                self._settle(wanted)
                return

    def _settle(self, written: Mapping[str, Condition]) -> None:
        with self._lock:
            self._dirty -= {t for t, condition in written.items() if self._wanted[t] == condition}

    async def _write(self, wanted: Mapping[str, Condition]) -> None:
        target = self._gate.target
        found = await self._client.get(target.name)
        metadata = found["metadata"]
        if metadata["uid"] != target.uid:
            raise GateClosed(f"SyncTarget {target.name!r} {Verdict.REPLACED.value}")
        changes = _changes(found, wanted, self._clock.time())
        if not changes:
            return
        tests = [
            {"op": "test", "path": f"/metadata/{field}", "value": metadata[field]}
            for field in ("uid", "resourceVersion")
        ]
        await self._client.patch(
            target.name,
            [*tests, *changes],
            type=PatchType.JSON,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )


def _changes(
    sync_target: Unstructured, wanted: Mapping[str, Condition], now: float
) -> list[Unstructured]:
    """Return the operations that bring the conditions of a SyncTarget to what is wanted."""
    conditions = _conditions(sync_target)
    ops: list[Unstructured] = []
    for type_, condition in sorted(wanted.items()):
        at = _index(conditions, type_)
        if at is not None and not _differs(conditions[at], condition):
            continue
        if not _is_ours(sync_target, type_):
            continue
        before = () if at is None else (decode(conditions[at], Condition),)
        value = msgspec.to_builtins(set_condition(before, condition, now)[0])
        if at is None:
            at = _place(conditions, type_)
            conditions.insert(at, value)
            ops.append({"op": "add", "path": f"/status/conditions/{at}", "value": value})
        else:
            conditions[at] = value
            ops.append({"op": "replace", "path": f"/status/conditions/{at}", "value": value})
    status = sync_target.get("status")
    if not ops or (status and status.get("conditions") is not None):
        return ops
    if status is None:
        return [{"op": "add", "path": "/status", "value": {"conditions": conditions}}]
    return [{"op": "add", "path": "/status/conditions", "value": conditions}]


def _is_ours(sync_target: Unstructured, type_: str) -> bool:
    if type_ != CLUSTER_CONNECTED:
        return True
    try:
        spec = decode(sync_target.get("spec") or {}, SyncTargetSpec)
    except msgspec.ValidationError:
        return False
    return deployment_mode(spec) == EXTERNAL


def _conditions(sync_target: Unstructured) -> list[Any]:
    return list((sync_target.get("status") or {}).get("conditions") or ())


def _index(conditions: Sequence[Any], type_: str) -> int | None:
    return next((i for i, one in enumerate(conditions) if one.get("type") == type_), None)


def _place(conditions: Sequence[Any], type_: str) -> int:
    """Return where a type belongs: Ready is first, the others are in order."""
    rank = (type_ != READY, type_)
    later = (i for i, one in enumerate(conditions) if (one["type"] != READY, one["type"]) > rank)
    return next(later, len(conditions))


def _differs(stored: Unstructured, wanted: Condition) -> bool:
    before = decode(stored, Condition)
    return set_condition((before,), wanted, 0.0)[0] is not before
