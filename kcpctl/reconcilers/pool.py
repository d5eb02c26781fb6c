"""The connection pool, as reconcilers know it."""

from __future__ import annotations

from typing import Protocol

from kcpctl.client import Client
from kcpctl.clusters import ConnectionStatus

__all__ = ["Pool"]


class Pool(Protocol):
    """What is needed of a :class:`kcpctl.clusters.ClusterPool`."""

    def ensure(self, key: str, kubeconfig: bytes, *, source: str) -> None:
        """Keep a connection with these credentials."""

    def fail(self, key: str, reason: str, message: str) -> None:
        """Say that there are no usable credentials."""

    def remove(self, key: str) -> None:
        """Forget a connection."""

    def client(self, key: str) -> Client:
        """Return the live client; raises NotConnected."""

    def status(self, key: str) -> ConnectionStatus | None:
        """Return what is known of a connection."""
