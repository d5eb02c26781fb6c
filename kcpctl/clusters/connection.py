"""One cluster of the pool: connecting, probing, swapping credentials, ending."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from kcpctl.client import AsyncClient, Client
from kcpctl.clusters.budget import PATIENCE_SECONDS, ConnectBudget
from kcpctl.clusters.line import Line
from kcpctl.clusters.meter import Cap
from kcpctl.clusters.probe import Failure, connect, probe
from kcpctl.clusters.status import ConnectionReason, ConnectionState, ConnectionStatus
from kcpctl.clusters.watches import ClusterWatch, Scope, Watches
from kcpctl.errors import NotConnected
from kcpctl.runtime import Backoff, Clock, IOLoop, Limit, TaskSet, gather_all, get_logger

__all__ = ["Connection", "Environment"]

_log = get_logger(__name__)

# Decision 15.
_BACKOFF_INITIAL_SECONDS: Final = 1.0
_BACKOFF_MAX_SECONDS: Final = 30.0
_HEALTHY_RESET_SECONDS: Final = 120.0
# What keeps clusters apart is where in the period the first probe falls (see docs/decisions.md).
_JITTER: Final = 0.05
# Probes are due at the ends of so many slots of a period: a process that is woken for one cluster
# probes those that are next, too, which costs half as much CPU as waking for each.
_SLOTS: Final = 100
_FAILURES_TO_DISCONNECT: Final = 5
# A cluster that sends events is there; but only a probe tells that it still knows who asks.
_PROBES_TO_LEAVE_OUT: Final = 5
# Longer than the client's default timeout: requests that are under way with the old credentials
# end before their connections close.
_RETIRE_SECONDS: Final = 35.0
# Most requests take milliseconds; and who removes a cluster that hangs has to wait for this.
_DRAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What all connections of a pool share.

    ``moved`` is called at each change of state with the old and the new status; ``probed`` with
    the result of each probe and how long it took.
    """

    io_loop: IOLoop
    clock: Clock
    rng: random.Random
    budget: ConnectBudget
    probe_interval_seconds: float
    probe_timeout_seconds: float
    connect_timeout_seconds: float
    cap: Cap
    moved: Callable[[ConnectionStatus, ConnectionStatus], None]
    probed: Callable[[bool, float], None]


class Connection:
    """One cluster of the pool.

    ``status()`` and ``get()`` are O(1) without I/O and safe from any thread; everything else
    belongs on the I/O loop. At most one attempt is under way at a time. A client is served from
    the first successful probe until five probes in a row fail or the server refuses the
    credentials. New credentials replace old ones when they have connected; what the old client has
    under way may end. A connection that is lost ends what is under way, watches too. After
    ``close`` no task and no socket is left.
    """

    def __init__(self, key: str, environment: Environment) -> None:
        self.key = key
        self._env = environment
        self._tasks = TaskSet(f"cluster {key}")
        self._runner: asyncio.Task[None] | None = None
        self._backoff = Backoff(
            _BACKOFF_INITIAL_SECONDS,
            _BACKOFF_MAX_SECONDS,
            clock=environment.clock,
            rng=environment.rng,
        )
        # Invariant: _candidate has never connected; _current has, with the newest credentials that
        # ever did. Only _serving is handed out.
        self._candidate: AsyncClient | None = None
        self._current: AsyncClient | None = None
        # How to make each once more: a client whose connection was lost is closed.
        self._make_candidate = self._make_current = _no_client
        self._serving: Client | None = None
        self._retiring: set[AsyncClient] = set()
        self._failures = 0
        self._source = self._rotation = ""
        self._slow = self._fresh = False
        self._healthy_since = 0.0
        # Where in the period the first probe falls: clusters that connect together at the start
        # are not probed together.
        digest = hashlib.sha256(key.encode()).digest()
        self._phase = int.from_bytes(digest[:4], "big") / 2**32
        self._first_probe = False
        self._due = 0.0  # when the last attempt was, by plan
        self._line = Line()
        self._heard = self._left_out = 0
        self._watches = Watches(
            environment.io_loop,
            self._line,
            self._tasks,
            clock=environment.clock,
            rng=environment.rng,
            cap=environment.cap,
            changed=self._watches_changed,
            refusal=self._refusal,
        )
        self._next_attempt_at: float | None = None
        self._status = ConnectionStatus(
            key,
            ConnectionState.PENDING,
            environment.clock.time(),
            ConnectionReason.NOT_CHECKED,
            "not tried yet",
        )

    def status(self) -> ConnectionStatus:
        """Return the status with the time to the next attempt."""
        at = self._next_attempt_at
        left = None if at is None else max(at - self._env.clock.monotonic(), 0.0)
        objects = self._watches.objects
        return replace(self._status, next_attempt_in_seconds=left, cached_objects=objects)

    def get(self) -> Client:
        """Return the live client; raises NotConnected."""
        client = self._serving
        if client is None:
            raise self._refusal("")
        return client

    def watch(self, scope: Scope) -> ClusterWatch[Any]:
        """Return a hold on the shared informer of that scope; raises NotConnected."""
        return self._watches.join(self.get().aio, scope)

    def _refusal(self, why: str) -> NotConnected:
        status = self.status()
        return NotConnected(
            self.key,
            state=status.state,
            since=status.since,
            last_error=why or status.message,
            next_attempt_in_seconds=status.next_attempt_in_seconds,
        )

    # On the I/O loop.

    def use(self, client: AsyncClient, make: Callable[[], AsyncClient], source: str) -> None:
        """Connect with new credentials; the ones in use go on until these have connected.

        ``make`` makes another client like ``client``, for when the connection was lost; ``source``
        is where the credentials are from.

        Another server may be another cluster: there the old ones end at once.
        """
        self._halt()
        if self._current is not None and self._current.server != client.server:
            self._drop_clients()
        self._discard(self._candidate)
        self._candidate, self._make_candidate = client, make
        self._source, self._rotation = source, ""
        self._slow, self._fresh = False, True
        self._backoff.reset()
        if self._current is None or self._serving is None:
            self._failures = 0
        self._runner = self._tasks.spawn(self._run(), name="connection")

    def fail(self, reason: str, message: str) -> None:
        """Drop the connection: its credentials are gone or unusable, and no attempt makes sense."""
        self._halt()
        self._drop_clients()
        self._move(ConnectionState.DISCONNECTED, reason, message)

    async def close(self) -> None:
        """End everything; the last change of state is Gone.

        Requests under way may end first, for 5 s at most; watches end at once.
        """
        self._halt()
        self._stop_serving()
        self._watches.close()
        if self._status.state is not ConnectionState.GONE:
            self._move(ConnectionState.DRAINING, ConnectionReason.NOT_CHECKED, "being removed")
        await self._drain()
        self._drop_clients()
        await self._tasks.close()
        for client in list(self._retiring):  # their tasks may not even have begun
            await client.close()
        self._retiring.clear()
        self._move(ConnectionState.GONE, ConnectionReason.NOT_CHECKED, "removed from the pool")

    async def _drain(self) -> None:
        clients = [one for one in (self._current, self._candidate, *self._retiring) if one]
        try:
            async with Limit(_DRAIN_SECONDS, self._env.clock):
                await gather_all(*(client.drain() for client in clients))
        except TimeoutError:
            _log.info("Requests were cut off by the end of a connection", cluster=self.key)

    def _halt(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
        self._runner = None
        self._next_attempt_at = None

    def _drop_clients(self) -> None:
        self._rotation = ""
        self._stop_serving()
        self._discard(self._candidate)
        self._discard(self._current)
        self._candidate = self._current = None

    def _stop_serving(self) -> None:
        self._serving = None
        self._watches.lose()

    def _discard(self, client: AsyncClient | None, *, after_seconds: float = 0.0) -> None:
        if client is not None:
            self._retiring.add(client)
            self._tasks.spawn(self._retire(client, after_seconds), name="retire")

    async def _retire(self, client: AsyncClient, after_seconds: float) -> None:
        await self._env.clock.asleep(after_seconds)
        await client.close()
        self._retiring.discard(client)

    async def _run(self) -> None:
        clock = self._env.clock
        self._due = clock.monotonic()
        while True:
            began = clock.monotonic()
            self._next_attempt_at = None
            try:
                await self._attempt()
            except Exception as error:  # noqa: BLE001 - a bug must not leave a cluster unwatched
                _log.error("Cluster probe failed on a bug", cluster=self.key, exc_info=error)
                self._failed(Failure(ConnectionReason.CONNECTION_FAILED, f"a bug: {error!r}"))
            self._next_attempt_at = self._plan(began)
            await clock.asleep(self._next_attempt_at - clock.monotonic())

    def _plan(self, began: float) -> float:
        """Return when the next attempt is, on the monotonic clock.

        Probes keep their rate, whatever one of them takes and however late the loop was: each is
        planned from the plan of the one before. While disconnected whichever comes first counts,
        the back-off or the probe, so a cluster that is back is seen within 15 s.
        """
        env, now = self._env, self._env.clock.monotonic()
        period = env.probe_interval_seconds * (1 + _JITTER * (2 * env.rng.random() - 1))
        if self._serving is None:
            return max(min(began + period, now + self._backoff.next()), now)
        if self._first_probe:
            self._first_probe = False
            self._due, period = began, env.probe_interval_seconds * self._phase
        # One that is later than a whole period is not made up for.
        self._due = max(self._due + period, now)
        slot = env.probe_interval_seconds / _SLOTS
        return math.ceil(self._due / slot) * slot

    async def _attempt(self) -> None:
        failure = None
        if self._candidate is not None:
            failure = await self._connect(self._candidate)
            if failure is None:
                return
            self._rotation = "" if self._current is None else failure.message
        if self._current is None:
            self._failed(failure or Failure(ConnectionReason.CONNECTION_FAILED, "no credentials"))
            return
        if failure is None and self._was_heard():
            return
        began = self._env.clock.monotonic()
        probed = await probe(
            self._current,
            timeout_seconds=self._env.probe_timeout_seconds,
            clock=self._env.clock,
        )
        self._env.probed(probed is None, self._env.clock.monotonic() - began)
        if probed is not None:
            self._failed(failure or probed, final=probed.final)
        elif failure is not None:
            self._serve(self._current, self._status.version, failure)
        else:
            self._serve(self._current, self._status.version)

    def _was_heard(self) -> bool:
        """Whether watches have brought news since the last probe was due, which is as good."""
        heard, self._heard = self._line.heard != self._heard, self._line.heard
        healthy = self._serving is not None and not self._failures
        if heard and healthy and self._left_out < _PROBES_TO_LEAVE_OUT:
            self._left_out += 1
            return True
        self._left_out = 0
        return False

    async def _connect(self, candidate: AsyncClient) -> Failure | None:
        """Try credentials for the first time, or again after they failed."""
        if self._slow:
            # It used its patience up last time: outside the shared budget it delays nobody.
            result = await self._look(candidate)
        else:
            async with self._env.budget.place():
                if self._fresh and self._serving is None:
                    self._move(
                        ConnectionState.CONNECTING,
                        ConnectionReason.NOT_CHECKED,
                        f"connecting to {candidate.server}",
                    )
                result = await self._look(candidate)
        self._fresh = False
        if isinstance(result, Failure):
            return result
        old, self._current, self._candidate = self._current, candidate, None
        self._make_current, self._rotation = self._make_candidate, ""
        self._discard(old, after_seconds=_RETIRE_SECONDS)
        self._serve(candidate, result)
        return None

    async def _look(self, candidate: AsyncClient) -> Failure | str:
        began = self._env.clock.monotonic()
        result = await connect(
            candidate,
            timeout_seconds=self._env.connect_timeout_seconds,
            clock=self._env.clock,
        )
        took = self._env.clock.monotonic() - began
        self._env.probed(isinstance(result, str), took)
        self._slow = took > PATIENCE_SECONDS
        return result

    def _serve(self, client: AsyncClient, version: str, pending: Failure | None = None) -> None:
        """The last probe succeeded; ``pending`` says why newer credentials did not."""
        self._failures = 0
        if self._serving is None:
            self._healthy_since = self._env.clock.monotonic()
            self._first_probe = True
        if self._serving is None or self._serving.aio is not client:
            self._watches.serve(client)
            # Replaced in one step: no thread may find nothing in the middle of a swap.
            self._serving = Client(client, self._env.io_loop)
        if pending is None:
            self._connected(client, version)
        else:
            message = f"the new credentials fail ({pending.message}); the old ones still work"
            self._move(ConnectionState.DEGRADED, pending.reason, message, version=version)

    def _connected(self, client: AsyncClient, version: str) -> None:
        about = f"connected to {client.server}" + (f" ({version})" if version else "")
        state = ConnectionState.READY
        if unsettled := self._watches.unsettled:
            state, about = ConnectionState.SYNCING, f"{about}; {unsettled}"
        self._move(state, ConnectionReason.CONNECTED, about, version=version)

    def _watches_changed(self) -> None:
        client, state = self._serving, self._status.state
        if client is not None and state in {ConnectionState.READY, ConnectionState.SYNCING}:
            self._connected(client.aio, self._status.version)

    def _failed(self, failure: Failure, *, final: bool | None = None) -> None:
        self._failures += 1
        final = failure.final if final is None else final
        if self._serving is not None and not final and self._failures < _FAILURES_TO_DISCONNECT:
            self._move(ConnectionState.DEGRADED, failure.reason, failure.message)
            return
        if self._serving is not None:
            self._stop_serving()
            if self._current is not None:
                self._discard(self._current)
                self._current = self._make_current()
            healthy = self._env.clock.monotonic() - self._healthy_since
            if healthy >= _HEALTHY_RESET_SECONDS:
                self._backoff.reset()
        self._move(ConnectionState.DISCONNECTED, failure.reason, failure.message)

    def _move(
        self, state: ConnectionState, reason: str, message: str, *, version: str | None = None
    ) -> None:
        """Publish a status; a new state or reason is told to everybody, a new message is not.

        So is that newer credentials do not work, and that they do.
        """
        old = self._status
        client = self._current or self._candidate
        self._status = ConnectionStatus(
            self.key,
            state,
            old.since if state is old.state else self._env.clock.time(),
            reason,
            message,
            version=old.version if version is None else version,
            server=old.server if client is None else client.server,
            source=self._source,
            rotation=self._rotation,
        )
        news = (state, reason, bool(self._rotation))
        if (old.state, old.reason, bool(old.rotation)) != news:
            self._env.moved(old, self._status)


def _no_client() -> AsyncClient:
    raise AssertionError("there were no credentials yet")
