"""Leader election between processes, over real sockets: who writes, and when."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, LEASES
from kcpctl.informers import HandlerFuncs, InformerFactory
from kcpctl.testing import ControlPlane, eventually

PROGRAM = Path(__file__).with_name("elected_writer.py")
# The shorter the quicker, but nobody must lose it because the machine is busy.
LEASE_SECONDS = 4


class Program:
    """One contender."""

    def __init__(self, kubeconfig: Path, name: str, lease_seconds: int, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, PROGRAM, kubeconfig, name, str(lease_seconds)], stderr=output
            )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self, timeout_seconds: float) -> int:
        return self._process.wait(timeout_seconds)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def says(self) -> str:
        return self._log.read_text()


class Election:
    """A server, the programs that contend on it, and the history of who wrote."""

    def __init__(self, plane: ControlPlane, logs: Path) -> None:
        self.plane = plane
        self.lease_seconds = LEASE_SECONDS
        self.writers: list[str] = []
        self._logs = logs
        self._news = threading.Condition()
        self._programs: list[Program] = []

    def note(self, writer: str) -> None:
        with self._news:
            self.writers.append(writer)
            self._news.notify_all()

    def start(self, name: str) -> Program:
        program = Program(self.plane.kubeconfig, name, self.lease_seconds, self._logs / name)
        self._programs.append(program)
        return program

    def start_leader(self, name: str) -> Program:
        program = self.start(name)
        self.wait_for_writer(name)
        return program

    def start_standby(self, name: str) -> Program:
        program = self.start(name)
        eventually(lambda: "Another process leads" in program.says)
        return program

    def wait_for_writer(self, name: str, timeout_seconds: float = 60) -> None:
        with self._news:
            before = len(self.writers)
            assert self._news.wait_for(lambda: name in self.writers[before:], timeout_seconds), (
                f"{name} wrote nothing; {self.lease()['holderIdentity']} holds the Lease"
            )

    def lease(self) -> dict[str, Any]:
        lease = self.plane.client.resource(LEASES).get("writers", namespace="elections")
        spec: dict[str, Any] = lease["spec"]
        return spec

    @property
    def in_turns(self) -> list[str]:
        """Who wrote, one after the other."""
        return [name for name, _ in groupby(self.writers)]

    def end(self) -> None:
        for program in self._programs:
            program.end()


@pytest.fixture
def election(tmp_path: Path) -> Iterator[Election]:
    with ControlPlane(workspaces=False) as plane:
        plane.client.resource(CONFIG_MAPS).create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "writers", "namespace": "default"},
            }
        )
        election = Election(plane, tmp_path)
        factory = InformerFactory(plane.client.aio, plane.loop)
        factory.informer(CONFIG_MAPS, namespace="default").add_handler(
            HandlerFuncs(
                on_update=lambda _, new: election.note(new.decode()["data"]["writer"].split()[0])
            )
        )
        factory.start()
        factory.wait_for_sync(60)
        yield election
        election.end()
        factory.close()


def test_only_the_leader_writes_and_a_standby_follows_a_clean_stop_at_once(
    election: Election,
) -> None:
    """LE-13, LE-15, LE-17, LE-21, LE-22."""
    election.lease_seconds = 600
    one = election.start_leader("one")
    election.start_standby("two")

    one.send(signal.SIGTERM)
    assert one.ended(40) == 0
    lease = election.lease()
    election.wait_for_writer("two")

    # It was given back: nobody had to wait until it ran out.
    assert lease["holderIdentity"] in {"", "two"}
    assert election.in_turns == ["one", "two"]


def test_a_standby_follows_a_leader_that_was_killed(election: Election) -> None:
    one = election.start_leader("one")
    election.start_standby("two")

    one.send(signal.SIGKILL)
    election.wait_for_writer("two")

    assert election.in_turns == ["one", "two"]
    assert election.lease()["leaseTransitions"] == 1


def test_a_leader_that_was_paused_writes_nothing_past_its_lease(election: Election) -> None:
    one = election.start_leader("one")
    election.start_standby("two")

    one.send(signal.SIGSTOP)
    election.wait_for_writer("two")
    one.send(signal.SIGCONT)

    assert one.ended(40) == 1
    assert "the Lease writers" in one.says
    election.wait_for_writer("two")
    assert election.in_turns == ["one", "two"]


def test_a_leader_without_its_server_ends(election: Election) -> None:
    one = election.start_leader("one")

    election.plane.process.kill()

    assert one.ended(40) == 1
    assert "was not renewed for 3s" in one.says
