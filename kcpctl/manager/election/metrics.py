"""The metrics of leader election, under the names that dashboards know."""

from __future__ import annotations

from collections.abc import Callable

from kcpctl.runtime import Metrics

__all__ = ["ElectionMetrics"]


class ElectionMetrics:
    """``leader_election_master_status``, ``leader_election_slowpath_total`` and the time left."""

    def __init__(
        self, metrics: Metrics, name: str, *, remaining_seconds: Callable[[], float]
    ) -> None:
        self._master = metrics.gauge(
            "leader_election_master_status", "1 for the process that leads, else 0", ["name"]
        ).labels(name)
        self._master.set(0)
        self._slow = metrics.counter(
            "leader_election_slowpath_total",
            "Renewals that had to read the Lease first",
            ["name"],
        ).labels(name)
        metrics.gauge(
            "leader_election_lease_remaining_seconds",
            "How long writes still pass without another renewal",
            ["name"],
        ).labels(name).set_function(remaining_seconds)

    def leads(self, leading: bool) -> None:
        """Note whether this process leads."""
        self._master.set(leading)

    def slow_path(self) -> None:
        """Count one renewal that had to read first."""
        self._slow.inc()
