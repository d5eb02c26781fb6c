"""Read-your-writes over real sockets: a late watch makes no reconciler write twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Call, Client, Response, Transport
from kcpctl.client.http import HttpTransport
from kcpctl.controller import Controller, Request
from kcpctl.errors import NotFound
from kcpctl.informers import InformerFactory
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import ControlPlane, eventually

PARENT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "parent"}}


class SlowWatches:
    """The network, on which nothing of a watch comes while it is held."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.flows = asyncio.Event()
        self.flows.set()

    @property
    def server(self) -> str:
        return self._inner.server

    async def request(self, call: Call) -> Response:
        return await self._inner.request(call)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        async for chunk in self._inner.stream(call):
            await self.flows.wait()
            yield chunk

    async def close(self) -> None:
        await self._inner.close()


class Site:
    """A controller that gives each ConfigMap named ``parent`` one child, by a generated name."""

    def __init__(self, plane: ControlPlane, io_loop: IOLoop) -> None:
        self.workspace = plane.workspace()
        self.metrics = Metrics()
        config = replace(plane.config, cluster=self.workspace.cluster_name)
        self.io_loop = io_loop
        self.network = SlowWatches(HttpTransport(config))
        self.client = Client(
            AsyncClient(
                self.network,
                cluster_name=self.workspace.cluster_name,
                prefix=f"/clusters/{config.cluster}",
            ),
            io_loop,
        )
        self.factory = InformerFactory(self.client.aio, io_loop)
        self.maps = self.factory.informer(CONFIG_MAPS, namespace="default")
        self.controller = Controller("children", self, workers=2, metrics=self.metrics).watches(
            self.maps, map_to=lambda obj: [f"{obj.cluster}|default/parent"]
        )
        self.runs = 0

    def reconcile(self, request: Request) -> None:
        self.runs += 1
        try:
            self.maps.lister.get(request.key)
        except NotFound:
            return
        if not self.maps.lister.cluster(request.cluster).list("child-of=parent"):
            self.hold()
            self.client.resource(CONFIG_MAPS).create(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"generateName": "child-", "labels": {"child-of": "parent"}},
                },
                namespace="default",
            )

    @property
    def key(self) -> str:
        return f"{self.workspace.cluster_name}|default/parent"

    def children(self) -> list[dict[str, Any]]:
        found = self.workspace.resource(CONFIG_MAPS).list(
            namespace="default", label_selector="child-of=parent"
        )
        return found.items

    def skips(self) -> float:
        labels = {"controller": "children"}
        name = "controller_stale_sync_skips_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def hold(self) -> None:
        """Let the child that is about to be made not be shown."""
        self.io_loop.call(self.network.flows.clear)

    def release(self) -> None:
        self.io_loop.call(self.network.flows.set)


@pytest.fixture
def site(control_plane: ControlPlane) -> Iterator[Site]:
    with IOLoop("test-io") as io_loop:
        made = Site(control_plane, io_loop)
        made.factory.start()
        made.factory.wait_for_sync(60)
        made.controller.start()
        yield made
        made.release()
        made.controller.stop(5)
        made.factory.close()
        made.client.close()


def test_a_reconciler_that_creates_what_is_missing_creates_it_once(site: Site) -> None:
    """CS-02, CS-08: it was asked to run again and again while its cache was behind."""
    site.workspace.resource(CONFIG_MAPS).create(PARENT, namespace="default")
    eventually(site.children)
    before = site.runs
    for _ in range(20):
        skips = site.skips()
        site.controller.enqueue(site.key)
        eventually(lambda skips=skips: site.skips() > skips, poll_seconds=0.002)  # type: ignore[misc]
    assert site.runs == before
    assert len(site.children()) == 1
    site.release()
    eventually(lambda: site.runs > before)
    assert len(site.children()) == 1
