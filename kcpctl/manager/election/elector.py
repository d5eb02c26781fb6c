"""The elector: win a Lease, hold it, give it back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Final, NoReturn, TypeVar

from kcpctl.apis.meta import Unstructured
from kcpctl.client import WriteGate
from kcpctl.errors import (
    AlreadyExists,
    Conflict,
    Gone,
    KcpctlError,
    LeadershipLost,
    NotFound,
    TransportTimeout,
)
from kcpctl.manager.election.lease import LeaseApi
from kcpctl.manager.election.metrics import ElectionMetrics
from kcpctl.manager.election.options import ElectionOptions
from kcpctl.manager.election.record import LeaderRecord
from kcpctl.runtime import Clock, TaskSet, format_micro_time, get_logger

__all__ = ["LeaderElector"]

T = TypeVar("T")
_log = get_logger(__name__)

# LE-03: a contender's pause is up to this much longer than the retry period.
_JITTER: Final = 0.2
_RELEASE_SECONDS: Final = 2.0


class LeaderElector:
    """One contender for one Lease; all of it on one event loop.

    :meth:`campaign` returns when the Lease is won, :meth:`hold` keeps it and raises LeadershipLost
    when it could not be renewed in time or is somebody else's, :meth:`release` gives it back. An
    elector leads once.

    A contender watches the Lease, so it takes over at once when it is released, and otherwise one
    lease duration after it last saw it change, on its own clock (LE-06): wall clocks do not matter.
    Every write carries the version that was read (LE-08), so of two contenders one wins.

    While it leads the gate is open until one retry period before others may take over, counted
    from before the renewal was sent. So it closes by itself if this process hangs.

    ``on_leader`` is told each holder that is seen, this one included, once each (LE-14).
    """

    def __init__(
        self,
        api: LeaseApi,
        options: ElectionOptions,
        gate: WriteGate,
        *,
        clock: Clock,
        rng: random.Random,
        metrics: ElectionMetrics,
        on_leader: Callable[[str], object],
    ) -> None:
        self.leading = False
        self._api = api
        self._options = options
        self._gate = gate
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._on_leader = on_leader
        self._tasks = TaskSet(f"election {options.name}")
        self._lease: Unstructured = {}
        self._record = LeaderRecord("", 0, "", "", 0)
        self._observed_at = clock.boottime()
        self._renewed_at = clock.boottime()
        self._changed = asyncio.Event()
        self._failing = False
        self._tried = False

    async def campaign(self) -> None:
        """Return when the Lease is won. Fails never: it waits for as long as it takes."""
        while True:
            try:
                if await self._won():
                    return
                await self._until_takeable()
                if self._takeable:
                    continue
            except (Conflict, AlreadyExists):
                pass  # another contender was faster
            except KcpctlError as error:
                self._tell("The Lease cannot be fought for", error)
            await self._clock.asleep(
                self._options.retry_seconds * (1 + _JITTER * self._rng.random())
            )

    async def hold(self) -> NoReturn:
        """Renew every retry period; raises LeadershipLost when that failed for too long (LE-11)."""
        while True:
            await self._clock.asleep(self._options.retry_seconds)
            try:
                await self._renew()
            except LeadershipLost:
                self.leading = False
                self._gate.close()
                self._metrics.leads(False)
                raise

    async def release(self) -> None:
        """Give the Lease back if it is ours, so that others need not wait (LE-15, LE-16).

        Tries for two seconds: whoever waits for the Lease waits longer then, but the process that
        ends does not wait for a server that hangs. Call it when the work has ended (mends LE-17):
        from then on no write passes the gate. May be called twice.
        """
        self._gate.close()
        self.leading = False
        self._metrics.leads(False)
        tried, self._tried = self._tried, False
        if tried:
            try:
                await self._within(_RELEASE_SECONDS, self._give_back())
            except KcpctlError as error:
                _log.warning("The Lease was not released", lease=self._options.name, error=error)
        await self._tasks.close()

    def problem(self) -> str:
        """Return what is wrong, or "": it believes to lead and renewed too long ago (LE-18)."""
        late = self._clock.boottime() - self._renewed_at - self._options.lease_seconds
        if not self.leading or late < 0:
            return ""
        return f"the Lease {self._options.name} was last renewed {late:.0f}s after it ran out"

    # Winning.

    async def _won(self) -> bool:
        """Try once (LE-04, LE-05)."""
        await self._read()
        if not self._takeable:
            return False
        await self._take()
        self._failing = False
        return True

    async def _read(self) -> None:
        try:
            self._observe(await self._api.read())
        except NotFound:
            self._observe(None)

    async def _take(self) -> None:
        # The answer may get lost, or this task be cancelled, when the Lease is ours already.
        self._tried = True
        began = self._clock.boottime()
        now = format_micro_time(self._clock.time())
        record = LeaderRecord(
            holder=self._options.identity,
            lease_seconds=int(self._options.lease_seconds),
            acquired=now,
            renewed=now,
            transitions=self._record.transitions + 1 if self._lease else 0,
        )
        if self._lease:
            await self._write(record, began)
        else:
            empty = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._options.name, "namespace": self._options.namespace},
            }
            lease = record.into(empty, dict(self._options.labels))
            self._renewed(await self._api.create(lease), began)
        self.leading = True
        self._metrics.leads(True)

    @property
    def _takeable(self) -> bool:
        return self._takeable_in_seconds <= 0

    @property
    def _takeable_in_seconds(self) -> float:
        """How long until the Lease may be taken, as things are."""
        if not self._lease or self._record.holder in {"", self._options.identity}:
            return 0.0
        return self._observed_at + self._record.lease_seconds - self._clock.boottime()

    def _observe(self, lease: Unstructured | None) -> None:
        """Take note of what the Lease is now; only a change counts as a sign of life (LE-06)."""
        self._lease = lease or {}
        record = LeaderRecord.of(self._lease)
        if record == self._record:
            return
        if record.holder and record.holder != self._record.holder:
            self._on_leader(record.holder)
        self._record = record
        self._observed_at = self._clock.boottime()
        self._changed.set()

    async def _until_takeable(self) -> None:
        """Watch until the Lease may be taken, or until the watch ends."""
        if not self._lease:
            return
        version = self._lease["metadata"]["resourceVersion"]
        watching = self._tasks.spawn(self._watch(version), name="watch")
        try:
            while not self._takeable and not watching.done():
                self._changed.clear()
                await self._any(
                    watching, self._changed.wait(), self._clock.asleep(self._takeable_in_seconds)
                )
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        if not watching.cancelled() and (error := watching.result()):
            raise error

    async def _watch(self, version: str) -> KcpctlError | None:
        try:
            async with aclosing(self._api.changes(version)) as changes:
                async for lease in changes:
                    self._failing = False
                    self._observe(lease)
        except KcpctlError as error:
            return error
        return None

    # Holding.

    async def _renew(self) -> None:
        """Renew, again and again until the renew deadline (LE-11)."""
        deadline = self._renewed_at + self._options.renew_deadline_seconds
        while (left := deadline - self._clock.boottime()) > 0:
            try:
                await self._within(left, self._renew_once())
            except LeadershipLost:
                raise
            except KcpctlError as error:
                self._tell("The Lease was not renewed", error)
                left = deadline - self._clock.boottime()
                await self._clock.asleep(min(self._options.retry_seconds, left))
            else:
                self._failing = False
                return
        raise LeadershipLost(
            f"the Lease {self._options.name} was not renewed for "
            f"{self._options.renew_deadline_seconds:g}s"
        )

    async def _renew_once(self) -> None:
        """Write the Lease as it is remembered, or read it first when that fails (LE-10)."""
        # There is none to write when it was deleted and could not be made anew so far.
        if self._lease:
            with suppress(Conflict, NotFound):
                await self._write_renewal()
                return
        self._metrics.slow_path()
        await self._read()
        if not self._lease:
            await self._take()
        elif self._record.holder == self._options.identity:
            await self._write_renewal()
        else:
            raise LeadershipLost(
                f"the Lease {self._options.name} is {self._record.holder or 'nobody'}'s now"
            )

    async def _write_renewal(self) -> None:
        # LE-09: acquire time and transitions stay.
        now = format_micro_time(self._clock.time())
        await self._write(replace(self._record, renewed=now), self._clock.boottime())

    async def _write(self, record: LeaderRecord, began: float) -> None:
        lease = record.into(self._lease, dict(self._options.labels))
        self._renewed(await self._api.update(lease), began)

    def _renewed(self, lease: Unstructured, began: float) -> None:
        self._observe(lease)
        self._renewed_at = began
        self._gate.open_until(began + self._options.lease_seconds - self._options.retry_seconds)

    async def _give_back(self) -> None:
        while True:
            try:
                lease = await self._api.read()
                if LeaderRecord.of(lease).holder != self._options.identity:
                    return
                now = format_micro_time(self._clock.time())
                record = replace(
                    LeaderRecord.of(lease), holder="", lease_seconds=1, acquired=now, renewed=now
                )
                await self._api.update(record.into(lease, {}))
            except Conflict:
                continue
            except NotFound:
                return
            return

    # Waiting.

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` for ``seconds`` at most, on the injected clock."""
        task = self._tasks.spawn(_outcome(work), name="work")
        try:
            await self._any(task, self._clock.asleep(seconds))
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            raise TransportTimeout(f"no answer within {seconds:g}s")
        if error := task.result():
            raise error

    async def _any(self, task: asyncio.Task[Any], *waits: Coroutine[Any, Any, object]) -> None:
        """Return when the task or any of the waits has ended; the waits are cancelled then."""
        others = [self._tasks.spawn(wait, name="wait") for wait in waits]
        try:
            await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in others:
                other.cancel()
            await asyncio.wait(others)

    def _tell(self, what: str, error: KcpctlError) -> None:
        """Log the first failure in a row as a warning."""
        if isinstance(error, Gone):
            # Of a watch: nobody has renewed the Lease since its version was forgotten, as after an
            # outage. It is asked for all the same.
            return
        first, self._failing = not self._failing, True
        log = _log.warning if first else _log.debug
        log(what, lease=self._options.name, namespace=self._options.namespace, error=error)


async def _outcome(work: Coroutine[Any, Any, None]) -> KcpctlError | None:
    """Return the error of ``work`` instead of raising it: a task that fails is logged."""
    try:
        await work
    except KcpctlError as error:
        return error
    return None
