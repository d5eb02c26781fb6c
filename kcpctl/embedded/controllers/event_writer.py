"""Events of the internal controllers and the kubelet, as ``kubectl describe`` shows them."""

from __future__ import annotations

import random
from typing import Any

from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, format_time, get_logger

__all__ = ["EventWriter"]

Json = dict[str, Any]
_log = get_logger(__name__)


class EventWriter:
    """Writes core/v1 Events about objects of any cluster; a repeated one counts up.

    A failure is logged and never reaches the caller. Event loop's thread only.
    """

    def __init__(
        self,
        registry: Registry,
        component: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._registry = registry
        self._component = component
        self._clock = clock
        self._rng = rng

    def event(
        self, cluster: str, obj: Json, reason: str, message: str, *, warning: bool = False
    ) -> None:
        """Record that something happened to ``obj`` (which has kind and apiVersion)."""
        try:
            self._write(cluster, obj, reason, message, "Warning" if warning else "Normal")
        except StatusError as error:  # for example: the namespace is Terminating
            _log.debug("Event dropped", reason=reason, cluster=cluster, exc_info=error)

    def _write(self, cluster: str, obj: Json, reason: str, message: str, kind: str) -> None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        info = self._registry.info(cluster, "", "v1", "events")
        now = format_time(self._clock.time())
        for known in self._registry.list(info, cluster, namespace):
            same_object = (known.get("involvedObject") or {}).get("uid") == metadata["uid"]
            if same_object and known.get("reason") == reason and known.get("message") == message:
                count = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": now}
                self._registry.patch(info, cluster, namespace, known["metadata"]["name"], count)
                return
        involved = {
            "kind": obj["kind"],
            "apiVersion": obj["apiVersion"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        if metadata.get("namespace"):
            involved["namespace"] = namespace
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{self._rng.getrandbits(64):016x}",
                "namespace": namespace,
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        self._registry.create(info, cluster, namespace, event)
