"""The flags of leader election, and the election that they ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kcpctl.cli.options import DURATION, flag

if TYPE_CHECKING:
    from kcpctl.client import ClientConfig, WriteGate
    from kcpctl.manager.election import Election
    from kcpctl.runtime import Metrics

__all__ = ["election_flags", "new_election"]

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT_NAMESPACE: Final = "kcpctl-system"
_FLAGS: Final = (
    flag(
        "--leader-elect",
        group="Leader election",
        is_flag=True,
        help="Act only while holding a Lease; other processes stand by with warm caches.",
    ),
    flag(
        "--leader-elect-lease-duration",
        group="Leader election",
        type=DURATION,
        default="15s",
        help="How long a Lease that is not renewed keeps others from taking it.",
    ),
    flag(
        "--leader-elect-renew-deadline",
        group="Leader election",
        type=DURATION,
        default="10s",
        help="How long the leader tries to renew before it gives up and exits with 1.",
    ),
    flag(
        "--leader-elect-retry-period",
        group="Leader election",
        type=DURATION,
        default="2s",
        help="Time between two renewals, and between tries after a failure.",
    ),
    flag(
        "--leader-elect-resource-name",
        group="Leader election",
        default="kcpctl-controllers",
        metavar="NAME",
        help="Name of the Lease.",
    ),
    flag(
        "--leader-elect-resource-namespace",
        group="Leader election",
        metavar="NAME",
        help=f"Namespace of the Lease [default: $POD_NAMESPACE, else {_DEFAULT_NAMESPACE}].",
    ),
)


def election_flags(command: F) -> F:
    """Give a command the flags of leader election."""
    for add in reversed(_FLAGS):
        command = add(command)
    return command


def new_election(
    flags: Mapping[str, Any], config: ClientConfig, gate: WriteGate, metrics: Metrics
) -> Election:
    """Return the election for these flags, on a connection of its own to the server.

    Raises UsageError for durations that do not fit together.
    """
    from kcpctl.client import AsyncClient
    from kcpctl.manager.election import Election, ElectionOptions, new_identity

    options = ElectionOptions(
        name=flags["leader_elect_resource_name"],
        namespace=flags["leader_elect_resource_namespace"]
        or os.environ.get("POD_NAMESPACE")
        or _DEFAULT_NAMESPACE,
        identity=new_identity(),
        lease_seconds=flags["leader_elect_lease_duration"],
        renew_deadline_seconds=flags["leader_elect_renew_deadline"],
        retry_seconds=flags["leader_elect_retry_period"],
    )
    connect = partial(
        AsyncClient.plain,
        config,
        # LE-21: so that a renewal that hangs leaves time for another one.
        request_timeout_seconds=max(1.0, options.renew_deadline_seconds / 2),
    )
    return Election(connect, options, gate, metrics=metrics)
