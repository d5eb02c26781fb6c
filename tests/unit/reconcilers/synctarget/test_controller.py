"""Which events bring which SyncTarget up, over real informers and an in-memory server."""

from __future__ import annotations

import threading
from typing import Any, cast

import msgspec
import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import KEY_LABEL, SYNCTARGET_FINALIZER, sync_target_key
from kcpctl.apis.resource import SECRETS, Resource
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client
from kcpctl.clusters import ClusterPool
from kcpctl.controller import Request
from kcpctl.errors import UsageError
from kcpctl.informers import InformerFactory
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.reconcilers.synctarget import (
    SyncTargetController,
    SyncTargetOptions,
    new_controller,
)
from kcpctl.reconcilers.workspaces import Workspaces
from kcpctl.runtime import IOLoop
from kcpctl.testing.clock import FakeClock


class NoNetwork:
    server = "https://upstream"


class Recorder:
    def event(self, *args: Any) -> None:
        pass


class Setup:
    """A controller that is not started; its informers are fed by hand."""

    def __init__(self, io_loop: IOLoop, clock: FakeClock | None = None) -> None:
        clock = clock or FakeClock()
        aio = AsyncClient(cast(Any, NoNetwork()), cluster_name="root")
        self.factory = InformerFactory(aio, io_loop, clock=clock)
        self.pool = ClusterPool(io_loop, clock=clock)
        self.controller: SyncTargetController = new_controller(
            client=Client(aio, io_loop),
            factory=self.factory,
            pool=self.pool,
            recorder=Recorder(),
            options=SyncTargetOptions(syncer_image="image"),
            clock=clock,
        )
        self._io_loop = io_loop

    def feed(
        self,
        resource: Resource,
        *objects: Unstructured,
        type_: str = "ADDED",
        cluster: str = "root",
    ) -> list[str]:
        """Deliver events; return the keys that they brought up."""
        from kcpctl.apis.tmc import ClusterRegistration
        from kcpctl.apis.workload import SyncTarget

        types: dict[Resource, Any] = {
            SYNCTARGETS: SyncTarget,
            CLUSTER_REGISTRATIONS: ClusterRegistration,
        }
        informer = self.factory.informer(resource, types.get(resource, dict))
        decoder = ObjectDecoder(resource, cluster=cluster, multi_cluster=False)
        for obj in objects:
            cached = decoder.decode(msgspec.Raw(msgspec.json.encode(obj)))
            informer.apply(type_, cached, cached.meta.resource_version)
        return self.drain()

    def drain(self) -> list[str]:
        queue = self.controller.queue
        keys = []
        while len(queue):
            key = queue.get()
            queue.done(key)
            keys.append(key)
        return sorted(keys)


def make(
    resource: Resource, name: str, *, namespace: str = "", version: int = 1, **spec: Any
) -> Unstructured:
    meta = {"name": name, "namespace": namespace, "resourceVersion": str(version), "uid": name}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": meta,
        "spec": spec,
    }


@pytest.fixture
def setup(io_loop: IOLoop) -> Setup:
    return Setup(io_loop)


TARGETS = [
    make(SYNCTARGETS, "by-name", cluster="reg"),
    make(SYNCTARGETS, "by-ref", clusterRef={"name": "reg"}),
    make(
        SYNCTARGETS,
        "by-secret",
        connection={"kubeconfigSecretRef": {"name": "own", "namespace": "ns"}},
    ),
    make(SYNCTARGETS, "external", kcpCluster="root:x"),
]


def test_a_sync_target_brings_itself_up(setup: Setup) -> None:
    assert setup.feed(SYNCTARGETS, TARGETS[0]) == ["root|by-name"]


def test_a_registration_brings_up_who_names_it(setup: Setup) -> None:
    setup.feed(SYNCTARGETS, *TARGETS)
    registration = make(CLUSTER_REGISTRATIONS, "reg", location="x")
    assert setup.feed(CLUSTER_REGISTRATIONS, registration) == ["root|by-name", "root|by-ref"]


@pytest.mark.parametrize(
    ("namespace", "name", "keys"),
    [
        ("kcpctl-system", "reg-kubeconfig", ["root|by-name"]),
        ("ns", "own", ["root|by-secret"]),
        ("kcpctl-system", "own", []),
        ("ns", "of-registration", ["root|by-name", "root|by-ref"]),
    ],
)
def test_a_secret_brings_up_who_depends_on_it(
    setup: Setup, namespace: str, name: str, keys: list[str]
) -> None:
    setup.feed(SYNCTARGETS, *TARGETS)
    reference = {"name": "of-registration", "namespace": "ns"}
    registration = make(CLUSTER_REGISTRATIONS, "reg", location="x", kubeconfigSecret=reference)
    setup.feed(CLUSTER_REGISTRATIONS, registration)
    assert setup.feed(SECRETS, make(SECRETS, name, namespace=namespace)) == keys
    gone = make(SECRETS, name, namespace=namespace, version=2)
    assert setup.feed(SECRETS, gone, type_="DELETED") == keys


def test_a_registration_brings_up_those_of_other_workspaces_that_name_it(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"b": ["root:b"]}
    monkeypatch.setattr(Workspaces, "paths_of", lambda self, cluster: known.get(cluster, []))
    setup.feed(SYNCTARGETS, *TARGETS)
    setup.feed(
        SYNCTARGETS,
        make(SYNCTARGETS, "by-id", clusterRef={"name": "reg", "workspace": "b"}),
        make(SYNCTARGETS, "by-path", cluster="root:b:reg"),
        make(SYNCTARGETS, "other-path", cluster="root:c:reg"),
    )
    registration = make(
        CLUSTER_REGISTRATIONS, "reg", location="x", kubeconfigSecret={"name": "own"}
    )
    there = setup.feed(CLUSTER_REGISTRATIONS, registration, cluster="b")
    assert there == ["root|by-id", "root|by-path"]
    secret = make(SECRETS, "own", namespace="kcpctl-system")
    assert setup.feed(SECRETS, secret, cluster="b") == ["root|by-id", "root|by-path"]
    assert setup.feed(SECRETS, secret, cluster="c") == []
    here = setup.feed(CLUSTER_REGISTRATIONS, registration)
    assert here == ["root|by-name", "root|by-ref"]


def test_the_pool_brings_up_its_sync_target_and_no_other_key(setup: Setup, io_loop: IOLoop) -> None:
    setup.feed(SYNCTARGETS, TARGETS[0])
    for key in ("root|by-name", "root|somebody-elses"):
        setup.pool.fail(key, "CredentialsMissing", "no Secret")
    flush(io_loop)
    assert setup.drain() == ["root|by-name"]


def test_a_stopped_controller_hears_nothing_any_more(setup: Setup, io_loop: IOLoop) -> None:
    setup.feed(SYNCTARGETS, TARGETS[0])
    assert setup.controller.stop(1.0)
    called: list[str] = []
    setup.controller.enqueue = called.append  # type: ignore[method-assign, assignment]
    setup.pool.fail("root|by-name", "CredentialsMissing", "no Secret")
    flush(io_loop)
    assert called == []


def flush(io_loop: IOLoop) -> None:
    """Wait until what was put on the loop before has run."""

    async def nothing() -> None:
        return None

    io_loop.run(nothing())


def test_thresholds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="unhealthy-threshold"):
        SyncTargetOptions(heartbeat_threshold_seconds=10, unhealthy_threshold_seconds=5)


def test_a_cluster_that_is_removed_takes_its_connections_along(setup: Setup) -> None:
    """MCR-02: of its SyncTargets' keys nothing is reconciled any more that could end them."""
    for key in ("gone|east", "stays|east"):
        setup.pool.fail(key, "NoSecret", "there is none")
    setup.controller.enqueue("gone|east")
    setup.controller.remove("gone")
    assert [status.key for status in setup.pool.statuses()] == ["stays|east"]
    assert setup.drain() == []


def test_other_options_count_at_once_and_bring_each_target_up_once(setup: Setup) -> None:
    setup.feed(SYNCTARGETS, *TARGETS)
    setup.controller.enqueue_after("root|by-name", 300)
    newer = SyncTargetOptions(heartbeat_threshold_seconds=10, workers=9)
    setup.controller.go_on_with(newer)
    assert setup.drain() == ["root|by-name", "root|by-ref", "root|by-secret", "root|external"]
    snapshot = setup.controller.snapshots()["synctarget"]
    assert not snapshot.waiting
    options = setup.controller._sync_targets.options
    assert (options.heartbeat_threshold_seconds, options.workers) == (10, 4)


class CountedLock:
    """A lock that says how often any of its kind was taken."""

    taken = 0

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        CountedLock.taken += 1
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


def test_a_pass_over_an_external_target_takes_no_lock_that_others_wait_for(
    io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()  # which has a lock, unlike the real one
    with monkeypatch.context() as patched:
        patched.setattr(threading, "Lock", CountedLock)
        setup = Setup(io_loop, clock)
    found = make(SYNCTARGETS, "external", kcpCluster="root:x")
    found["metadata"]["finalizers"] = [SYNCTARGET_FINALIZER]
    found["metadata"]["labels"] = {KEY_LABEL: sync_target_key("root", "external")}
    (key,) = setup.feed(SYNCTARGETS, found)
    monkeypatch.setattr(
        "kcpctl.reconcilers.synctarget.reconcile.commit_unless_gone", lambda *_: False
    )
    before = CountedLock.taken
    assert setup.controller._sync_targets.reconcile(Request.from_key(key)) is not None
    setup.controller.queue.forget(key)
    assert CountedLock.taken == before > 0
