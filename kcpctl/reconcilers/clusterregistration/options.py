"""The settings of the ClusterRegistration controller."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClusterRegistrationOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRegistrationOptions:
    """What an operator may set.

    Parameters
    ----------
    credentials_namespace: where Secrets are looked for that name no namespace.
    health_check_interval_seconds: of registrations that name none.
    workers: worker threads.
    """

    credentials_namespace: str = "kcpctl-system"
    health_check_interval_seconds: float = 30.0
    workers: int = 2
