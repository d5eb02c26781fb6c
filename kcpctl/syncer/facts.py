"""What the syncer tells of its cluster in the SyncTarget's status (2.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from kcpctl import __version__
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.nodes import NodeTotals
from kcpctl.errors import ApiError, TransportError
from kcpctl.runtime import Clock, get_logger

__all__ = ["ClusterFacts", "ServerVersion", "without_most_of_a_node"]

_log = get_logger(__name__)

# 2.9: figures that hardly moved are written this rarely.
_ALL_NEWS_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 60.0
_START_SECONDS: Final = 10.0


class ServerVersion(Protocol):
    """What is needed of the cluster's async client."""

    async def server_version(self) -> str:
        """Return the server's version."""


class ClusterFacts:
    """Collects what is known of the cluster and says what of it is news.

    ``capacity``, ``allocatable`` and ``nodeCount`` come from the Nodes, which are added up once a
    minute at most; ``kubernetesVersion`` from the server every five minutes; ``syncerVersion`` is
    told once. Nothing is said of what is not known yet, so that a restart is no news; Nodes that
    are not known after a minute (there may be no right to list them) count as none. A capacity
    that ``spec.capacity`` declares is the controller's to write. All of it on the I/O loop.

    Parameters
    ----------
    nodes: returns the Nodes, None while they are not known.
    declared: whether the SyncTarget's spec declares its capacity.
    more: returns further fields, as far as they are known: any change of these is news.
    """

    def __init__(
        self,
        client: ServerVersion,
        nodes: Callable[[], list[Unstructured] | None],
        declared: Callable[[], bool],
        *,
        clock: Clock,
        more: Callable[[], Unstructured] = dict,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._declared = declared
        self._more = more
        self._clock = clock
        self._version = ""
        self._totals: NodeTotals | None = None
        self._looked_at: float | None = None
        self._told: Unstructured = {}
        self._told_totals = NodeTotals()
        self._begun_at = self._told_at = clock.monotonic()

    async def run(self) -> None:
        """Keep the server's version up to date until cancelled."""
        while True:
            try:
                self._version = await self._client.server_version()
            except (ApiError, TransportError) as error:
                _log.debug("The cluster's version cannot be read", error=error)
            await self._clock.asleep(_ALL_NEWS_SECONDS if self._version else _LOOK_SECONDS)

    @property
    def settled(self) -> bool:
        """Whether all is known, or has been waited for long enough at the start."""
        waited = self._clock.monotonic() - self._begun_at >= _START_SECONDS
        return waited or bool(self._version and self._nodes() is not None)

    def news(self) -> Unstructured:
        """Return the status fields that are worth writing now; call :meth:`told` when they are."""
        self._look()
        known: Unstructured = {"syncerVersion": __version__, **self._more()}
        if self._version:
            known["kubernetesVersion"] = self._version
        if (totals := self._totals) is not None:
            known["nodeCount"] = totals.count
            known["allocatable"] = dict(totals.allocatable)
            if not self._declared():
                known["capacity"] = dict(totals.capacity)
        changed = {name: value for name, value in known.items() if self._told.get(name) != value}
        figures = {"capacity", "allocatable"} & self._told.keys()
        if changed.keys() - figures or (totals and totals.is_news_after(self._told_totals)):
            return changed
        if self._clock.monotonic() - self._told_at >= _ALL_NEWS_SECONDS:
            return changed
        return {}

    def told(self, fields: Unstructured) -> None:
        """Note that these fields were written."""
        if not fields:
            return
        self._told |= fields
        if self._declared():
            # It is not ours now, so it is news when it is again.
            self._told.pop("capacity", None)
        self._told_totals = self._totals or NodeTotals()
        self._told_at = self._clock.monotonic()

    def _look(self) -> None:
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
            return
        if (nodes := self._nodes()) is not None:
            self._totals, self._looked_at = NodeTotals.of(nodes), now
        elif now - self._begun_at >= _LOOK_SECONDS:
            self._totals = NodeTotals()


def without_most_of_a_node(node: dict[str, Any]) -> dict[str, Any]:
    """Keep of a Node what is added up: the rest, images above all, is most of it."""
    status = node.get("status") or {}
    kept = {name: status[name] for name in ("capacity", "allocatable") if name in status}
    kept["conditions"] = [
        {"type": one["type"], "status": one["status"]}
        for one in status.get("conditions") or ()
        if one["type"] == "Ready"
    ]
    unschedulable = (node.get("spec") or {}).get("unschedulable", False)
    metadata = {k: v for k, v in node["metadata"].items() if k not in {"annotations", "labels"}}
    return {**node, "metadata": metadata, "spec": {"unschedulable": unschedulable}, "status": kept}
