"""What conditions say of a connection to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kcpctl.apis.conditions import ERROR, Condition, false, true, unknown
from kcpctl.clusters import ConnectionReason, ConnectionState, ConnectionStatus
from kcpctl.reconcilers.problem import Problem

__all__ = ["connected_condition", "only_reconnecting"]

_WAYS_OUT: Final[Mapping[str, str]] = {
    ConnectionReason.UNAUTHORIZED: "put valid credentials into",
    ConnectionReason.CERTIFICATE_INVALID: "correct",
    ConnectionReason.CONNECTION_FAILED: "start the cluster, or correct the server in",
}

_ENDING: Final = frozenset({ConnectionState.DRAINING, ConnectionState.GONE})
# One that is ended while somebody still asks for it is about to be made anew.
_BEFORE: Final = _ENDING | {ConnectionState.PENDING, ConnectionState.CONNECTING}


def connected_condition(
    type_: str, problem: Problem | None, connection: ConnectionStatus | None, source: str = ""
) -> Condition:
    """Return the condition from the credentials' problem or else the pool's view.

    ``source`` says where the credentials are from: a failure names what to mend.
    """
    if problem is not None:
        return false(type_, problem.severity, problem.reason, problem.message)
    if connection is None or connection.state in _ENDING:
        return unknown(type_, "NotChecked", "The cluster has not been tried yet")
    if connection.connected:
        return true(type_, "Connected", f"Connected to {connection.server}")
    if connection.state is ConnectionState.DISCONNECTED:
        message = connection.message
        if source and (way_out := _WAYS_OUT.get(connection.reason)):
            message = f"{message}; {way_out} {source}"
        return false(type_, ERROR, connection.reason, message)
    return unknown(type_, "NotChecked", "The first connection is being made")


def only_reconnecting(
    connection: ConnectionStatus | None, before: Condition | None, generation: int
) -> bool:
    """Whether the connection is only being made, and the condition told of it what it was before.

    So a restart of the controllers is no news about a cluster that is as it was: the first attempt,
    which takes seconds at most, says whether that changed.
    """
    return (
        connection is not None
        and connection.state in _BEFORE
        and before is not None
        and before.reason in set(ConnectionReason)
        and before.observed_generation == generation
    )
