"""The debug endpoint of a manager over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.clusters import ClusterPool
from kcpctl.controller import Controller, Request, Result
from kcpctl.errors import UsageError
from kcpctl.manager import Endpoint, Manager
from kcpctl.testing import ControlPlane, eventually

FLAG = "--debug-bind-address"


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def get_json(address: str, page: str) -> Any:
    return json.loads(get(address, f"/debug/{page}?format=json"))


class Held:
    """Holds the key called ``held``, and comes back to the others in an hour."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def reconcile(self, request: Request) -> Result:
        if request.name == "held":
            self.release.wait()
        return Result(requeue_after_seconds=3600)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        yield made


@pytest.fixture
def endpoint() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Endpoint(f"127.0.0.1:{taken.getsockname()[1]}", FLAG)


def test_a_manager_refuses_an_address_that_others_can_reach(plane: ControlPlane) -> None:
    with pytest.raises(UsageError, match=FLAG):
        Manager(plane.client, debug=Endpoint(":6060", FLAG))


def test_the_pages_tell_what_a_manager_does(plane: ControlPlane, endpoint: Endpoint) -> None:
    manager = Manager(plane.client, debug=endpoint)
    pool = ClusterPool(manager.io_loop)
    manager.add_pool(pool)
    held = Held()
    informer = manager.informers.informer(CONFIG_MAPS, namespace="default")
    manager.add(Controller("things", held, workers=1).watches(informer))
    try:
        assert manager.start()
        pool.ensure("root|east", plane.kubeconfig.read_bytes(), source="a test")
        maps = plane.client.resource(CONFIG_MAPS)
        for name in ("other", "held", "third"):
            maps.create({"metadata": {"name": name, "namespace": "default"}})
        parts = eventually(lambda: _settled(get_json(manager.debug_address, "queues")))
        assert 3590 < parts["waiting"]["root|default/other"] <= 3600
        (told,) = get_json(manager.debug_address, "informers")
        assert told["synced"]
        assert (told["objects"], told["lastError"]) == (len(informer.lister.list()), None)
        assert told["resourceVersion"] == informer.resource_version
        (cluster,) = eventually(
            lambda: [
                one
                for one in get_json(manager.debug_address, "clusters")
                if one["state"] == "Ready"
            ]
        )
        assert (cluster["key"], cluster["reason"]) == ("root|east", "Connected")
        assert " in reconcile: self.release.wait()" in get(manager.debug_address, "/debug/stacks")
    finally:
        held.release.set()
        manager.stop()
    assert manager.debug_address == ""


def _settled(queues: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of the controller once each key is where it stays."""
    parts: dict[str, Any] = queues["things"]["root"]
    for part, name in (("processing", "held"), ("queued", "third"), ("waiting", "other")):
        assert f"root|default/{name}" in parts[part]
    return parts


def test_stacks_are_told_while_the_io_thread_hangs(plane: ControlPlane, endpoint: Endpoint) -> None:
    manager = Manager(plane.client, debug=endpoint)
    release = threading.Event()

    def hang_here() -> None:
        release.wait()

    try:
        assert manager.start()
        manager.io_loop.call(hang_here)
        eventually(lambda: "in hang_here" in get(manager.debug_address, "/debug/stacks"))
    finally:
        release.set()
        manager.stop()
