"""How well a SyncTarget is, as one figure: ``status.health`` from its conditions (1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kcpctl.apis.conditions import TRUE, Condition
from kcpctl.apis.synctarget_status import SYNCER_READY, Health, HealthCheck
from kcpctl.reconcilers.synctarget.conditions import (
    CLUSTER_CONNECTED,
    HEARTBEAT_HEALTHY,
    RESOURCES_AVAILABLE,
    SYNCER_DEPLOYED,
    VALID,
)

__all__ = ["health_of"]

_CHECKED: Final = frozenset(
    {
        VALID,
        CLUSTER_CONNECTED,
        SYNCER_DEPLOYED,
        HEARTBEAT_HEALTHY,
        SYNCER_READY,
        RESOURCES_AVAILABLE,
    }
)


def health_of(conditions: Sequence[Condition]) -> Health | None:
    """Return the health that conditions make, None without any that counts.

    The conditions' order is kept. A check tells the reason alone: messages, some of which others
    write, may hold figures, and each change of one would be one more write. That nobody deploys a
    syncer says nothing of how the target is.
    """
    checks = [
        HealthCheck(one.type, one.status == TRUE, "" if one.status == TRUE else one.reason)
        for one in conditions
        if one.type in _CHECKED and one.reason != "NotManaged"
    ]
    if not checks:
        return None
    return Health(100 * sum(one.healthy for one in checks) // len(checks), checks)
