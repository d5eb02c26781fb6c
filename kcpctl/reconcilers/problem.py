"""What stands in the way of a SyncTarget, as a condition will say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kcpctl.apis.conditions import ERROR
from kcpctl.errors import (
    Conflict,
    ServerTimeout,
    ServiceUnavailable,
    TooManyRequests,
    TransportError,
)

__all__ = [
    "BUSY",
    "CLUSTER_REF_NOT_FOUND",
    "CREDENTIALS_MISSING",
    "INVALID_CONFIGURATION",
    "VALIDATION_FAILED",
    "Problem",
]

BUSY: Final = (Conflict, TooManyRequests, ServiceUnavailable, ServerTimeout, TransportError)
"""What a server, or the way to it, gets over by itself."""

VALIDATION_FAILED: Final = "ValidationFailed"
CLUSTER_REF_NOT_FOUND: Final = "ClusterRefNotFound"
INVALID_CONFIGURATION: Final = "InvalidConfiguration"
CREDENTIALS_MISSING: Final = "CredentialsMissing"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason and one sentence that says what, where and how to go on. Never a secret."""

    reason: str
    message: str
    severity: str = ERROR
