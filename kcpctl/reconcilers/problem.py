"""What stands in the way of a SyncTarget, as a condition will say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kcpctl.apis.conditions import ERROR
from kcpctl.errors import (
    Conflict,
    DeadlineExceeded,
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
    "PERMISSION_DENIED",
    "VALIDATION_FAILED",
    "Problem",
    "Unusable",
]

BUSY: Final = (
    Conflict,
    TooManyRequests,
    ServiceUnavailable,
    ServerTimeout,
    TransportError,
    DeadlineExceeded,
)
"""What a server, or the way to it, gets over by itself."""

VALIDATION_FAILED: Final = "ValidationFailed"
CLUSTER_REF_NOT_FOUND: Final = "ClusterRefNotFound"
INVALID_CONFIGURATION: Final = "InvalidConfiguration"
CREDENTIALS_MISSING: Final = "CredentialsMissing"
PERMISSION_DENIED: Final = "PermissionDenied"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason and one sentence that says what, where and how to go on. Never a secret."""

    reason: str
    message: str
    severity: str = ERROR


class Unusable(Exception):
    """There is no kubeconfig. ``invalid`` says that the SyncTarget itself is not Valid then.

    ``source`` is where it would be from if the Secret were there, "" if anything else is wrong.
    """

    def __init__(self, problem: Problem, *, invalid: bool = False, source: str = "") -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.invalid = invalid
        self.source = source
