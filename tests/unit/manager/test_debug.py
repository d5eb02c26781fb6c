"""The pages of the debug endpoint."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from kcpctl.clusters import ClusterPool, ConnectionState, ConnectionStatus
from kcpctl.informers import SharedInformer
from kcpctl.informers.status import InformerStatus
from kcpctl.manager.debug import pages
from kcpctl.manager.fleet import EndpointStatus
from kcpctl.runtime import SYSTEM_CLOCK, IOLoop, start_thread
from kcpctl.testing import eventually
from kcpctl.workqueue import QueueSnapshot


class Pool(ClusterPool):
    def __init__(self, *statuses: ConnectionStatus) -> None:
        self._told = list(statuses)

    def statuses(self) -> list[ConnectionStatus]:
        return self._told


class Queues:
    def snapshots(self) -> dict[str, QueueSnapshot[str]]:
        held = QueueSnapshot(
            queued={"root|default/a": 0.5},
            waiting={"team|default/b": 30.0, "team|default/c": 2.0},
            processing={"root|default/d": 12.3456},
        )
        return {"things": held}


class OneInformer(SharedInformer[Any]):
    def __init__(self, told: InformerStatus) -> None:
        self._told = told

    def status(self) -> InformerStatus:
        return self._told


class Factory:
    def __init__(self, *informers: SharedInformer[Any]) -> None:
        self._informers = list(informers)

    def all_informers(self) -> list[SharedInformer[Any]]:
        return self._informers


EAST = ConnectionStatus(
    "root|east",
    ConnectionState.DISCONNECTED,
    1_700_000_000.0,
    "ConnectionFailed",
    "refused",
    server="https://user:secret@east",
    next_attempt_in_seconds=7.25,
)
THINGS = InformerStatus("things of root", True, 3, "42", 1.5, True, None)
OTHERS = InformerStatus("others of root", False, 0, "", 99.0, False, "refused")


@pytest.fixture
def io_loop() -> Any:
    with IOLoop("test-io") as made:
        yield made


def test_clusters_tell_state_reason_and_next_attempt_and_no_address(io_loop: IOLoop) -> None:
    page = pages(io_loop, pools=[Pool(EAST)], controllers=[], factories=[])["/debug/clusters"]
    assert page.data() == [
        {
            "key": "root|east",
            "state": "Disconnected",
            "since": "2023-11-14T22:13:20Z",
            "reason": "ConnectionFailed",
            "message": "refused",
            "version": "",
            "nextAttemptSeconds": 7.25,
            "cachedObjects": 0,
        }
    ]
    header, line = page.text().splitlines()
    assert header.split("  ")[0] == "KEY"
    cells = ["root|east", "Disconnected", "2023-11-14T22:13:20Z", "ConnectionFailed", "in 7.2s"]
    assert line == "   ".join([*cells, "     refused"])
    assert "secret" not in page.text() + json.dumps(page.data())


class OneFleet:
    def __init__(self, problem: str, *endpoints: EndpointStatus) -> None:
        self._problem = problem
        self._endpoints = endpoints

    def problem(self) -> str:
        return self._problem

    def endpoints(self) -> list[EndpointStatus]:
        return list(self._endpoints)


def test_a_fleet_tells_of_its_endpoints_and_of_whom_they_serve(io_loop: IOLoop) -> None:
    many = [f"c{number}" for number in range(7)]
    fleet = OneFleet("nobody there", EndpointStatus("https://a/x", "Serving", ["w"], many, "slow"))
    page = pages(io_loop, pools=[], controllers=[], factories=[], fleet=fleet)["/debug/fleet"]
    assert page.data() == {
        "problem": "nobody there",
        "endpoints": [
            {
                "url": "https://a/x",
                "state": "Serving",
                "engaged": ["w"],
                "parked": many,
                "lastError": "slow",
            }
        ],
    }
    problem, _, header, line = page.text().splitlines()
    assert problem == "problem: nobody there"
    assert header.split()[:4] == ["ENDPOINT", "STATE", "ENGAGED", "PARKED"]
    assert line.split() == ["https://a/x", "Serving", "1", "7", "c0,c1,c2,c3,c4,...", "slow"]
    assert "/debug/fleet" not in pages(io_loop, pools=[], controllers=[], factories=[])


def test_queues_are_told_by_controller_and_logical_cluster(io_loop: IOLoop) -> None:
    page = pages(io_loop, pools=[], controllers=[Queues()], factories=[])["/debug/queues"]
    assert page.data() == {
        "things": {
            "root": {
                "processing": {"root|default/d": 12.346},
                "queued": {"root|default/a": 0.5},
                "waiting": {},
            },
            "team": {
                "processing": {},
                "queued": {},
                "waiting": {"team|default/c": 2.0, "team|default/b": 30.0},
            },
        }
    }
    assert page.text() == (
        "controller things: 1 processing, 1 queued, 2 waiting\n"
        "  logical cluster root: 1 processing, 1 queued, 0 waiting\n"
        "    processing for 12.3s  root|default/d\n"
        "    queued for 0.5s  root|default/a\n"
        "  logical cluster team: 0 processing, 0 queued, 2 waiting\n"
        "    waiting due in 2.0s  team|default/c\n"
        "    waiting due in 30.0s  team|default/b\n"
    )


def test_an_informer_that_two_factories_know_is_told_once(io_loop: IOLoop) -> None:
    one, two = OneInformer(THINGS), OneInformer(OTHERS)
    factories = [Factory(one), Factory(one, two)]
    page = pages(io_loop, pools=[], controllers=[], factories=factories)["/debug/informers"]
    assert page.data() == [
        {
            "description": "others of root",
            "synced": False,
            "objects": 0,
            "resourceVersion": "",
            "silenceSeconds": 99.0,
            "streamed": False,
            "lastError": "refused",
        },
        {
            "description": "things of root",
            "synced": True,
            "objects": 3,
            "resourceVersion": "42",
            "silenceSeconds": 1.5,
            "streamed": True,
            "lastError": None,
        },
    ]
    _, others, things = page.text().splitlines()
    assert others.split() == ["others", "of", "root", "no", "0", "99.0s", "refused"]
    assert things.split() == ["things", "of", "root", "yes", "3", "42", "1.5s", "stream"]


def test_stacks_go_down_to_what_a_task_awaits_and_show_no_values(io_loop: IOLoop) -> None:
    async def inner(secret: str) -> None:
        await SYSTEM_CLOCK.asleep(60)

    async def outer() -> None:
        await inner("t0ps3cret")

    released = threading.Event()

    def wait_here() -> None:
        released.wait()

    waiting = io_loop.submit(outer())
    thread = start_thread(wait_here, name="stuck-one")
    page = pages(io_loop, pools=[], controllers=[], factories=[])["/debug/stacks"]
    try:
        text = eventually(lambda: found if "asleep" in (found := page.text()) else "")
        task = text[text.index("\ntask ") :]
        assert task.index(" in outer") < task.index(" in inner") < task.index(" in asleep")
        stuck = text[text.index("thread stuck-one") :].partition("\n\n")[0]
        assert stuck.index(" in run") < stuck.index(" in wait_here: released.wait()")
        assert "t0ps3cret" not in text.replace('inner("t0ps3cret")', "")
        data = page.data()
        assert isinstance(data, dict)
        assert "stuck-one" in [one["name"] for one in data["threads"]]
    finally:
        released.set()
        thread.join()
        waiting.cancel()
