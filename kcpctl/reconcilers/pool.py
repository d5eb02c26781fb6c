"""The connection pool, as reconcilers know it, and the way of credentials to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kcpctl.client import Client
from kcpctl.clusters import ClusterPool, ConnectionStatus
from kcpctl.errors import ConfigError
from kcpctl.reconcilers.credentials import Kubeconfig
from kcpctl.reconcilers.problem import INVALID_CONFIGURATION, Problem, Unusable

__all__ = ["Access", "Pool", "connect", "disconnects"]


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


@dataclass(frozen=True, slots=True)
class Access:
    """What came of the credentials for a cluster.

    ``connection`` is None where there are none. There may be both it and a ``problem``: new
    credentials are no use, and those of before still work. ``source`` says where they are from;
    ``invalid`` that the object itself is not Valid with such a reference.
    """

    connection: ConnectionStatus | None = None
    source: str = ""
    problem: Problem | None = None
    invalid: bool = False


def connect(
    pool: Pool,
    key: str,
    find: Callable[[], Kubeconfig],
    *,
    is_ending: Callable[[], bool] = lambda: False,
) -> Access:
    """Give the pool the credentials that ``find`` returns, and say how the connection is.

    Where there are none it is dropped: who takes them away means that. A kubeconfig that is no use
    is a mistake: until it is corrected the one before it, from the same place, goes on. So does
    one whose Secret is gone, as long as ``is_ending``: who deletes all there is deletes that, too,
    and cannot be cleaned up after without it.
    """
    try:
        found = find()
    except Unusable as error:
        status = pool.status(key)
        if status is not None and _is_last_of(status, error.source) and is_ending():
            return Access(status, error.source, error.problem)
        if error.invalid:
            pool.remove(key)
        else:
            pool.fail(key, error.problem.reason, error.problem.message)
        return Access(problem=error.problem, invalid=error.invalid)
    try:
        pool.ensure(key, found.data, source=found.source)
    except ConfigError as error:
        problem = Problem(INVALID_CONFIGURATION, f"{error}; correct the kubeconfig there")
        status = pool.status(key)
        if status is not None and status.connected and status.source == found.source:
            return Access(status, found.source, problem)
        pool.fail(key, problem.reason, problem.message)
        return Access(problem=problem)
    return Access(pool.status(key), found.source)


def _is_last_of(status: ConnectionStatus, source: str) -> bool:
    """Whether what is served was last found where there is nothing now."""
    return bool(source) and status.connected and status.source == source and not status.rotation


def disconnects(pool: ClusterPool, prefix: str = "") -> Callable[[Callable[[str], bool]], None]:
    """Return what ends the connections of all keys that belong, for ``Controller.on_removal``.

    ``prefix`` is what the pool's keys of the controller have in front of its own.
    """

    def disconnect(belongs: Callable[[str], bool]) -> None:
        for status in pool.statuses():
            if status.key.startswith(prefix) and belongs(status.key.removeprefix(prefix)):
                pool.remove(status.key)

    return disconnect
