"""The reconciler of ClusterRegistrations in the world of the other one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import NODES, SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.clusters import ConnectionState
from kcpctl.controller import Request
from kcpctl.informers import CachedObject
from kcpctl.reconcilers.clusterregistration.options import ClusterRegistrationOptions
from kcpctl.reconcilers.clusterregistration.reconcile import (
    ClusterRegistrationReconciler,
    pool_key,
)
from kcpctl.reconcilers.credentials import CredentialSource, reference_of

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import Cache, World


class Targets:
    """The SyncTargets' lister with its index."""

    def __init__(self, world: World, cache: Cache) -> None:
        self._world = world
        self._cache = cache

    def cached(self, key: str) -> CachedObject | None:
        return self._cache.cached(key)

    def naming(self, key: str) -> Iterable[CachedObject]:
        for name in self._world.up.names("synctargets"):
            found = self._cache.cached(f"root|{name}")
            assert found is not None
            reference = reference_of(found.decode(SyncTarget), "root")
            if reference is not None and reference.key("root") == key:
                yield found


class Registry:
    """A world with one ClusterRegistration, ``east``."""

    key = "root|east"

    def __init__(self, world: World) -> None:
        self.world = world
        registrations = world.cache(CLUSTER_REGISTRATIONS)
        self.reconciler = ClusterRegistrationReconciler(
            client=world.client,
            registrations=registrations,
            targets=Targets(world, world.cache(SYNCTARGETS)),
            credentials=CredentialSource(
                world.cache(SECRETS), registrations, namespace="kcpctl-system"
            ),
            pool=world.pool,
            recorder=world.recorder,
            options=ClusterRegistrationOptions(),
            clock=world.clock,
        )
        world.down.served["/api"] = {"kind": "APIVersions", "versions": ["v1"]}
        world.down.served["/apis"] = {
            "kind": "APIGroupDiscoveryList",
            "items": [
                {
                    "metadata": {"name": "apps"},
                    "versions": [{"version": "v1", "resources": [{"resource": "deployments"}]}],
                }
            ],
        }

    def add(self, **spec: Any) -> None:
        spec = {"location": "eu", "kubeconfigSecret": {"name": "east-kubeconfig"}, **spec}
        self.world.add(CLUSTER_REGISTRATIONS, "east", spec=spec)

    def add_node(self, name: str, *, ready: bool = True, cordoned: bool = False) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": {"unschedulable": True} if cordoned else {},
            "status": {
                "capacity": {"cpu": "4", "memory": "16Gi"},
                "allocatable": {"cpu": "3500m", "memory": "15Gi"},
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
        self.world.down.put(NODES.path(name=name), node)

    @property
    def stored(self) -> Unstructured:
        return self.world.up.objects[self.world.path(CLUSTER_REGISTRATIONS, "east")]

    @property
    def status(self) -> Unstructured:
        status: Unstructured = self.stored.get("status", {})
        return status

    def condition(self, type_: str) -> tuple[str, str]:
        found = [one for one in self.status.get("conditions", []) if one["type"] == type_]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def connect(self) -> None:
        self.world.pool.set(pool_key(self.key), ConnectionState.READY, "Connected")

    def disconnect(self) -> None:
        self.world.pool.set(
            pool_key(self.key), ConnectionState.DISCONNECTED, "ConnectionFailed", "refused"
        )

    def reconcile(self) -> float | None:
        result = self.reconciler.reconcile(Request.from_key(self.key))
        return None if result is None else result.requeue_after_seconds

    def make_ready(self, **spec: Any) -> None:
        self.world.add_secret()
        self.add(**spec)
        self.reconcile()
        self.reconcile()
        self.connect()
        self.reconcile()
        self.world.up.calls.clear()
        self.world.down.calls.clear()
        self.world.recorder.take()


@pytest.fixture
def registry(world: World) -> Registry:
    return Registry(world)
