"""The kubelet on a real registry, with real processes under a fake clock."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kcpctl.embedded.kubelet import Kubelet, ServerAccess
from kcpctl.embedded.kubelet import kubelet as kubelet_module
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.authn import Authenticator
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.security.reviews import Reviews
from kcpctl.embedded.security.tokens import ServiceAccountTokens
from kcpctl.testing.clock import FakeClock

Json = dict[str, Any]

# Writes what it got to its output, then lives until it is told to end.
SCRIPT = """
import os, sys, time
print(sys.argv[1:], flush=True)
for name in sorted(os.environ):
    print(name, os.environ[name], sep="=", flush=True)
print("END", flush=True)
time.sleep(60)
"""


def syncer_pod(**fields: Any) -> Json:
    container = {
        "name": "syncer",
        "image": "kcpctl-syncer:local",
        "args": ["syncer", "--from-kubeconfig", "/kcp/kubeconfig", "--bind=$(POD_IP):8081"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [{"name": "creds", "mountPath": "/kcp"}],
    }
    return {
        "metadata": {"name": "syncer", "namespace": "default"},
        "spec": {
            "serviceAccountName": "bot",
            "containers": [container],
            "volumes": [{"name": "creds", "secret": {"secretName": "creds"}}],
            **fields,
        },
    }


def content(path: str | Path) -> str:
    return Path(path).read_text()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.registry = Registry(clock=self.clock)
        authorizer = Authorizer(self.registry)
        key = ec.generate_private_key(ec.SECP256R1())
        tokens = ServiceAccountTokens(key, clock=self.clock)
        self.authenticator = Authenticator(self.registry, authorizer, tokens)
        reviews = Reviews(self.registry, self.authenticator, authorizer, tokens, clock=self.clock)
        self.commands: list[list[str]] = []
        self.script = SCRIPT
        self.kubelet = Kubelet(
            self.registry,
            "root",
            access=ServerAccess("https://127.0.0.1:1", b"the CA"),
            create_token=reviews.create_token,
            directory=directory,
            command=self._command,
            clock=self.clock,
        )

    def _command(self, words: Sequence[str]) -> list[str]:
        self.commands.append(list(words))
        return [sys.executable, "-S", "-c", self.script, *words]

    def create(self, plural: str, obj: Json) -> Json:
        info = self.registry.info("root", "", "v1", plural)
        return self.registry.create(info, "root", obj["metadata"].get("namespace", ""), obj)

    def find(self, plural: str, name: str, namespace: str = "default") -> Any:
        info = self.registry.info("root", "", "v1", plural)
        return self.registry.find(info, "root", namespace, name)

    def patch(self, plural: str, name: str, body: Json, namespace: str = "default") -> None:
        info = self.registry.info("root", "", "v1", plural)
        self.registry.patch(info, "root", namespace, name, body)

    def delete(self, plural: str, name: str, **options: Any) -> None:
        info = self.registry.info("root", "", "v1", plural)
        self.registry.delete(info, "root", "default", name, options=options)

    def account_and_secret(self) -> None:
        self.create("serviceaccounts", {"metadata": {"name": "bot", "namespace": "default"}})
        self.secret("one")

    def secret(self, text: str) -> None:
        body = {"metadata": {"name": "creds", "namespace": "default"}}
        self.create("secrets", {**body, "stringData": {"kubeconfig": text}})

    def events(self) -> set[str]:
        info = self.registry.info("root", "", "v1", "events")
        return {entry["reason"] for entry in self.registry.list(info, "root")}

    async def until(self, condition: Callable[[], Any], *, step: float = 0.1) -> Any:
        async with asyncio.timeout(60):
            while not (found := condition()):
                self.clock.step(step)
                await asyncio.sleep(0.005)
        return found

    def log(self) -> str:
        return self.kubelet.read_log("default", "syncer").decode()

    def running(self) -> bool:
        pod = self.find("pods", "syncer")
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{"state": {}}]
        return "running" in statuses[0]["state"] and "END" in self.log()

    @property
    def pid(self) -> int:
        worker = self.kubelet._workers["default", "syncer"]
        pid = worker.containers["syncer"].pid
        assert pid is not None
        return pid


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "pods")
    made.kubelet.start()
    yield made
    await made.kubelet.close()
    assert not made.directory.exists()


PLAIN: Json = {
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {
        "containers": [{"name": "c", "image": "nginx"}],
        "initContainers": [{"name": "i", "image": "busybox"}],
    },
}


async def test_a_pod_whose_secret_is_missing_waits_for_it(world: World) -> None:
    world.create("serviceaccounts", {"metadata": {"name": "bot", "namespace": "default"}})
    world.create("pods", syncer_pod())
    await world.until(lambda: "FailedMount" in world.events())
    status = world.find("pods", "syncer")["status"]
    assert status["phase"] == "Pending"
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "ContainerCreating", "message": 'secret "creds" not found'}
    world.secret("late")
    await world.until(world.running)


async def test_a_cordoned_node_takes_no_pods(world: World) -> None:
    world.patch("nodes", "local", {"spec": {"unschedulable": True}}, "")
    world.create("pods", PLAIN)
    pod = await world.until(
        lambda: "conditions" in world.find("pods", "p")["status"] and world.find("pods", "p")
    )
    condition = pod["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert "nodeName" not in pod["spec"]
    world.patch("nodes", "local", {"spec": {"unschedulable": None}}, "")
    await world.until(lambda: world.find("pods", "p")["status"]["phase"] == "Running")


async def test_a_full_node_takes_the_next_pod_when_one_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet_module, "PODS", 2)

    def told(name: str) -> str:
        pod = world.find("pods", name) or {}
        first = ((pod.get("status") or {}).get("conditions") or [{}])[0]
        return str(first.get("message") or (pod.get("status") or {}).get("phase"))

    names = ["a", "b", "c", "d"]
    for name in names:
        world.create("pods", {**PLAIN, "metadata": {"name": name, "namespace": "default"}})
    full = "0/1 nodes are available: 1 Too many pods."
    await world.until(lambda: [told(name) for name in names] == ["Running"] * 2 + [full] * 2)
    world.delete("pods", "c")  # one that waits
    world.delete("pods", "a", gracePeriodSeconds=0)
    await world.until(lambda: told("d") == "Running")
    assert len(world.kubelet._addresses._used) == 2
    world.create("pods", {**PLAIN, "metadata": {"name": "e", "namespace": "default"}})
    await world.until(lambda: told("e") == full)
    world.patch("pods", "b", {"metadata": {"finalizers": ["a/b"]}})
    world.delete("pods", "b")
    await world.until(lambda: world.find("pods", "b")["metadata"].get("deletionTimestamp"))
    assert told("e") == full
    world.patch("pods", "b", {"metadata": {"finalizers": None}})
    await world.until(lambda: told("e") == "Running")


async def test_a_pod_of_another_node_is_not_touched(world: World) -> None:
    world.create("pods", {**PLAIN, "spec": {**PLAIN["spec"], "nodeName": "other"}})
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.find("pods", "p")["status"]["phase"] == "Pending"


async def test_the_node_is_ready_and_stays_so(world: World) -> None:
    node = world.find("nodes", "local", "")
    ready = next(entry for entry in node["status"]["conditions"] if entry["type"] == "Ready")
    assert ready["status"] == "True"
    assert node["status"]["allocatable"]["cpu"]
    world.clock.step(61)
    await asyncio.sleep(0.01)
    after = world.find("nodes", "local", "")
    beat = next(entry for entry in after["status"]["conditions"] if entry["type"] == "Ready")
    assert beat["lastHeartbeatTime"] > ready["lastHeartbeatTime"]
    assert beat["lastTransitionTime"] == ready["lastTransitionTime"]


async def test_an_ordinary_pod_is_running_and_ready(world: World) -> None:
    world.create("pods", PLAIN)
    await world.until(lambda: world.find("pods", "p")["status"]["phase"] == "Running")
    pod = world.find("pods", "p")
    status = pod["status"]
    assert pod["spec"]["nodeName"] == "local"
    assert status["podIP"].startswith("127.")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert {entry["type"]: entry["status"] for entry in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert status["containerStatuses"][0]["ready"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert world.kubelet.read_log("default", "p") == b""
    assert world.events() == {"Scheduled"}


async def test_a_deleted_pod_goes_at_once_but_not_before_its_finalizers(world: World) -> None:
    world.create("pods", PLAIN)
    held = {**PLAIN["metadata"], "name": "held", "finalizers": ["example.com/x"]}
    world.create("pods", {**PLAIN, "metadata": held})
    await world.until(lambda: world.find("pods", "held")["status"]["phase"] == "Running")
    world.delete("pods", "p")
    world.delete("pods", "held")
    await world.until(lambda: world.find("pods", "p") is None)
    assert world.find("pods", "held")["metadata"]["deletionGracePeriodSeconds"] == 0
    world.patch("pods", "held", {"metadata": {"finalizers": None}})
    assert world.find("pods", "held") is None


async def test_a_syncer_runs_with_its_files_variables_and_arguments(world: World) -> None:
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    address = world.find("pods", "syncer")["status"]["podIP"]
    (command,) = world.commands
    assert command[:2] == ["syncer", "--from-kubeconfig"]
    mounted = Path(command[2])
    assert content(mounted) == "one"
    assert world.directory in mounted.parents
    assert command[3] == f"--bind={address}:8081"
    variables = dict(line.split("=", 1) for line in world.log().splitlines() if "=" in line)
    assert variables["POD_IP"] == address
    kubeconfig = content(variables["KCPCTL_TO_KUBECONFIG"])
    assert "server: https://127.0.0.1:1" in kubeconfig
    assert "KUBECONFIG" not in variables


async def test_the_pods_own_token_is_good_and_renewed_in_place(world: World) -> None:
    world.account_and_secret()
    pod = world.create("pods", syncer_pod())
    await world.until(world.running)
    path = world.directory / pod["metadata"]["uid"] / "token"
    first = path.read_text()
    user, _ = world.authenticator.verify_token(first, "root") or (None, ())
    assert user is not None
    assert user.username == "system:serviceaccount:default:bot"
    await world.until(lambda: path.read_text() != first, step=30)
    assert world.authenticator.verify_token(first, "root")  # the old one is good for a while yet
    assert world.authenticator.verify_token(path.read_text(), "root")


async def test_a_changed_secret_reaches_the_file_in_place(world: World) -> None:
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    path, pid = Path(world.commands[0][2]), world.pid
    world.patch("secrets", "creds", {"data": {"kubeconfig": "dHdv"}})
    await world.until(lambda: path.read_text() == "two")
    world.delete("secrets", "creds")
    await asyncio.sleep(0.01)
    assert content(path) == "two"  # what is gone keeps its last content
    assert world.pid == pid


async def test_a_killed_syncer_is_started_again(world: World) -> None:
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    os.kill(world.pid, 9)

    def restarted() -> bool:
        (entry,) = world.find("pods", "syncer")["status"]["containerStatuses"]
        return entry["restartCount"] == 1 and "running" in entry["state"]

    await world.until(restarted)
    (entry,) = world.find("pods", "syncer")["status"]["containerStatuses"]
    assert entry["lastState"]["terminated"]["exitCode"] == 137
    ready = {
        condition["type"]: condition["status"]
        for condition in world.find("pods", "syncer")["status"]["conditions"]
    }
    assert ready["Ready"] == "True"
    await world.until(world.running)
    assert world.kubelet.read_log("default", "syncer", previous=True).endswith(b"END\n")
    assert world.kubelet.read_log("default", "syncer", tail_lines=1) == b"END\n"
    assert world.kubelet.read_log("default", "syncer", "nobody") == b""


async def test_a_deleted_syncer_is_stopped_before_its_pod_goes(world: World) -> None:
    world.account_and_secret()
    pod = world.create("pods", syncer_pod())
    await world.until(world.running)
    pid = world.pid
    world.delete("pods", "syncer")
    assert world.find("pods", "syncer") is not None
    await world.until(lambda: world.find("pods", "syncer") is None)
    assert not alive(pid)
    assert not (world.directory / pod["metadata"]["uid"]).exists()


async def test_a_pod_stays_while_its_process_takes_its_time_to_stop(world: World) -> None:
    slow = "import signal, sys, time\nsignal.signal(15, lambda *a: (time.sleep(0.3), sys.exit()))\n"
    world.script = slow + SCRIPT
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    pid = world.pid
    world.delete("pods", "syncer")
    await world.until(lambda: "Killing" in world.events())
    world.patch("pods", "syncer", {"metadata": {"labels": {"a": "b"}}})
    await asyncio.sleep(0.05)
    assert world.find("pods", "syncer") is not None
    await world.until(lambda: world.find("pods", "syncer") is None)
    assert not alive(pid)


async def test_a_syncer_deleted_by_force_is_stopped_too(world: World) -> None:
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    pid = world.pid
    world.delete("pods", "syncer", gracePeriodSeconds=0)
    assert world.find("pods", "syncer") is None
    await world.until(lambda: not alive(pid))


async def test_a_pod_that_is_not_restarted_ends_with_its_container(world: World) -> None:
    world.account_and_secret()
    world.create("pods", syncer_pod(restartPolicy="Never"))
    await world.until(world.running)
    os.kill(world.pid, 15)
    await world.until(lambda: world.find("pods", "syncer")["status"]["phase"] == "Failed")
    world.delete("pods", "syncer")
    assert world.find("pods", "syncer") is None


async def test_close_leaves_no_process(tmp_path: Path) -> None:
    world = World(tmp_path / "pods")
    (tmp_path / "pods" / "left-over").mkdir()
    world.kubelet.start()
    world.account_and_secret()
    world.create("pods", syncer_pod())
    await world.until(world.running)
    pid = world.pid
    world.delete("pods", "syncer")  # stopping when everything ends
    await asyncio.sleep(0)
    await world.kubelet.close()
    assert not alive(pid)
    assert not (tmp_path / "pods").exists()


async def test_what_an_earlier_life_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "pods" / "old").mkdir(parents=True)
    world = World(tmp_path / "pods")
    assert list((tmp_path / "pods").iterdir()) == []
    await world.kubelet.close()
