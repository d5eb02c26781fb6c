"""What a reconciler gets and gives back."""

from __future__ import annotations

from typing import Protocol, Self

import msgspec

from kcpctl.logicalcluster import ClusterName, split_key

__all__ = ["Reconciler", "Request", "Result"]


class Request(msgspec.Struct, frozen=True, gc=False):
    """Which object to look at: its key, taken apart. ``namespace`` is "" if it has none."""

    key: str
    cluster: ClusterName
    namespace: str
    name: str

    @classmethod
    def from_key(cls, key: str) -> Self:
        """Parse ``cluster|namespace/name``; raises ValueError for anything else."""
        cluster, namespace, name = split_key(key)
        return cls(key, cluster, namespace, name)


class Result(msgspec.Struct, frozen=True):
    """What a reconcile asks for. ``requeue_after_seconds`` plans another run of the key.

    That run keeps the priority that the key has now, unless ``priority`` gives it another (CL-12).
    """

    requeue_after_seconds: float | None = None
    priority: int | None = None


class Reconciler(Protocol):
    """Brings one object's world to what the object asks for.

    Called on worker threads, for different keys at the same time but never twice at once for one
    key; may block. It reads the present state itself and must not care which event woke it.
    None is success. Raising :class:`kcpctl.errors.TerminalError` says that only a change of the
    object can help; any other exception is retried with back-off.
    """

    def reconcile(self, request: Request) -> Result | None:
        """Reconcile the object of ``request``."""
