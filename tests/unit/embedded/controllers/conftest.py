from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kcpctl.embedded.controllers.deployments import DeploymentController
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.garbage import GarbageCollector
from kcpctl.embedded.controllers.namespaces import NamespaceController
from kcpctl.embedded.controllers.replicasets import ReplicaSetController
from kcpctl.embedded.controllers.signing import SigningController
from kcpctl.embedded.controllers.token_secrets import TokenSecretController
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.embedded.security.tokens import ServiceAccountTokens
from kcpctl.testing.clock import FakeClock

Json = dict[str, Any]


class World:
    """A registry with the controllers running on it, and short ways to use it."""

    def __init__(self, *, workspaces: bool) -> None:
        self.clock = FakeClock()
        self.registry = Registry(workspaces=workspaces, clock=self.clock)
        events = EventWriter(self.registry, "test", clock=self.clock)
        authority = CertificateAuthority(clock=self.clock)
        key = ec.generate_private_key(ec.SECP256R1())
        self.tokens = ServiceAccountTokens(key, clock=self.clock)
        self._controllers: list[Any] = [
            NamespaceController(self.registry, ca_pem=b"the CA", clock=self.clock),
            GarbageCollector(self.registry, clock=self.clock),
            SigningController(self.registry, authority, longest_seconds=86_400, clock=self.clock),
            TokenSecretController(self.registry, self.tokens, ca_pem=b"the CA", clock=self.clock),
            DeploymentController(self.registry, events, clock=self.clock),
            ReplicaSetController(self.registry, events, clock=self.clock),
        ]

    def start(self) -> None:
        for controller in self._controllers:
            controller.start()

    async def close(self) -> None:
        for controller in self._controllers:
            await controller.close()

    async def settle(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object], *, step: float = 0.1) -> None:
        """Let time pass until something is true."""
        for _ in range(200):
            await self.settle()
            if condition():
                return
            self.clock.step(step)
        raise AssertionError("it does not come true")

    def _info(self, kind: str, cluster: str) -> Any:
        group, _, plural = kind.rpartition("/")
        version = "v1alpha1" if group == "tenancy.kcp.io" else "v1"
        return self.registry.info(cluster, group, version, plural)

    def create(self, kind: str, obj: Json, *, cluster: str = "root") -> Json:
        namespace = obj["metadata"].get("namespace", "")
        return self.registry.create(self._info(kind, cluster), cluster, namespace, obj)

    def find(
        self, kind: str, name: str, namespace: str = "", *, cluster: str = "root"
    ) -> Json | None:
        return self.registry.find(self._info(kind, cluster), cluster, namespace, name)

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        return self.registry.get(self._info(kind, "root"), "root", namespace, name)

    def list(self, kind: str, namespace: str | None = None) -> Any:
        return self.registry.list(self._info(kind, "root"), "root", namespace)

    def patch(self, kind: str, name: str, body: Json, namespace: str = "") -> Json:
        return self.registry.patch(self._info(kind, "root"), "root", namespace, name, body)

    def delete(self, kind: str, name: str, namespace: str = "", **options: Any) -> None:
        self.registry.delete(self._info(kind, "root"), "root", namespace, name, options=options)

    def config_map(self, name: str, *owners: Json, namespace: str = "default", **meta: Any) -> Json:
        """Create a ConfigMap, owned by ``owners``."""
        metadata: Json = {"name": name, "namespace": namespace, **meta}
        if owners:
            metadata["ownerReferences"] = [reference(owner) for owner in owners]
        return self.create("configmaps", {"metadata": metadata})

    def make_ready(self, *, ready: bool = True) -> int:
        """Play kubelet: mark every live Pod; returns how many there are."""
        info = self._info("pods", "root")
        pods = [pod for pod in self.list("pods") if not pod["metadata"].get("deletionTimestamp")]
        for pod in pods:
            condition = {
                "type": "Ready",
                "status": "True" if ready else "False",
                "lastTransitionTime": self.registry.backend.now(),
            }
            old = (pod.get("status") or {}).get("conditions") or [{}]
            if old[0].get("status") != condition["status"]:
                status = {"phase": "Running", "conditions": [condition]}
                self.registry.update(info, "root", {**pod, "status": status}, subresource="status")
        return len(pods)


def reference(owner: Json, *, block: bool = False, controller: bool = False) -> Json:
    found = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    if block:
        found["blockOwnerDeletion"] = True
    if controller:
        found["controller"] = True
    return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(workspaces=False)
    made.start()
    await made.settle()
    yield made
    await made.close()


@pytest.fixture
async def workspaces() -> AsyncIterator[World]:
    made = World(workspaces=True)
    made.start()
    await made.settle()
    yield made
    await made.close()
