"""``--data-dir``: what was acknowledged outlives the process, however that ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from kcpctl.apis.resource import CONFIG_MAPS, SERVICES, WORKSPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.servers import EmbeddedServers, ServerStartError
from kcpctl.client import Client
from kcpctl.errors import Expired, KcpctlError, NotFound
from kcpctl.informers import InformerFactory
from kcpctl.runtime import start_thread
from kcpctl.testing import ControlPlane, eventually

WRITERS = 4
CRASHES = 3


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(keeps_objects=True) as running:
        yield running


class Writer:
    """Creates, updates and deletes ConfigMaps of its own until the server is gone.

    ``known`` is what was acknowledged (None: the deletion); ``open`` is the name of the write
    that was not, and may have happened.
    """

    def __init__(self, client: Client, number: int) -> None:
        self.known: dict[str, tuple[str, int] | None] = {}
        self.open = ""
        self.highest = 0
        self._maps = client.resource(CONFIG_MAPS)
        self._number = number
        self._count = 0
        self.thread = start_thread(self._run, name=f"writer-{number}")

    def has_done_enough(self) -> bool:
        """Whether there is something to lose."""
        return len(self.known) > 12

    def _run(self) -> None:
        try:
            while True:
                self._step()
        except KcpctlError:
            return

    def _step(self) -> None:
        self._count += 1
        name = self.open = f"w{self._number}-{self._count}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"step": "0"}}
        meta = {"name": name, "namespace": "default"}
        self._note(self._maps.create({**body, "metadata": meta}))
        for step in range(1, self._count % 3 + 1):
            change = {"data": {"step": str(step)}}
            self._note(self._maps.patch(name, change, namespace="default"))
        if self._count % 2:
            self._maps.delete(name, namespace="default")
            self.known[name] = None

    def _note(self, obj: dict[str, dict[str, str]]) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        assert version > self.highest
        self.highest = version
        self.known[obj["metadata"]["name"]] = (obj["data"]["step"], version)


def test_all_that_was_acknowledged_is_there_after_each_crash(plane: ControlPlane) -> None:
    client = plane.workspace("demo")
    highest = 0
    for crash in range(CRASHES):
        writers = [Writer(client, 10 * crash + number) for number in range(WRITERS)]
        for writer in writers:
            eventually(writer.has_done_enough)
        plane.process.kill()
        for writer in writers:
            writer.thread.join()
        plane.start()
        items = client.resource(CONFIG_MAPS).list(namespace="default")
        found = {
            obj["metadata"]["name"]: (obj["data"]["step"], int(obj["metadata"]["resourceVersion"]))
            for obj in items.items
            if "step" in obj["data"]
        }
        for writer in writers:
            for name, state in writer.known.items():
                if name != writer.open:
                    assert found.get(name) == state
            first = min(state[1] for state in writer.known.values() if state is not None)
            assert first > highest
        highest = max(writer.highest for writer in writers)
        assert int(items.resource_version) > highest


def test_workspaces_keys_and_custom_resources_are_there_again(plane: ControlPlane) -> None:
    client = plane.workspace("demo")
    server = plane.config.server
    client.resource(SYNCTARGETS).create(
        {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": SYNCTARGETS.kind,
            "metadata": {"name": "east"},
            "spec": {},
        }
    )
    before = client.resource(SYNCTARGETS).get("east")
    workspace = plane.client.resource(WORKSPACES).get("demo")
    plane.restart()
    assert plane.config.server == server
    assert client.resource(SYNCTARGETS).get("east") == before
    assert plane.client.resource(WORKSPACES).get("demo") == workspace
    plane.client.resource(WORKSPACES).delete("demo")
    eventually(lambda: plane.client.resource(WORKSPACES).list().items == [])
    plane.restart()
    assert plane.client.resource(WORKSPACES).list().items == []
    with pytest.raises(NotFound):
        client.resource(SYNCTARGETS).list()


def test_cluster_ips_are_not_given_twice() -> None:
    def service(name: str) -> dict[str, object]:
        meta = {"name": name, "namespace": "default"}
        spec = {"ports": [{"port": 80}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}

    with ControlPlane(workspaces=False, keeps_objects=True) as plane:
        services = plane.client.resource(SERVICES)
        addresses = {services.create(service(f"a{n}"))["spec"]["clusterIP"] for n in range(100)}
        plane.restart()
        addresses |= {services.create(service(f"b{n}"))["spec"]["clusterIP"] for n in range(100)}
        assert len(addresses) == 200


def test_a_watch_of_before_is_told_that_its_version_is_too_old(plane: ControlPlane) -> None:
    maps = plane.workspace("demo").resource(CONFIG_MAPS)
    version = maps.list().resource_version
    plane.restart()
    with closing(maps.watch_from(version)) as events, pytest.raises(Expired):
        next(events)
    with closing(maps.watch_from(maps.list().resource_version)) as events:
        meta = {"name": "new", "namespace": "default"}
        maps.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        assert next(events).object["metadata"]["name"] == "new"


def test_an_informer_goes_on_after_a_crash(plane: ControlPlane) -> None:
    client = plane.workspace("demo")
    maps = client.resource(CONFIG_MAPS)
    body = {"apiVersion": "v1", "kind": "ConfigMap"}
    for name in ("stays", "goes"):
        maps.create({**body, "metadata": {"name": name, "namespace": "default"}})
    factory = InformerFactory(client.aio, plane.loop)
    informer = factory.informer(CONFIG_MAPS, namespace="default")

    def cached() -> set[str]:
        return {obj["metadata"]["name"] for obj in informer.lister.list()} & {
            "stays",
            "goes",
            "new",
        }

    factory.start()
    try:
        eventually(lambda: cached() == {"stays", "goes"})
        maps.delete("goes", namespace="default")
        plane.restart()
        maps.create({**body, "metadata": {"name": "new", "namespace": "default"}})
        eventually(lambda: cached() == {"stays", "new"})
    finally:
        factory.close()


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ControlPlane(keeps_objects=True) as running:
        yield running.process.directory / "state"


def refused(tmp_path: Path, *flags: str, kubeconfig: str = "kubeconfig") -> str:
    command = [sys.executable, "-m", "kcpctl", "control-plane", "--port=0", *flags]
    done = subprocess.run(
        [*command, f"--write-kubeconfig={tmp_path / kubeconfig}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_directory_in_use_is_refused_in_one_sentence(in_use: Path, tmp_path: Path) -> None:
    assert refused(tmp_path, f"--data-dir={in_use}") == (
        f"Error: {in_use}/objects.db is in use by another process: end that, or name another "
        "data directory"
    )


def test_who_starts_second_leaves_the_files_of_those_that_run_alone(tmp_path: Path) -> None:
    first, second = (EmbeddedServers(data_directory=tmp_path) for _ in range(2))
    with closing(first), closing(second):
        first.start()
        kubeconfig = first.wait_ready("root")
        second.start()
        with pytest.raises(ServerStartError, match="is in use by another process"):
            second.wait_ready("root")
        assert yaml.safe_load(first.members["root"].kubeconfig.read_text()) == kubeconfig


def test_a_foreign_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_text("my diary, and nobody else's")
    assert refused(tmp_path, f"--data-dir={tmp_path}") == (
        f"Error: {tmp_path}/objects.db is not a database of kcpctl: name another data directory, "
        "or move that file away to start empty"
    )


def test_a_key_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("garbage")
    assert refused(tmp_path, f"--data-dir={tmp_path}") == (
        f"Error: {tmp_path}/ca.key does not hold a P-256 key; remove it to get a new one"
    )


def test_a_kubeconfig_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(tmp_path, kubeconfig="file/kubeconfig") == (
        f"Error: the kubeconfig cannot be written to {tmp_path}/file/kubeconfig: File exists; make "
        "room or give this user the right to write there, or name another file with "
        "--write-kubeconfig"
    )
