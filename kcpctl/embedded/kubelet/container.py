"""One real container: a child process that is started, probed, restarted and stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kcpctl.embedded.kubelet.probes import Probe, check, watch_probe
from kcpctl.embedded.kubelet.volumes import Missing
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    BlockingPool,
    Child,
    Clock,
    TaskSet,
    format_time,
    gather_all,
)

__all__ = ["Container", "Launch"]

Json = dict[str, Any]

_POLL_SECONDS: Final = 0.1
_QUICK_RESTART_SECONDS: Final = 1.0
_FIRST_BACKOFF_SECONDS: Final = 10.0
_LAST_BACKOFF_SECONDS: Final = 300.0
_STEADY_SECONDS: Final = 600.0  # a run of this length makes the back-off start over
_MESSAGE_BYTES: Final = 2048
_MESSAGE_LINES: Final = 80
_MISSING_RETRY_SECONDS: Final = 1.0
_KILL_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line and its whole environment (which holds secrets: never logged)."""

    command: list[str]
    env: dict[str, str] = field(repr=False)


class Container:
    """Runs a container until it is closed.

    It is restarted when it ends: the first time after about a second, then after 10 s, doubling
    to 5 min, as CrashLoopBackOff does. Its output is kept in ``log_path``, that of the run before
    in ``previous_log_path``. ``changed`` is called when :attr:`status` differs.

    Parameters
    ----------
    prepare: returns the command and environment, or raises Missing when it cannot start yet.
    address: the Pod's, for probes.
    record: writes an event (reason, message, warning).

    Event loop's thread only; ``close`` returns when the process has ended.
    """

    def __init__(
        self,
        spec: Json,
        *,
        directory: Path,
        address: str,
        prepare: Callable[[], Launch],
        changed: Callable[[], None],
        record: Callable[[str, str, bool], None],
        pool: BlockingPool,
        restart: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.log_path = directory / f"{self.name}.log"
        self.previous_log_path = directory / f"{self.name}.previous.log"
        self._address = address
        self._prepare = prepare
        self._changed = changed
        self._record = record
        self._pool = pool
        self._restart = restart
        self._clock = clock
        self._tasks = TaskSet(f"container-{self.name}")
        self._child: Child | None = None
        self._state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: Json = {}
        self._restarts = 0
        self._ready = False
        self._started = False
        self._crashes = 0
        self._kill: asyncio.Event = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it runs and its readiness probe, if any, succeeds."""
        return self._ready

    @property
    def finished(self) -> int | None:
        """The exit code of a container that is not restarted; None while there may be more."""
        ended = self._state.get("terminated")
        return int(ended["exitCode"]) if ended and not self._restart else None

    @property
    def status(self) -> Json:
        """Its entry in containerStatuses."""
        image = self.spec.get("image", "")
        return {
            "name": self.name,
            "image": image,
            "imageID": "",
            "containerID": f"kcpctl://{self._child.pid}" if self._child else "",
            "ready": self._ready,
            "started": self._started,
            "restartCount": self._restarts,
            "state": self._state,
            "lastState": self._last_state,
        }

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Begin."""
        self._tasks.spawn(self._run(), name="run")

    async def close(self, grace_seconds: float = _KILL_GRACE_SECONDS) -> None:
        """Stop the process: SIGTERM, then SIGKILL after the grace."""
        await self._tasks.close()
        await self._end_child(grace_seconds)

    async def _end_child(self, grace_seconds: float) -> None:
        if self._child is not None:
            await self._pool.run(self._child.close, grace_seconds)
            self._child = None

    def _set(self, state: Json, *, ready: bool, started: bool) -> None:
        self._state, self._ready, self._started = state, ready, started
        self._changed()

    async def _run(self) -> None:
        while True:
            launch = await self._launch()
            began = self._clock.time()
            exit_code = await self._one_run(launch, began)
            ended = self._ended(exit_code, began)
            if not self._restart:
                self._set({"terminated": ended}, ready=False, started=False)
                return
            await self._back_off(ended, self._clock.time() - began)

    async def _launch(self) -> Launch:
        while True:
            try:
                return self._prepare()
            except (Missing, ValueError) as problem:
                self._record("FailedMount", str(problem), True)
                waiting = {"reason": "ContainerCreating", "message": str(problem)}
                self._set({"waiting": waiting}, ready=False, started=False)
                await self._clock.asleep(_MISSING_RETRY_SECONDS)

    async def _one_run(self, launch: Launch, began: float) -> int:
        """Start the process, watch it and return its exit code."""
        if self.log_path.exists():
            self.log_path.replace(self.previous_log_path)
        with self.log_path.open("wb") as output:
            try:
                child = self._child = Child(launch.command, env=launch.env, output=output)
            except OSError as error:
                output.write(f"cannot start {launch.command[0]}: {error}\n".encode())
                return 127
        self._kill.clear()
        self._record("Started", f"Started container {self.name}", False)
        readiness = Probe.of(self.spec.get("readinessProbe"))
        startup = Probe.of(self.spec.get("startupProbe"))
        running = {"running": {"startedAt": format_time(began)}}
        self._set(running, ready=not readiness and not startup, started=not startup)
        probing = self._tasks.spawn(self._probe(startup, readiness), name="probes")
        try:
            return await self._wait_end(child)
        finally:
            probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probing

    async def _wait_end(self, child: Child) -> int:
        while (status := child.poll()) is None:
            if self._kill.is_set():
                await self._pool.run(child.close, _KILL_GRACE_SECONDS)
            await self._clock.asleep(_POLL_SECONDS)
        await self._end_child(0)
        return status if status >= 0 else 128 - status

    async def _probe(self, startup: Probe | None, readiness: Probe | None) -> None:
        if startup is not None:
            await self._watch(startup, self._startup_changed, eager=True, once=True)
            self._set(self._state, ready=readiness is None, started=True)
        liveness = Probe.of(self.spec.get("livenessProbe"))
        watches = []
        if readiness is not None:
            watches.append(self._watch(readiness, self._readiness_changed, eager=True))
        if liveness is not None:
            watches.append(self._watch(liveness, self._liveness_changed))
        await gather_all(*watches)

    async def _watch(
        self,
        probe: Probe,
        report: Callable[[bool, str], None],
        *,
        eager: bool = False,
        once: bool = False,
    ) -> None:
        await watch_probe(
            probe, lambda: self._check(probe), report, self._clock, eager=eager, once=once
        )

    async def _check(self, probe: Probe) -> None:
        ports = {
            entry["name"]: int(entry["containerPort"])
            for entry in self.spec.get("ports") or ()
            if entry.get("name")
        }
        await check(probe, self._address, ports)

    def _startup_changed(self, healthy: bool, message: str) -> None:
        if not healthy:
            self._unhealthy("Startup", message, kill=True)

    def _readiness_changed(self, healthy: bool, message: str) -> None:
        if healthy != self._ready:
            if not healthy:
                self._unhealthy("Readiness", message, kill=False)
            self._set(self._state, ready=healthy, started=self._started)

    def _liveness_changed(self, healthy: bool, message: str) -> None:
        if not healthy:
            self._unhealthy("Liveness", message, kill=True)

    def _unhealthy(self, kind: str, message: str, *, kill: bool) -> None:
        self._record("Unhealthy", f"{kind} probe failed: {message}", True)
        if kill and not self._kill.is_set():
            reason = f"Container {self.name} failed {kind.lower()} probe, will be restarted"
            self._record("Killing", reason, False)
            self._kill.set()

    def _ended(self, exit_code: int, began: float) -> Json:
        ended: Json = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "startedAt": format_time(began),
            "finishedAt": format_time(self._clock.time()),
            "containerID": "",
        }
        if exit_code != 0:
            ended["message"] = self._last_lines()
        return ended

    def _last_lines(self) -> str:
        """Return the end of the log, as FallbackToLogsOnError does."""
        data = self.log_path.read_bytes()[-_MESSAGE_BYTES:] if self.log_path.exists() else b""
        return "".join(data.decode(errors="replace").splitlines(keepends=True)[-_MESSAGE_LINES:])

    async def _back_off(self, ended: Json, ran_seconds: float) -> None:
        self._crashes = 1 if ran_seconds >= _STEADY_SECONDS else self._crashes + 1
        delay = _QUICK_RESTART_SECONDS
        if self._crashes > 1:
            delay = min(_FIRST_BACKOFF_SECONDS * 2 ** (self._crashes - 2), _LAST_BACKOFF_SECONDS)
        self._last_state = {"terminated": ended}
        self._restarts += 1
        if self._crashes > 1:
            message = f"back-off {delay:g}s restarting failed container={self.name}"
            self._record("BackOff", f"Back-off restarting failed container {self.name}", True)
            waiting = {"reason": "CrashLoopBackOff", "message": message}
            self._set({"waiting": waiting}, ready=False, started=False)
        else:
            self._set({"terminated": ended}, ready=False, started=False)
        await self._clock.asleep(delay)
