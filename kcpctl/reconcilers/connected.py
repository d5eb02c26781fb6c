"""What conditions say of a connection to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kcpctl.apis.conditions import ERROR, Condition, false, true, unknown
from kcpctl.clusters import ConnectionReason, ConnectionState, ConnectionStatus
from kcpctl.reconcilers.problem import Problem

__all__ = ["NEW_CREDENTIALS_FAILED", "connected_condition", "only_reconnecting"]

_WAYS_OUT: Final[Mapping[str, str]] = {
    ConnectionReason.UNAUTHORIZED: "put valid credentials into",
    ConnectionReason.CERTIFICATE_INVALID: "correct",
    ConnectionReason.CONNECTION_FAILED: "start the cluster, or correct the server in",
}

NEW_CREDENTIALS_FAILED: Final = "NewCredentialsFailed"
"""The reason of a condition that is True thanks to credentials that were replaced."""

_ENDING: Final = frozenset({ConnectionState.DRAINING, ConnectionState.GONE})
# One that is ended while somebody still asks for it is about to be made anew.
_BEFORE: Final = _ENDING | {ConnectionState.PENDING, ConnectionState.CONNECTING}


def connected_condition(
    type_: str, problem: Problem | None, connection: ConnectionStatus | None, source: str = ""
) -> Condition:
    """Return the condition from the credentials' problem or else the pool's view.

    ``source`` says where the credentials are from: a failure names what to mend. Connected is
    connected, be it with credentials of before; that those there are now fail is in the message.
    """
    if connection is not None and connection.connected:
        return _connected(type_, problem, connection, source)
    if problem is not None:
        return false(type_, problem.severity, problem.reason, problem.message)
    if connection is None or connection.state in _ENDING:
        return unknown(type_, "NotChecked", "The cluster has not been tried yet")
    if connection.state is ConnectionState.DISCONNECTED:
        message = _with_way_out(connection.message, connection.reason, source)
        return false(type_, ERROR, connection.reason, message)
    return unknown(type_, "NotChecked", "The first connection is being made")


def _connected(
    type_: str, problem: Problem | None, connection: ConnectionStatus, source: str
) -> Condition:
    text = f"Connected to {connection.server}"
    if problem is not None:
        why = problem.message
    elif connection.rotation:
        why = _with_way_out(connection.rotation, connection.reason, source)
    else:
        return true(type_, "Connected", text)
    message = f"{text} with the credentials of before; the new ones fail: {why}"
    return true(type_, NEW_CREDENTIALS_FAILED, message)


def _with_way_out(message: str, reason: str, source: str) -> str:
    way_out = _WAYS_OUT.get(reason)
    return f"{message}; {way_out} {source}" if source and way_out else message


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
