"""An election on a thread and a connection of its own, for a manager."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Final

from kcpctl.client import AsyncClient, WriteGate
from kcpctl.errors import LeadershipLost
from kcpctl.manager.election.elector import LeaderElector
from kcpctl.manager.election.lease import ServerLease
from kcpctl.manager.election.metrics import ElectionMetrics
from kcpctl.manager.election.options import ElectionOptions
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    IOLoop,
    Metrics,
    get_logger,
)

__all__ = ["Election"]

_log = get_logger(__name__)
_POLL_SECONDS: Final = 0.02


class Election:
    """Keeps one Lease for one process, apart from everything else that the process does.

    Renewals have an event loop and a client of their own, so that neither a stalled I/O loop nor
    a limit of requests can lose the Lease. ``client`` is closed with the election; nobody else
    may use it, and it must not pass ``gate``. Blocking methods, for threads of the program.

    Parameters
    ----------
    connect: makes the client of the server, in the logical cluster that has the Lease. Give it a
        request timeout of half the renew deadline (LE-21).
    gate: what the clients of the controllers pass their writes through.
    """

    def __init__(
        self,
        connect: Callable[[], AsyncClient],
        options: ElectionOptions,
        gate: WriteGate,
        *,
        metrics: Metrics | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self.options = options
        self.gate = gate
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._metrics = ElectionMetrics(
            metrics or Metrics(), options.name, remaining_seconds=lambda: gate.remaining_seconds
        )
        self._elector: LeaderElector | None = None
        self._io_loop: IOLoop | None = None
        self._client: AsyncClient | None = None
        self._run: Future[None] | None = None
        self._leading = threading.Event()
        self._lost = ""

    @property
    def leading(self) -> bool:
        """Whether this process leads."""
        return self._leading.is_set()

    def campaign(self, on_lost: Callable[[], object]) -> None:
        """Begin to fight for the Lease; ``on_lost`` is called when it was won and then lost."""
        self._io_loop = IOLoop("kcpctl-lease")
        self._client = self._connect()
        self._elector = LeaderElector(
            ServerLease(self._client, self.options.namespace, self.options.name),
            self.options,
            self.gate,
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
            on_leader=self._saw_leader,
        )
        self._run = self._io_loop.submit(self._lead(self._elector, on_lost))

    def wait(self, stop: threading.Event) -> bool:
        """Return True when this process leads, or False when ``stop`` was set first."""
        while not stop.is_set():
            if self._leading.wait(_POLL_SECONDS):
                return True
        return False

    def check(self) -> None:
        """Raise LeadershipLost if the Lease was won and then lost."""
        if self._lost:
            raise LeadershipLost(self._lost)

    def problem(self) -> str:
        """Return what is wrong with the Lease, "" for nothing; a health check (LE-18)."""
        return self._elector.problem() if self._elector is not None else ""

    def close(self) -> None:
        """Give the Lease back if it is held, and end. May be called twice."""
        io_loop, self._io_loop = self._io_loop, None
        if io_loop is None or self._elector is None or self._run is None:
            return
        self._run.cancel()
        with suppress(CancelledError):
            self._run.result()
        io_loop.run(self._elector.release())
        if self._client is not None:
            io_loop.run(self._client.close())
        io_loop.close()

    async def _lead(self, elector: LeaderElector, on_lost: Callable[[], object]) -> None:
        try:
            await elector.campaign()
            _log.info("Became leader", lease=self.options.name, identity=self.options.identity)
            self._leading.set()
            await elector.hold()
        except Exception as error:  # noqa: BLE001 - nobody may go on without an elector
            is_bug = not isinstance(error, LeadershipLost)
            self._lost = f"{type(error).__name__}: {error}" if is_bug else str(error)
            detail = {"exc_info": error} if is_bug else {"error": error}
            _log.error("Lost the Lease", lease=self.options.name, **detail)
            on_lost()

    def _saw_leader(self, holder: str) -> None:
        if holder != self.options.identity:
            _log.info("Another process leads", lease=self.options.name, leader=holder)
