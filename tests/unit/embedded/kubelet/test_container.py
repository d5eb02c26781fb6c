"""Containers with real, short-lived processes under a fake clock."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kcpctl.embedded.kubelet.container import Container, Launch
from kcpctl.embedded.kubelet.volumes import Missing
from kcpctl.runtime import BlockingPool
from kcpctl.testing.clock import FakeClock

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if open(sys.argv[1]).read() == "ok" else 503)
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open(sys.argv[2], "w").write(str(server.server_port))
server.serve_forever()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Bench:
    """A container, a clock that is stepped until something is true, and what was recorded."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.directory = directory
        self.events: list[tuple[str, str]] = []
        self.states: list[str] = []
        self.pool = BlockingPool("test")
        self.containers: list[Container] = []

    def container(
        self, script: str | Callable[[], Launch], *args: str, restart: bool = True, **spec: Any
    ) -> Container:
        def prepare() -> Launch:
            if callable(script):
                return script()
            return Launch([sys.executable, "-S", "-c", script, *args], dict(os.environ))

        container = Container(
            {"name": "c", "image": "kcpctl-syncer:local", **spec},
            directory=self.directory,
            address="127.0.0.1",
            prepare=prepare,
            changed=lambda: self.states.append(next(iter(container.status["state"]))),
            record=lambda reason, message, warning: self.events.append((reason, message)),
            pool=self.pool,
            restart=restart,
            clock=self.clock,
        )
        self.containers.append(container)
        container.start()
        return container

    async def until(self, condition: Callable[[], object], *, step: float = 0.1) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.clock.step(step)
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        for container in self.containers:
            await container.close(2)
        self.pool.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.close()


async def test_a_container_that_cannot_start_yet_says_why_and_tries_again(bench: Bench) -> None:
    ready = False

    def prepare() -> Launch:
        if not ready:
            raise Missing('secret "creds" not found')
        return Launch([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ))

    container = bench.container(prepare)
    await bench.until(lambda: bench.events)
    assert bench.events[0] == ("FailedMount", 'secret "creds" not found')
    assert container.status["state"] == {
        "waiting": {"reason": "ContainerCreating", "message": 'secret "creds" not found'}
    }
    ready = True
    await bench.until(lambda: "running" in container.status["state"])


async def test_a_command_that_does_not_exist_is_an_exit_with_127(bench: Bench) -> None:
    container = bench.container(lambda: Launch(["/no/such/program"], {}), restart=False)
    await bench.until(lambda: container.finished is not None)
    assert container.finished == 127
    assert "/no/such/program" in container.status["state"]["terminated"]["message"]


async def test_the_first_restart_is_quick_and_later_ones_back_off(bench: Bench) -> None:
    container = bench.container("import sys; print('reason', file=sys.stderr); sys.exit(3)")
    await bench.until(lambda: "terminated" in container.status["state"])
    ended_at = bench.clock.monotonic()
    await bench.until(lambda: len([e for e in bench.events if e[0] == "Started"]) == 2, step=0.2)
    assert 0.9 <= bench.clock.monotonic() - ended_at < 3
    await bench.until(lambda: "waiting" in container.status["state"])
    status = container.status
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert "back-off 10s restarting failed container=c" in status["state"]["waiting"]["message"]
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["message"] == "reason\n"
    assert status["restartCount"] == 2
    assert not status["ready"]
    waiting_since = bench.clock.monotonic()
    await bench.until(lambda: "running" in container.status["state"], step=0.5)
    assert bench.clock.monotonic() - waiting_since >= 9.4
    assert ("BackOff", "Back-off restarting failed container c") in bench.events


async def test_a_killed_process_is_an_exit_with_128_and_the_signal(bench: Bench) -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    container = bench.container(script, restart=False)
    await bench.until(lambda: container.finished is not None)
    assert container.finished == 137
    assert container.status["state"]["terminated"]["reason"] == "Error"


async def test_the_log_of_the_run_before_is_kept(bench: Bench) -> None:
    container = bench.container("import os; print(os.getpid()); raise SystemExit(1)")
    await bench.until(lambda: container.status["restartCount"] == 2, step=1)
    first, second = container.previous_log_path.read_text(), container.log_path.read_text()
    assert first
    assert second
    assert first != second


async def test_close_ends_the_process(bench: Bench) -> None:
    container = bench.container("import time; time.sleep(60)")
    await bench.until(lambda: container.pid is not None)
    pid = container.pid
    assert pid is not None
    assert alive(pid)
    await container.close(2)
    assert not alive(pid)
    assert container.pid is None


async def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    ignore = "import signal, time; signal.signal(15, signal.SIG_IGN)"
    script = f"{ignore}; print('x', flush=True); time.sleep(60)"
    container = bench.container(script)
    await bench.until(lambda: container.log_path.exists() and container.log_path.read_text())
    pid = container.pid
    assert pid is not None
    await container.close(0.1)
    assert not alive(pid)


async def probed(bench: Bench, **probes: Any) -> tuple[Container, Path]:
    """Start a server whose health is the content of a file."""
    health, port = bench.directory / "health", bench.directory / "port"
    health.write_text("ok")
    with_port = SERVER.replace('("127.0.0.1", 0)', '("127.0.0.1", int(sys.argv[3]))')
    number = str(free_port())
    spec: dict[str, Any] = {
        name: {"httpGet": {"path": "/", "port": number}, **settings}
        for name, settings in probes.items()
    }
    return bench.container(with_port, str(health), str(port), number, **spec), health


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_container_is_ready_when_its_readiness_probe_says_so(bench: Bench) -> None:
    container, health = await probed(
        bench, readinessProbe={"periodSeconds": 1, "failureThreshold": 2}
    )
    await bench.until(lambda: "running" in container.status["state"])
    assert not container.ready
    await bench.until(lambda: container.ready)
    health.write_text("no")
    await bench.until(lambda: not container.ready, step=0.3)
    assert bench.events[-1][0] == "Unhealthy"
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in bench.events[-1][1]
    assert "running" in container.status["state"]
    health.write_text("ok")
    await bench.until(lambda: container.ready, step=0.3)


async def test_a_failing_liveness_probe_restarts_the_container(bench: Bench) -> None:
    container, health = await probed(
        bench,
        readinessProbe={"periodSeconds": 1},
        livenessProbe={"periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 5},
    )
    await bench.until(lambda: container.ready)
    pid = container.pid
    health.write_text("no")
    await bench.until(lambda: container.status["restartCount"] == 1, step=0.2)
    assert pid is not None
    assert not alive(pid)
    assert any(reason == "Killing" for reason, _ in bench.events)
    health.write_text("ok")
    await bench.until(lambda: container.ready, step=0.2)


async def test_a_container_is_not_started_before_its_startup_probe(bench: Bench) -> None:
    container, health = await probed(
        bench, startupProbe={"periodSeconds": 1, "failureThreshold": 300}
    )
    health.write_text("no")
    await bench.until(lambda: "running" in container.status["state"])
    assert not container.status["started"]
    assert not container.ready
    health.write_text("ok")
    await bench.until(lambda: container.ready)
    assert container.status["started"]


async def test_a_startup_probe_that_fails_too_often_restarts_the_container(bench: Bench) -> None:
    container, health = await probed(
        bench, startupProbe={"periodSeconds": 1, "failureThreshold": 2}
    )
    health.write_text("no")
    await bench.until(lambda: container.status["restartCount"] == 1, step=0.2)
    assert any("Startup probe failed" in message for _, message in bench.events)
