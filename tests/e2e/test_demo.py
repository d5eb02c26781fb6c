"""The README's first command, as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, load_config
from kcpctl.runtime import Child, IOLoop
from kcpctl.testing import eventually

COMMAND = [sys.executable, "-m", "kcpctl", "run-controllers", "--embedded", "--demo"]
# What the issue promises that a user sees, per SyncTarget in this order.
STEPS = ["Valid", "ClusterConnected", "SyncerDeployed", "HeartbeatHealthy", "Ready"]


def descendants(root: int) -> set[int]:
    """Return the processes that descend from ``root``, by what /proc says now."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def alive(pids: set[int]) -> set[int]:
    return {
        pid
        for pid in pids
        if Path(f"/proc/{pid}/stat").exists()
        and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    }


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[Child, Path]]:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = Child(COMMAND, env=os.environ, output=output, cwd=tmp_path)
    yield child, log
    child.close()


def test_it_shows_each_step_and_ends_with_0(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--exit-when-ready"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()

    def at(pattern: str) -> int:
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
        assert found, f"{pattern} in:\n{done.stdout}"
        return found[0]

    assert at(r"control plane +up at https://127\.0\.0\.1:\d+, kubeconfig") < at(
        "workspace +root:demo ready"
    )
    for name in ("east", "west"):
        at(rf"cluster {name} +up at https://")
        steps = [at(rf"synctarget {name} +{step}$") for step in STEPS]
        assert steps == sorted(steps)
        at(rf"deployment web-{name} +synced to {name} \(namespace kcp-[0-9a-z]{{12}}\)")
        at(rf"deployment web-{name} +availableReplicas 2")
    assert all(re.match(r" *\d+\.\ds  ", line) for line in lines if line.strip())


def test_not_ready_in_time_is_1_with_one_clear_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--exit-when-ready", "--timeout", "1ms"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: not ready after 0.001s: synctarget east: ")
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_everything_with_0(demo: tuple[Child, Path]) -> None:
    child, log = demo
    eventually(lambda: "everything is ready" in log.read_text())
    family = descendants(child.pid)
    assert len(family) >= 5  # three servers, two syncers
    child.signal(signal.SIGINT)
    assert child.wait(30) == 0
    assert "Traceback" not in log.read_text()
    eventually(lambda: not alive(family))


def test_kill_9_leaves_no_orphan(demo: tuple[Child, Path]) -> None:
    child, log = demo
    eventually(lambda: "everything is ready" in log.read_text())
    family = descendants(child.pid)
    child.signal(signal.SIGKILL)
    child.wait(30)
    eventually(lambda: not alive(family))


def test_a_killed_syncer_is_restarted_and_goes_on(demo: tuple[Child, Path]) -> None:
    child, log = demo
    eventually(lambda: "everything is ready" in log.read_text())

    def syncers() -> set[int]:
        return {
            pid
            for pid in descendants(child.pid)
            if b"\0syncer\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }

    before = eventually(syncers)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = eventually(lambda: len(now := syncers()) == len(before) and victim not in now and now)
    assert after != before


def sync_targets(directory: Path) -> dict[str, Unstructured]:
    """Return the SyncTargets of the demo by their uid."""
    config = load_config(directory / ".kcpctl" / "kubeconfig")
    with IOLoop("test-io") as loop:
        client = Client(AsyncClient.plain(config), loop)
        try:
            items = client.resource(SYNCTARGETS).list().items
        finally:
            client.close()
    return {item["metadata"]["uid"]: item for item in items}


def test_with_a_data_directory_the_demo_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = Child([*COMMAND, "--data-dir=data"], env=os.environ, output=output, cwd=tmp_path)
    try:
        eventually(lambda: "everything is ready" in log.read_text())
        before = sync_targets(tmp_path)
        (server,) = [
            pid
            for pid in descendants(child.pid)
            if b"data/root/state\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(server, signal.SIGKILL)
        eventually(lambda: sync_targets(tmp_path).keys() == before.keys())
    finally:
        child.signal(signal.SIGKILL)
        child.close()
    done = subprocess.run(
        [*COMMAND, "--data-dir=data", "--exit-when-ready"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
