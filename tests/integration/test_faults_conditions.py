"""What the syncer says of itself while its cluster is broken, or refuses objects."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import downstream_namespace
from kcpctl.apis.resource import CONFIG_MAPS, EVENTS, NAMESPACES
from kcpctl.client import AsyncClient, Client
from kcpctl.runtime import IOLoop, Metrics, start_thread
from kcpctl.runtime.clock import SystemClock
from kcpctl.syncer import Syncer, SyncerOptions
from kcpctl.syncer.target import Target
from kcpctl.testing import ControlPlane, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Site

EXTERNAL: dict[str, Any] = {"kcpCluster": "root", "deployment": {"mode": "External"}}
TIMES = 20


class QuickClock(SystemClock):
    """A clock on which everything takes a twentieth of its time."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() * TIMES

    boottime = monotonic

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / TIMES)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds / TIMES, 0))

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        return super().call_later(seconds / TIMES, callback)

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        return super().wait(condition, timeout_seconds and timeout_seconds / TIMES)


class Agent:
    """A syncer on a thread, with a proxy before its cluster."""

    def __init__(self, site: Site, cluster: ControlPlane) -> None:
        self._site = site
        uid = site.target(**EXTERNAL)["metadata"]["uid"]
        self.target = Target(site.cluster, "east", uid)
        self.proxy = site.proxy(cluster)
        loop = site.stack.enter_context(IOLoop("kcpctl-syncer-io"))
        config = replace(cluster.config, server=f"https://{self.proxy.address}")
        downstream = Client(AsyncClient.plain(config), loop)
        site.stack.callback(downstream.close)
        self.metrics = Metrics()
        config = replace(site.plane.config, cluster=site.upstream.cluster_name)
        upstream = Client(AsyncClient.plain(config, metrics=self.metrics), loop)
        site.stack.callback(upstream.close)
        options = SyncerOptions(sync_target_name="east", sync_target_uid=uid)
        self.syncer = Syncer(options, upstream=upstream, downstream=downstream, clock=QuickClock())
        stop = threading.Event()
        thread = start_thread(lambda: self.syncer.run(stop), name="syncer")
        site.stack.callback(thread.join)
        site.stack.callback(stop.set)

    @property
    def beats(self) -> int:
        session = self.syncer._session
        return 0 if session is None else session.reporter.beats

    @property
    def writes(self) -> int:
        """Every write to the upstream server that was answered."""
        families = self.metrics.registry.collect()
        samples = [one for family in families for one in family.samples]
        writes = [
            one.value
            for one in samples
            if one.name == "rest_client_requests_total" and one.labels["method"] != "GET"
        ]
        return int(sum(writes))

    def condition(self, type_: str) -> tuple[str, str]:
        found: list[Unstructured] = self._site.get().get("status", {}).get("conditions", [])
        return next((one["status"], one["reason"]) for one in found if one["type"] == type_)

    def await_condition(self, type_: str, status: str, reason: str) -> None:
        eventually(lambda: self.condition(type_) == (status, reason))


@pytest.fixture
def agent(site: Site, plain_cluster: ControlPlane) -> Agent:
    made = Agent(site, plain_cluster)
    made.await_condition("SyncerReady", "True", "SyncerConnected")
    return made


def test_a_cluster_that_is_lost_is_told_until_it_is_back(agent: Agent) -> None:
    agent.await_condition("ClusterConnected", "True", "Connected")
    agent.proxy.refuse()
    agent.await_condition("SyncerReady", "False", "SyncerDisconnected")
    agent.await_condition("ClusterConnected", "False", "ConnectionFailed")
    agent.proxy.accept()
    agent.await_condition("SyncerReady", "True", "SyncerConnected")
    agent.await_condition("ClusterConnected", "True", "Connected")


def warnings(site: Site) -> list[str]:
    events = site.upstream.resource(EVENTS).list(namespace="default").items
    return [one["reason"] for one in events if one["type"] == "Warning"]


def test_a_namespace_that_is_taken_is_told_until_it_is_free(
    agent: Agent, site: Site, plain_cluster: ControlPlane
) -> None:
    namespaces = plain_cluster.client.resource(NAMESPACES)
    name = downstream_namespace(agent.target.locator("default"))
    namespaces.create({"metadata": {"name": name}})
    site.controllers()
    site.assign(CONFIG_MAPS, "web", data={})
    agent.await_condition("SyncerReady", "False", "NamespaceCollision")
    eventually(lambda: site.condition("Ready")["message"].endswith("(NamespaceCollision)"))
    assert site.condition("Ready")["status"] == "True"
    namespaces.delete(name)
    agent.await_condition("SyncerReady", "True", "SyncerConnected")
    eventually(lambda: warnings(site).count("NamespaceCollision") == 1)


def test_at_rest_there_are_heartbeats_and_nothing_else(agent: Agent, site: Site) -> None:
    site.assign(CONFIG_MAPS, "web", data={})
    eventually(lambda: site.get()["status"]["resourceCount"] == 1)
    eventually(lambda: site.get()["status"]["syncedResources"])
    agent.await_condition("SyncerAuthorized", "True", "Authorized")
    first = agent.beats + 1
    eventually(lambda: agent.beats == first, poll_seconds=0.01)
    before = agent.writes
    eventually(lambda: agent.beats == first + 2, poll_seconds=0.01)
    assert agent.writes - before == 2
