"""The Node ``local``, and its heartbeat."""

from __future__ import annotations

import platform
from typing import Any, Final

from kcpctl.embedded.registry import Registry
from kcpctl.runtime import SYSTEM_CLOCK, Clock, format_time

__all__ = ["NODE_NAME", "PODS", "NodeReporter"]

Json = dict[str, Any]
NODE_NAME: Final = "local"
PODS: Final = 250
"""How many Pods the Node takes."""
_CAPACITY: Final = {
    "cpu": "8",
    "ephemeral-storage": "100Gi",
    "memory": "32Gi",
    "pods": str(PODS),
}
_HEARTBEAT_SECONDS: Final = 60.0


class NodeReporter:
    """Creates the Node, and renews its conditions every minute; there is no Lease.

    A Node that somebody deletes comes back with the next heartbeat. Event loop's thread only.
    """

    def __init__(self, registry: Registry, cluster: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._registry = registry
        self._cluster = cluster
        self._clock = clock
        self._info = registry.info(cluster, "", "v1", "nodes")

    @property
    def schedulable(self) -> bool:
        """Whether Pods may be put on the Node (``kubectl cordon`` forbids it)."""
        node = self._registry.find(self._info, self._cluster, "", NODE_NAME)
        return node is not None and not (node.get("spec") or {}).get("unschedulable")

    def report(self) -> None:
        """Write the Node's status."""
        node = self._registry.find(self._info, self._cluster, "", NODE_NAME)
        if node is None:
            node = self._registry.create(
                self._info, self._cluster, "", _node(), field_manager="kubelet"
            )
        now = format_time(self._clock.time())
        old = {entry["type"]: entry for entry in (node.get("status") or {}).get("conditions") or ()}
        conditions = [
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": old.get(kind, {}).get("lastTransitionTime", now),
                "reason": reason,
                "message": message,
            }
            for kind, status, reason, message in _CONDITIONS
        ]
        status = {**(node.get("status") or {}), **_STATUS, "conditions": conditions}
        self._registry.update(
            self._info,
            self._cluster,
            {**node, "status": status},
            subresource="status",
            field_manager="kubelet",
        )

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            self.report()
            await self._clock.asleep(_HEARTBEAT_SECONDS)


_CONDITIONS: Final = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
_STATUS: Final[Json] = {
    "capacity": _CAPACITY,
    "allocatable": _CAPACITY,
    "addresses": [
        {"type": "InternalIP", "address": "127.0.0.1"},
        {"type": "Hostname", "address": NODE_NAME},
    ],
    "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    "nodeInfo": {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
            platform.machine(), platform.machine()
        ),
        "bootID": "",
        "containerRuntimeVersion": "kcpctl://local",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.36.0+kcpctl",
        "machineID": "",
        "operatingSystem": platform.system().lower(),
        "osImage": "kcpctl local kubelet",
        "systemUUID": "",
    },
}


def _node() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": platform.system().lower(),
            },
        },
        "spec": {},
    }
