"""The manager: order of start and stop, waiting for sync, what fails."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from kcpctl.client import AsyncClient, Call, Client, Response
from kcpctl.controller import Controller, Request
from kcpctl.errors import ConfigError
from kcpctl.informers import EventHandler, InformerFactory, SharedInformer
from kcpctl.manager import Manager
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.testing import FakeClock, eventually


class NoTransport:
    server = "https://server"

    def __init__(self) -> None:
        self.closed = False

    async def request(self, call: Call) -> Response:
        raise NotImplementedError

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Registered:
    synced = False

    def wait_for_sync(self, timeout_seconds: float) -> None:
        pass

    def remove(self) -> None:
        pass


class Informer:
    description = "things.example.com of root"

    def __init__(self) -> None:
        self.registered = Registered()

    def add_handler(self, handler: EventHandler, *, resync_seconds: float = 0.0) -> Registered:
        return self.registered


class Workshop:
    """A manager on a fake clock, with parts that write down what happens to them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.io_loop = IOLoop("test-io")
        client = Client(AsyncClient(NoTransport(), cluster_name="root"), self.io_loop)
        self.manager = Manager(client, clock=self.clock, graceful_shutdown_timeout_seconds=5)
        self.story: list[str] = []
        self.missing: list[str] = []
        self.asked = 0
        self.requests: queue.Queue[Request] = queue.Queue()
        self.informer = Informer()
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    # A factory, and a reconciler.

    def start(self) -> None:
        self.story.append("factory starts")

    def close(self) -> None:
        self.story.append("factory stops")

    def remove(self, cluster: str) -> None:
        where = "on the I/O thread" if self.io_loop.on_loop_thread else "elsewhere"
        self.story.append(f"factory removes {cluster} {where}")

    def all_informers(self) -> list[SharedInformer[object]]:
        return []

    @property
    def waiting_for(self) -> list[str]:
        self.asked += 1
        return self.missing

    def reconcile(self, request: Request) -> None:
        self.requests.put(request)

    def add_everything(self) -> Controller:
        note = self.story.append
        self.manager.add_runnable(
            lambda: note("first starts"), lambda: note("first stops"), name="first"
        )
        self.manager.add_runnable(
            lambda: note("second starts"), lambda: note("second stops"), name="second"
        )
        self.manager.add_factory(self)
        controller = Controller("test", self, workers=1, clock=self.clock)
        self.manager.add(controller.watches(self.informer))
        return controller

    def run(self) -> None:
        """Run the manager on a thread of its own."""

        def main() -> None:
            try:
                self.manager.run(self.stop)
            except BaseException as error:  # noqa: BLE001 - the test asks for it
                self.errors.append(error)

        self.threads.append(start_thread(main, name="test-manager"))

    def tick(self, seconds: float) -> None:
        """Let time pass, until the manager has looked again."""
        eventually(lambda: self.clock.sleepers > 0, poll_seconds=0.001)
        asked = self.asked
        self.clock.step(seconds)
        eventually(lambda: self.asked > asked, poll_seconds=0.001)

    def finish(self) -> None:
        self.stop.set()
        while any(thread.is_alive() for thread in self.threads):
            self.clock.step(1)
            for thread in self.threads:
                thread.join(0.005)
        self.manager.close()
        self.io_loop.close()


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.finish()


def test_a_part_that_does_not_start_stops_the_others_and_raises(workshop: Workshop) -> None:
    """CL-02."""
    workshop.add_everything()

    def broken() -> None:
        raise OSError("no disk")

    workshop.manager.add_runnable(broken, lambda: workshop.story.append("stops"), name="broken")
    with pytest.raises(OSError, match="no disk"):
        workshop.manager.start()
    assert workshop.story == [
        "first starts",
        "second starts",
        "stops",
        "second stops",
        "first stops",
    ]


def test_parts_start_in_order_and_stop_in_reverse(workshop: Workshop) -> None:
    controller = workshop.add_everything()
    workshop.informer.registered.synced = True
    workshop.run()
    eventually(lambda: controller.running, poll_seconds=0.001)
    assert workshop.story == ["first starts", "second starts", "factory starts"]
    workshop.stop.set()
    eventually(lambda: "first stops" in workshop.story, poll_seconds=0.001)
    assert workshop.story[3:] == ["factory stops", "second stops", "first stops"]
    assert not controller.running


def test_controllers_wait_for_factories_and_handlers(workshop: Workshop) -> None:
    """CL-01: also for informers that only a lister is read from."""
    controller = workshop.add_everything()
    controller.enqueue("root|web")
    workshop.missing = ["secrets of root"]
    workshop.run()
    workshop.tick(1)
    workshop.missing = []
    workshop.tick(1)
    eventually(lambda: workshop.clock.sleepers > 0, poll_seconds=0.001)
    assert workshop.requests.empty()
    workshop.informer.registered.synced = True
    workshop.tick(1)
    assert workshop.requests.get(timeout=5).name == "web"


def test_a_slow_informer_is_named_once_and_waited_for(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    """CL-02, pitfall 10: never exits because one thing is slow."""
    caplog.set_level(logging.INFO, "kcpctl.manager")
    workshop.add_everything()
    workshop.missing = ["secrets of root: connection refused"]
    workshop.run()
    workshop.tick(4.9)
    eventually(lambda: workshop.clock.sleepers > 0, poll_seconds=0.001)
    assert caplog.records == []
    for _ in range(20):
        workshop.tick(60)
    (record,) = caplog.records
    assert record.getMessage() == "Waiting for the initial lists"
    waiting = record.__dict__["fields"]["waiting_for"]
    assert waiting == "secrets of root: connection refused, things.example.com of root"


def test_a_stop_while_waiting_is_a_clean_stop(workshop: Workshop) -> None:
    """CL-03."""
    controller = workshop.add_everything()
    workshop.run()
    workshop.tick(1)
    workshop.stop.set()
    workshop.clock.step(1)
    eventually(lambda: "first stops" in workshop.story, poll_seconds=0.001)
    assert workshop.errors == []
    assert not controller.running


def test_a_part_that_does_not_stop_cleanly_does_not_keep_the_others(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    note = workshop.story.append
    workshop.manager.add_runnable(lambda: None, lambda: note("stops"), name="fine")
    workshop.manager.add_runnable(lambda: None, broken, name="broken")
    workshop.manager.start()
    workshop.manager.stop()
    assert workshop.story == ["stops"]
    assert "A part did not stop cleanly" in caplog.text


def test_a_part_that_hangs_is_named_and_left_behind(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    workshop.manager = Manager(
        workshop.manager.client, clock=workshop.clock, graceful_shutdown_timeout_seconds=0
    )
    workshop.manager.add_runnable(lambda: None, lambda: go_on.wait(30), name="hangs")
    workshop.manager.start()
    assert not workshop.manager.stop()
    assert caplog.records[-1].__dict__["fields"] == {"part": "hangs"}
    go_on.set()


def test_two_controllers_of_one_name_are_an_error(workshop: Workshop) -> None:
    workshop.add_everything()
    with pytest.raises(ValueError, match="'test' already"):
        workshop.manager.add(Controller("test", workshop))


def test_a_manager_runs_once(workshop: Workshop) -> None:
    """CL-05."""
    workshop.manager.start()
    with pytest.raises(RuntimeError, match="started already"):
        workshop.manager.start()


def test_the_managers_own_factory_is_made_once_and_started(workshop: Workshop) -> None:
    factory = workshop.manager.informers
    assert isinstance(factory, InformerFactory)
    assert workshop.manager.informers is factory
    assert workshop.manager.start()
    workshop.manager.stop()
    with pytest.raises(RuntimeError, match="closed"):
        factory.start()


def test_a_recorder_is_closed_with_the_manager(workshop: Workshop) -> None:
    recorder = workshop.manager.recorder("test")
    workshop.manager.start()
    workshop.manager.stop()
    recorder.event({}, "Normal", "Late", "too late")
    assert b"kcpctl_events_dropped_total" in workshop.manager.metrics.render()


@pytest.mark.parametrize(
    ("path", "cluster"), [("", "root"), ("/clusters/root:demo", "root:demo"), ("/clusters/*", "*")]
)
def test_connect_takes_what_the_kubeconfigs_url_names(
    tmp_path: Path, path: str, cluster: str
) -> None:
    server = f"https://127.0.0.1:1{path}"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    with Manager.connect(file) as manager:
        assert manager.client.cluster_name == cluster
        assert manager.client.url == server
        io_loop = manager.io_loop
    with pytest.raises(RuntimeError, match="closed"):
        io_loop.run(asyncio.sleep(0))


def test_connect_without_a_usable_kubeconfig_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigError):
        Manager.connect(tmp_path / "absent")
    assert threading.active_count() == before


# Clusters that go.


def test_a_cluster_leaves_the_informers_before_the_queues(workshop: Workshop) -> None:
    """KCP-17, MCR-04: so the deletes of its objects bring up no key any more."""
    controller = workshop.add_everything()
    controller.enqueue("gone|a")
    controller.enqueue("stays|a")
    removed: list[list[str]] = []
    controller.on_removal(lambda belongs: removed.append(workshop.story[:]))
    workshop.manager.remove("gone")
    assert removed == [["factory removes gone on the I/O thread"]]
    assert list(controller.queue.snapshot().queued) == ["stays|a"]
    workshop.manager.remove("gone")
    assert list(controller.queue.snapshot().queued) == ["stays|a"]


def test_a_cluster_may_be_removed_on_the_io_thread(workshop: Workshop) -> None:
    controller = workshop.add_everything()
    controller.enqueue("gone|a")

    async def remove() -> None:
        workshop.manager.remove("gone")
        assert len(controller.queue) == 0

    workshop.io_loop.run(remove())
