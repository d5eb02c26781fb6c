"""Events of the internal controllers and the kubelet, as ``kubectl describe`` shows them."""

from __future__ import annotations

import random
from typing import Any, Final

from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock, format_time, get_logger

__all__ = ["EventWriter"]

Json = dict[str, Any]
_log = get_logger(__name__)
# As many as client-go's event correlator.
_REMEMBERED: Final = 4096


class EventWriter:
    """Writes core/v1 Events about objects of any cluster; a repeated one counts up.

    It counts up those of the last few thousand that it wrote itself: so the time that an event
    takes does not depend on how many there are. A failure is logged and never reaches the caller.
    Event loop's thread only.
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
        self._names: dict[tuple[str, str, str, str], str] = {}  # the oldest first

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
        what = (cluster, metadata["uid"], reason, message)
        name = self._names.pop(what, "")
        known = self._registry.find(info, cluster, namespace, name) if name else None
        if known is not None:
            self._names[what] = name
            count = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": now}
            self._registry.patch(info, cluster, namespace, name, count)
            return
        name = f"{metadata['name']}.{self._rng.getrandbits(64):016x}"
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
                "name": name,
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
        self._names[what] = name
        while len(self._names) > _REMEMBERED:
            del self._names[next(iter(self._names))]
