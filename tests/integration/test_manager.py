"""The manager's endpoints over real sockets, and signals in a real process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.controller import Controller, Request
from kcpctl.errors import ConfigError
from kcpctl.informers import EventHandler
from kcpctl.manager import Endpoint, Manager
from kcpctl.runtime import IOLoop
from kcpctl.testing import eventually


class Registered:
    synced = False

    def wait_for_sync(self, timeout_seconds: float) -> None:
        pass

    def remove(self) -> None:
        pass


class Things:
    """An informer and a reconciler of nothing."""

    description = "things.example.com of root"

    def __init__(self) -> None:
        self.registered = Registered()

    def add_handler(self, handler: EventHandler, *, resync_seconds: float = 0.0) -> Registered:
        return self.registered

    def reconcile(self, request: Request) -> None:
        pass


@pytest.fixture
def client() -> Iterator[Client]:
    with IOLoop() as io_loop:
        made = Client(AsyncClient.plain(ClientConfig(server="https://127.0.0.1:1")), io_loop)
        yield made
        made.close()


@pytest.fixture
def busy() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("which", ["health", "metrics_endpoint"])
def test_a_busy_port_stops_the_start_and_leaves_nothing(
    client: Client, busy: str, which: str
) -> None:
    endpoint = Endpoint(busy, "--some-bind-address")
    manager = (
        Manager(client, health=endpoint)
        if which == "health"
        else Manager(client, metrics_endpoint=endpoint)
    )
    with pytest.raises(ConfigError, match=f"port {busy.partition(':')[2]} is in use"):
        manager.start()


def test_readiness_follows_the_informers_and_the_controllers(client: Client, busy: str) -> None:
    things = Things()
    manager = Manager(client, health=Endpoint(busy, "--h", allow_free_port=True))
    manager.add(Controller("things", things, workers=1).watches(things))
    stop = threading.Event()
    running = threading.Thread(target=manager.run, args=(stop,))
    running.start()
    try:
        address = eventually(lambda: manager.health_address)
        code, text = get(address, "/readyz")
        assert code == 500
        assert "[-]informers failed: waiting for things.example.com of root" in text
        assert get(address, "/livez") == (200, "ok")
        assert get(address, "/healthz?verbose") == (200, "[+]ping ok\nhealthz check passed\n")
        assert get(address, "/readyz/ping") == (200, "ok")
        assert get(address, "/readyz/informers")[0] == 500
        assert get(address, "/livez/informers")[0] == 404
        assert get(address, "/readyz?exclude=informers&exclude=controllers") == (200, "ok")
        assert get(address, "/readyz?exclude=informers")[0] == 500
        things.registered.synced = True
        eventually(lambda: get(address, "/readyz") == (200, "ok"))
        assert "[+]controllers ok" in get(address, "/readyz?verbose")[1]
        assert get(address, "/metrics")[0] == 404
    finally:
        stop.set()
        running.join(30)
    assert not running.is_alive()
    with pytest.raises(urllib.error.URLError):
        get(address, "/healthz")


def test_metrics_are_served_as_prometheus_reads_them(client: Client, busy: str) -> None:
    endpoint = Endpoint(busy, "--m", allow_free_port=True)
    with Manager(client, metrics_endpoint=endpoint) as manager:
        controller = Controller("things", Things(), workers=2, metrics=manager.metrics)
        manager.add(controller)
        manager.start()
        controller.enqueue("root|default/one")
        series = 'controller_runtime_reconcile_total{controller="things",result="success"} 1.0'
        eventually(lambda: series in get(manager.metrics_address, "/metrics")[1])
        text = get(manager.metrics_address, "/metrics")[1]
        assert 'workqueue_adds_total{name="things"} 1.0' in text
        assert 'controller_runtime_max_concurrent_reconciles{controller="things"} 2.0' in text


SCRIPT = """
import sys, threading, time
from kcpctl.manager import install
stop = install()
print("ready", flush=True)
stop.wait()
print("stopping", flush=True)
if sys.argv[1] == "hang":
    while True:
        time.sleep(1)
"""


def process(mode: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, mode], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_a_clean_stop(number: signal.Signals) -> None:
    with process("end") as started:
        started.send_signal(number)
        assert started.wait(30) == 0


@pytest.mark.parametrize(
    ("second", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_the_second_signal_ends_the_process_at_once(second: signal.Signals, status: int) -> None:
    with process("hang") as started:
        started.send_signal(signal.SIGINT)
        assert started.stdout is not None
        assert started.stdout.readline() == "stopping\n"
        started.send_signal(second)
        assert started.wait(30) == status
