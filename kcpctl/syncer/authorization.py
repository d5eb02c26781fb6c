"""Whether the cluster lets the syncer do what it does there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kcpctl.apis.conditions import WARNING, Condition, false, true, unknown
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import NAMESPACES, SELF_SUBJECT_ACCESS_REVIEWS, Resource
from kcpctl.errors import ApiError, TransportError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, get_logger

__all__ = ["VERBS", "Authorization", "Reviews"]

_log = get_logger(__name__)

VERBS: Final = ("get", "list", "watch", "create", "patch", "delete")
"""What the syncer does with namespaces and with each type, in all namespaces (2.4)."""
_SYNCER_AUTHORIZED: Final = "SyncerAuthorized"
_LOOK_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 60.0


class Reviews(Protocol):
    """What is needed of the async client of SelfSubjectAccessReviews."""

    async def create(self, obj: Unstructured) -> Unstructured:
        """Ask one question."""


class Authorization:
    """Asks every five minutes, and sooner after a failure; ``condition`` is what follows.

    For the verbs that are used, of the types that are synced: with ``*`` a role that grants no more
    than it takes would be refused. A cluster that is not reached leaves what was known before.
    ``run`` belongs on the loop of the cluster's client; ``condition`` is for any thread.
    """

    def __init__(
        self, reviews: Reviews, resources: Sequence[Resource], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._reviews = reviews
        self._resources = (NAMESPACES, *resources)
        self._clock = clock
        self.condition: Condition | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            rest = _RETRY_SECONDS
            try:
                self.condition = await self._look()
                rest = _LOOK_SECONDS
            except ApiError as error:
                message = f"The cluster answers no access reviews: {type(error).__name__}"
                self.condition = unknown(_SYNCER_AUTHORIZED, "ReviewFailed", message)
            except TransportError as error:
                _log.debug("The syncer's rights cannot be read", error=error)
            await self._clock.asleep(rest)

    async def _look(self) -> Condition:
        missing = []
        for resource in self._resources:
            refused = [verb for verb in VERBS if not await self._may(verb, resource)]
            if refused:
                missing.append(f"{resource.group_resource} ({', '.join(refused)})")
        if not missing:
            message = "The syncer may do on the cluster what it has to"
            return true(_SYNCER_AUTHORIZED, "Authorized", message)
        message = f"The syncer lacks rights on the cluster, in all namespaces: {', '.join(missing)}"
        return false(_SYNCER_AUTHORIZED, WARNING, "SyncerUnauthorized", message)

    async def _may(self, verb: str, resource: Resource) -> bool:
        attributes = {"verb": verb, "group": resource.group, "resource": resource.plural}
        review = {
            "apiVersion": SELF_SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SELF_SUBJECT_ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._reviews.create(review)
        return (answer.get("status") or {}).get("allowed") is True
