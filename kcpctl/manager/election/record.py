"""What a Lease says about who leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from kcpctl.apis.meta import Unstructured

__all__ = ["LeaderRecord"]


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """The part of a Lease's spec that an election reads and writes (LE-19).

    Times are RFC 3339 with microseconds, and for people to read: nobody compares them with a
    clock (LE-06). An empty holder is a Lease that was released.
    """

    holder: str
    lease_seconds: int
    acquired: str
    renewed: str
    transitions: int

    @classmethod
    def of(cls, lease: Unstructured) -> Self:
        """Read a Lease; what is missing is empty, 0 or, for the duration, 1 s."""
        spec = lease.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            lease_seconds=spec.get("leaseDurationSeconds") or 1,
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
        )

    def into(self, lease: Unstructured, labels: dict[str, str]) -> Unstructured:
        """Return ``lease`` with this record and ``labels`` in it, all else as it was (LE-20)."""
        metadata: dict[str, Any] = lease["metadata"]
        if labels:
            metadata = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
        spec = {
            **(lease.get("spec") or {}),
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.lease_seconds,
            "acquireTime": self.acquired or None,
            "renewTime": self.renewed or None,
            "leaseTransitions": self.transitions,
        }
        return {**lease, "metadata": metadata, "spec": spec}
