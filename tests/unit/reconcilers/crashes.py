"""Processes that die at any write, and what an undisturbed one leaves on the servers."""

from __future__ import annotations

import base64
import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    CLUSTER_LABEL,
    LOCATOR_ANNOTATION,
    NamespaceLocator,
    SyncTargetLocator,
    state_label,
    sync_target_key,
    syncer_finalizer,
)
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SECRETS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.clusters import ConnectionState
from kcpctl.errors import Conflict
from kcpctl.reconcilers.synctarget.manifests import KUBECONFIG_KEY, TOKEN_RENEW_ANNOTATION
from kcpctl.runtime import IOLoop, format_time
from tests.unit.reconcilers.clusterregistration.conftest import Registry
from tests.unit.reconcilers.conftest import Pool, World

if TYPE_CHECKING:
    from kcpctl.client import Call
    from tests.unit.reconcilers.conftest import Server

__all__ = [
    "NEIGHBOUR",
    "Crash",
    "Installation",
    "Scenario",
    "check_conflicts",
    "check_every_crash",
    "check_jumps",
]

NEIGHBOUR = "east-twin"
"""A second SyncTarget of the same cluster, whose objects have similar names."""

Objects = dict[str, Unstructured]
_ROUNDS = 200


class Crash(BaseException):
    """The end of a process. Nothing may catch it."""


@dataclass
class Scenario:
    """What a user does (``change``) to what ``prepare`` brought to rest, and after the crash.

    With ``gone`` nothing of it may be left on either server.
    """

    name: str
    prepare: Callable[[Installation], None]
    change: Callable[[Installation], None]
    then: Callable[[Installation], None] = lambda one: None
    gone: bool = False


class Installation:
    """Two servers, the two reconcilers, and all that acts by itself around them.

    ``fate`` is asked before and after each write with its line; it may raise Crash.
    """

    def __init__(self, io_loop: IOLoop) -> None:
        self.world = World(io_loop)
        self.registry = Registry(self.world)
        self.fate: Callable[[str, bool], None] = lambda line, done: None
        self._refused = False
        for server in (self.world.up, self.world.down):
            self._watch(server)
        self.world.add_secret(name="neighbour")
        self._add_neighbour()
        self.world.add_secret()

    def _watch(self, server: Server) -> None:
        answer = server._answer

        def watched(call: Call, path: str, body: Any) -> Unstructured:
            if call.method == "GET":
                return answer(call, path, body)
            line = f"{call.method} {server.server}{path}"
            try:
                self.fate(line, False)
            except Conflict:
                self._refused = True
                raise
            result = answer(call, path, body)
            self.fate(line, True)
            return result

        server._answer = watched  # type: ignore[method-assign]

    def _add_neighbour(self) -> None:
        world = self.world
        world.add_secret(name=f"{NEIGHBOUR}-kubeconfig")
        world.add_target(NEIGHBOUR, cluster=NEIGHBOUR, cells={"location": "east"})
        self.run_to_quiet(NEIGHBOUR)
        self.add_workloads(NEIGHBOUR)

    def restart(self) -> None:
        """Replace the process by one that knows nothing and has no connection."""
        self.fate = lambda line, done: None
        down, self.world.pool = self.world.pool.down, Pool()
        self.world.pool.down = down
        self.world.reconciler = self.world.new_reconciler()
        self.registry = Registry(self.world)

    def add_workloads(self, name: str = "east") -> None:
        """Put on both servers what a syncer works on."""
        uid = self.world.target(name).metadata.uid
        key = sync_target_key("root", name)
        locator = NamespaceLocator(
            sync_target=SyncTargetLocator(cluster="root", name=name, uid=uid),
            cluster="root",
            namespace="default",
        )
        for number in range(2):
            namespace = f"kcp-{name}-{number}"
            self.world.add_downstream(
                NAMESPACES,
                namespace,
                metadata={
                    "labels": {CLUSTER_LABEL: key},
                    "annotations": {LOCATOR_ANNOTATION: locator.to_json()},
                },
            )
            self.world.add_downstream(
                CONFIG_MAPS, "settings", namespace, metadata={"labels": {CLUSTER_LABEL: key}}
            )
            meta = {"labels": {state_label(key): "Sync"}, "finalizers": [syncer_finalizer(key)]}
            self.world.add(CONFIG_MAPS, f"{name}-{number}", "default", metadata=meta)

    def run_to_quiet(self, name: str = "east") -> None:
        """Let everything act in turn until a whole round changes nothing."""
        for _ in range(_ROUNDS):
            before = self.world.up.version, self.world.down.version, self.paths()
            self._refused = False
            self._pass_over(name)
            if self.registry.key == f"root|{name}":
                with suppress(Conflict):
                    self.registry.reconcile()
                self._pass_over(f"synctarget-{name}")
            self._surroundings(name)
            now = self.world.up.version, self.world.down.version, self.paths()
            if before == now and not self._refused:
                return
        raise AssertionError("never quiet")

    def _pass_over(self, name: str) -> None:
        if self.world.path(SYNCTARGETS, name) in self.world.up.objects:
            with suppress(Conflict):
                self.world.reconcile(name)

    def _surroundings(self, name: str) -> None:
        """The pool connects, Deployments become available and their syncers send heartbeats."""
        world = self.world
        for key, status in list(world.pool.statuses.items()):
            if not status.connected:
                world.pool.set(key, ConnectionState.READY, "Connected")
                world.up.version += 1  # news: not quiet yet
        for path, obj in list(world.down.objects.items()):
            others = NEIGHBOUR in path and name != NEIGHBOUR
            if f"/{DEPLOYMENTS.plural}/" not in path or others:
                continue
            available = {
                "availableReplicas": 1,
                "observedGeneration": obj["metadata"]["generation"],
            }
            if obj.get("status") != available:
                world.down.put(path, {**obj, "status": available})
            of = obj["metadata"]["labels"]["workload.kcp.io/synctarget-name"]
            self._beat(of)
            world.let_leave(of)

    def _beat(self, name: str) -> None:
        path = self.world.path(SYNCTARGETS, name)
        if path not in self.world.up.objects:
            return
        status = self.world.up.objects[path].get("status", {})
        if status.get("lastSyncerHeartbeatTime") != format_time(self.world.clock.time()):
            self.world.beat(name)

    def paths(self) -> list[list[str]]:
        return [sorted(self.world.up.objects), sorted(self.world.down.objects)]

    def state(self) -> dict[str, Objects]:
        """Return all objects without what numbers their writes."""
        servers = {"upstream": self.world.up, "downstream": self.world.down}
        return {
            name: {path: _normal(obj) for path, obj in server.objects.items()}
            for name, server in servers.items()
        }

    def timeless(self, *also: str) -> Any:
        """Return the same without times, and without those fields."""
        return _without_times(self.state(), also)

    def neighbours(self) -> Objects:
        """Return all that belongs to the neighbour, exactly as it is stored."""
        return {
            server.server + path: copy.deepcopy(obj)
            for server in (self.world.up, self.world.down)
            for path, obj in server.objects.items()
            if NEIGHBOUR in path
        }

    def leftovers(self) -> list[str]:
        """Return what is there beside the neighbour's objects and what a user made."""
        users = {SECRETS.path(namespace="kcpctl-system", name="east-kubeconfig")}
        users.add(SECRETS.path(namespace="kcpctl-system", name="neighbour"))
        users.add(NAMESPACES.path(name="kcpctl-system"))
        found = [path for side in self.paths() for path in side]
        theirs = (NEIGHBOUR, "/namespaces/default/")
        found = [path for path in found if not any(part in path for part in theirs)]
        return [path for path in found if path not in users]


def _normal(obj: Unstructured) -> Unstructured:
    result = copy.deepcopy(obj)
    meta = result["metadata"]
    meta.pop("resourceVersion")
    if result.get("kind") != SYNCTARGETS.kind:
        meta.pop("uid")
    if result.get("kind") == "Secret" and meta["name"].startswith("kcp-syncer-"):
        config = json.loads(base64.b64decode(result["data"][KUBECONFIG_KEY]))
        user = config["users"][0]["user"]
        assert user.pop("token").startswith("token-")
        result["data"] = config
    return result


def _without_times(value: Any, also: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(item, also)
            for key, item in value.items()
            if not key.endswith(("Time", "Timestamp")) and key not in also
        }
    return [_without_times(one, also) for one in value] if isinstance(value, list) else value


def check_jumps(io_loop: IOLoop, scenario: Scenario, seconds: float) -> None:
    """Let the wall clock jump after each write: neither the end nor an event may differ."""
    undisturbed = _prepared(io_loop, scenario)
    lines: list[str] = []
    undisturbed.fate = lambda line, done: lines.append(line) if done else None
    events, wanted = _ends(undisturbed, scenario)
    for number, line in enumerate(lines):
        found = _prepared(io_loop, scenario)
        found.fate = _jump_at(number, found, seconds)
        assert _ends(found, scenario) == (events, wanted), f"{scenario.name}: {line}"


def _jump_at(number: int, one: Installation, seconds: float) -> Callable[[str, bool], None]:
    count = itertools.count()

    def fate(line: str, done: bool) -> None:
        if done and next(count) == number:
            one.world.clock.jump(seconds)

    return fate


def check_conflicts(io_loop: IOLoop, scenario: Scenario, times: int) -> None:
    """Let each write be refused by a conflict so many times: the end may not differ."""
    undisturbed = _prepared(io_loop, scenario)
    _ends(undisturbed, scenario)
    found = _prepared(io_loop, scenario)
    refused: Counter[str] = Counter()

    def fate(line: str, done: bool) -> None:
        if not done and refused[line] < times:
            refused[line] += 1
            raise Conflict(f"{line}: the object has been modified")

    found.fate = fate
    _ends(found, scenario)
    assert found.timeless() == undisturbed.timeless()
    assert max(refused.values()) == times


def _ends(one: Installation, scenario: Scenario) -> tuple[list[str], Any]:
    """Run to the end; return the events on the way and the state."""
    one.world.recorder.take()
    scenario.change(one)
    one.run_to_quiet()
    scenario.then(one)
    one.run_to_quiet()
    return one.world.recorder.take(), one.timeless(TOKEN_RENEW_ANNOTATION)


def check_every_crash(io_loop: IOLoop, scenario: Scenario) -> int:
    """Let the process die before and after each write; return how many writes there are."""
    lines: list[str] = []

    def count(line: str, done: bool) -> None:
        if done:
            lines.append(line)

    undisturbed = _prepared(io_loop, scenario)
    beside = undisturbed.neighbours()
    undisturbed.fate = count
    scenario.change(undisturbed)
    undisturbed.run_to_quiet()
    undisturbed.fate = lambda line, done: None
    scenario.then(undisturbed)
    undisturbed.run_to_quiet()
    wanted = undisturbed.state()
    assert undisturbed.neighbours() == beside
    for number, done in itertools.product(range(len(lines)), (False, True)):
        where = f"{scenario.name}: died {'after' if done else 'before'} {lines[number]}"
        found = _prepared(io_loop, scenario)
        found.fate = _die_at(number, done)
        scenario.change(found)
        try:
            found.run_to_quiet()
        except Crash:
            found.restart()
        else:
            raise AssertionError(f"{where}: no such write")
        scenario.then(found)
        found.run_to_quiet()
        assert found.state() == wanted, where
        assert found.neighbours() == beside, where
        if scenario.gone:
            assert found.leftovers() == [], where
    return len(lines)


def _prepared(io_loop: IOLoop, scenario: Scenario) -> Installation:
    made = Installation(io_loop)
    scenario.prepare(made)
    made.run_to_quiet()
    return made


def _die_at(number: int, after: bool) -> Callable[[str, bool], None]:
    count = itertools.count()

    def fate(line: str, done: bool) -> None:
        if done == after and next(count) == number:
            raise Crash(line)

    return fate
