"""The pieces of an installation, each behind a proxy, for the tests of faults."""

from __future__ import annotations

import base64
import gc
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from kcpctl.apis.kcp import ExportReference
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.clusters import ClusterPool
from kcpctl.errors import AlreadyExists
from kcpctl.informers import AggregateFactory, InformerFactory
from kcpctl.manager import Manager
from kcpctl.manager.fleet import Fleet
from kcpctl.reconcilers.claims import hint_from, no_hint
from kcpctl.reconcilers.synctarget import SyncTargetOptions, new_controller
from kcpctl.runtime import Child, IOLoop, Metrics
from kcpctl.syncer.target import Target
from kcpctl.testing import ControlPlane, FaultProxy, eventually

PROBE_SECONDS = 0.2
# As long as a busy machine may keep a cluster from answering.
PROBE_TIMEOUT_SECONDS = 1.0
FORGET_SECONDS = 1.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let broken connections be collected in the tests that break them.

    asyncio leaves the transport of a TLS handshake that is cut off to the garbage collector, which
    closes it with a ResourceWarning.
    """
    for item in items:
        if item.path.name.startswith("test_fault"):
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.usefixtures("collected"))


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what a test has broken before the next one begins."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def plain_cluster() -> Iterator[ControlPlane]:
    """An ordinary cluster on which nothing runs."""
    with ControlPlane(workspaces=False) as running:
        yield running


@pytest.fixture(scope="session")
def kubelet_cluster() -> Iterator[ControlPlane]:
    """An ordinary cluster on which syncers run."""
    with ControlPlane(workspaces=False, kubelet=True) as running:
        yield running


class Controllers:
    """The SyncTarget controller in this process, with probes quick enough for a test."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        everywhere: bool = False,
        export: ExportReference | None = None,
        request_timeout_seconds: float = 30.0,
        **options: Any,
    ) -> None:
        self._stopped = False
        self.metrics = Metrics()
        self.loop = IOLoop("kcpctl-controllers-io")
        self.fleet: Fleet | None = None
        factory: InformerFactory | AggregateFactory
        if export is not None:
            self.fleet = Fleet(
                config, export, self.loop, forget_after_seconds=FORGET_SECONDS, metrics=self.metrics
            )
            client, factory = self.fleet.client, self.fleet.informers
        else:
            make = AsyncClient.workspaces if everywhere else AsyncClient.plain
            made = make(
                config, metrics=self.metrics, request_timeout_seconds=request_timeout_seconds
            )
            client = Client(made, self.loop)
            factory = InformerFactory(client.aio, self.loop, metrics=self.metrics)
        self._client = client
        self.manager = Manager(
            client, metrics=self.metrics, fleet=self.fleet, graceful_shutdown_timeout_seconds=5
        )
        self.pool = ClusterPool(
            self.loop,
            metrics=self.metrics,
            probe_interval_seconds=PROBE_SECONDS,
            probe_timeout_seconds=PROBE_TIMEOUT_SECONDS,
            connect_timeout_seconds=1.0,
        )
        self.manager.add_pool(self.pool)
        if self.fleet is None:
            self.manager.add_factory(factory)
        settings = {
            "syncer_image": "kcpctl-syncer:local",
            "upstream_server_url": config.server,
            "upstream_ca_data": config.ca,
            **options,
        }
        self.manager.add(
            new_controller(
                client=client,
                factory=factory,
                pool=self.pool,
                recorder=self.manager.recorder("kcpctl-synctarget"),
                options=SyncTargetOptions(**settings),
                metrics=self.metrics,
                hint=no_hint if self.fleet is None else hint_from(self.fleet),
                links=self.fleet,
            )
        )

    def count(self, name: str, **labels: str) -> int:
        """Return a counter, summed over the series that have those labels."""
        families = [one for one in self.metrics.registry.collect() if f"{one.name}_total" == name]
        assert families, f"there is no counter {name}"
        return int(
            sum(
                sample.value
                for sample in families[0].samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )

    @property
    def reconciles(self) -> int:
        return self.count("controller_runtime_reconcile_total")

    @property
    def writes(self) -> int:
        """Every request to the upstream server that was answered and is not a read."""
        name = "rest_client_requests_total"
        return self.count(name) - self.count(name, method="GET")

    def start(self) -> Self:
        self.manager.start()
        return self

    def stop(self) -> None:
        """Stop them; may be called twice."""
        if not self._stopped:
            self._stopped = True
            self.manager.stop()
            self._client.close()
            self.loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Site:
    """One workspace of an upstream server and what a test starts around it."""

    def __init__(
        self,
        plane: ControlPlane,
        directory: Path,
        stack: ExitStack,
        upstream: Client | None = None,
    ) -> None:
        self.plane = plane
        self.directory = directory
        self.stack = stack
        self.upstream = upstream or plane.workspace()

    @property
    def cluster(self) -> str:
        """The name of the workspace's logical cluster."""
        return self.upstream.cluster_name

    def proxy(self, plane: ControlPlane) -> FaultProxy:
        """A proxy in front of a control plane."""
        return self.stack.enter_context(FaultProxy(plane.config.server))

    def kubeconfig(self, plane: ControlPlane, proxy: FaultProxy | None = None) -> dict[str, Any]:
        """A kubeconfig of a control plane, through a proxy; upstream it is of the workspace."""
        found: dict[str, Any] = yaml.safe_load(plane.kubeconfig.read_text())
        if plane is self.plane:
            found["clusters"][0]["cluster"]["server"] = self.upstream.url
        return found if proxy is None else proxy.kubeconfig(found)

    def kubeconfig_file(self, plane: ControlPlane, proxy: FaultProxy | None = None) -> Path:
        """The same as a file."""
        path = self.directory / f"{id(plane)}-{id(proxy)}.kubeconfig"
        path.write_text(yaml.safe_dump(self.kubeconfig(plane, proxy)))
        return path

    def controllers(self, proxy: FaultProxy | None = None, **options: Any) -> Controllers:
        """Controllers of the workspace, running until the end of the test."""
        config = replace(self.plane.config, cluster=self.upstream.cluster_name)
        if proxy is not None:
            config = replace(config, server=f"https://{proxy.address}")
        return self.stack.enter_context(Controllers(config, **options))

    def command(self, *args: str) -> tuple[Child, Path]:
        """A kcpctl process, running until the end of the test, and its log."""
        log = self.directory / f"{args[0]}-{len(list(self.directory.iterdir()))}.log"
        with log.open("wb") as output:
            child = Child([sys.executable, "-m", "kcpctl", *args], env=os.environ, output=output)
        self.stack.callback(child.close)
        return child, log

    # Upstream objects.

    def secret(self, name: str, content: Mapping[str, Any] | str | None) -> None:
        """Put a kubeconfig (or whatever is given in place of it) into its Secret."""
        self.upstream_namespace("kcpctl-system")
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        data = {} if content is None else {"kubeconfig": base64.b64encode(text.encode()).decode()}
        secrets = self.upstream.resource(SECRETS)
        body = {"metadata": {"name": name, "namespace": "kcpctl-system"}, "data": data}
        try:
            secrets.create({"apiVersion": "v1", "kind": "Secret", **body})
        except AlreadyExists:
            change: dict[str, Any] = {"data": data or {"kubeconfig": None}}
            secrets.patch(name, change, namespace="kcpctl-system")

    def upstream_namespace(self, name: str) -> None:
        try:
            self.upstream.resource(NAMESPACES).create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        except AlreadyExists:
            return

    def target(self, name: str = "east", **spec: Any) -> Unstructured:
        """Create a SyncTarget; without a spec it stands for the cluster of its name."""
        return self.upstream.resource(SYNCTARGETS).create(
            {
                "apiVersion": SYNCTARGETS.api_version,
                "kind": SYNCTARGETS.kind,
                "metadata": {"name": name},
                "spec": spec or {"cluster": name, "cells": {"location": name}},
            }
        )

    def connect(
        self, plane: ControlPlane, name: str = "east", proxy: FaultProxy | None = None, **spec: Any
    ) -> Unstructured:
        """Create the Secret and the SyncTarget of a downstream cluster."""
        self.secret(f"{name}-kubeconfig", self.kubeconfig(plane, proxy))
        return self.target(name, **spec)

    def get(self, name: str = "east") -> Unstructured:
        return self.upstream.resource(SYNCTARGETS).get(name)

    def condition(self, type_: str, name: str = "east") -> Unstructured:
        """A condition of a SyncTarget; LookupError while it has none."""
        found: list[Unstructured] = self.get(name).get("status", {}).get("conditions", [])
        return {one["type"]: one for one in found}[type_]

    def await_condition(
        self, type_: str, status: str, reason: str = "", name: str = "east", seconds: float = 60
    ) -> Unstructured:
        def matches() -> Unstructured | None:
            found = self.condition(type_, name)
            right = found["status"] == status and (not reason or found["reason"] == reason)
            assert right, found
            return found

        found = eventually(matches, timeout_seconds=seconds)
        assert found is not None
        return found

    def assign(self, resource: Resource, name: str, target: str = "east", **fields: Any) -> None:
        """Create an object that is assigned to a SyncTarget."""
        label = Target(self.cluster, target, "").state_label
        self.upstream.resource(resource).create(
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": name, "namespace": "default", "labels": {label: "Sync"}},
                **fields,
            }
        )


def copies(site: Site, downstream: Client, target: str = "east") -> dict[str, Unstructured]:
    """Return the ConfigMaps that a SyncTarget's syncer has made downstream, by name."""
    selector = Target(site.cluster, target, "").downstream_selector
    found = downstream.resource(CONFIG_MAPS).list(label_selector=selector).items
    return {one["metadata"]["name"]: one for one in found}


@contextmanager
def new_site(plane: ControlPlane, directory: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(plane, directory, stack)


@pytest.fixture
def site(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Site]:
    """A fresh workspace on the shared control plane."""
    with new_site(control_plane, tmp_path) as made:
        yield made


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A workspace on a control plane of its own, which the test may kill."""
    with ControlPlane() as plane, new_site(plane, tmp_path) as made:
        yield made
