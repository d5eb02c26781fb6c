"""Which of the synced types either side serves, as far as discovery tells (2.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.errors import ApiError, TransportError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, get_logger
from kcpctl.syncer.side import SYNCED_RESOURCES

__all__ = ["ALL_TYPES", "ClusterTypes", "Discovery", "ServedTypes"]

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ServedTypes:
    """The types that either side served when somebody looked."""

    upstream: frozenset[Resource]
    downstream: frozenset[Resource]

    @property
    def both(self) -> list[Resource]:
        """What can be synced, in the order of ``SYNCED_RESOURCES``."""
        return [one for one in SYNCED_RESOURCES if one in self.upstream & self.downstream]

    def exceeds(self, other: ServedTypes) -> bool:
        """Whether a side serves a type here that it does not there."""
        return not (self.upstream <= other.upstream and self.downstream <= other.downstream)


ALL_TYPES: Final = ServedTypes(frozenset(SYNCED_RESOURCES), frozenset(SYNCED_RESOURCES))


class Discovery(Protocol):
    """What is needed of the cluster's async client."""

    async def served_versions(self, group: str) -> Mapping[str, Sequence[str]]:
        """Return the versions in which each plural of a group is served."""


class ClusterTypes:
    """Looks every five minutes which versions of the carried types the cluster serves.

    Runs on the loop of the cluster's client; ``fields`` is for any thread.

    Parameters
    ----------
    carried: the types that the SyncTarget lets in.
    upstream: those that the workspace serves.
    """

    def __init__(
        self,
        client: Discovery,
        carried: Sequence[Resource],
        upstream: frozenset[Resource],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._carried = sorted(carried, key=lambda one: (one.group, one.plural))
        self._upstream = upstream
        self._clock = clock
        self._served: Mapping[Resource, Sequence[str]] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self._served = await self._look()
                rest = _LOOK_SECONDS
            except (ApiError, TransportError) as error:
                _log.debug("The types of the cluster cannot be read", error=error)
                rest = _RETRY_SECONDS
            await self._clock.asleep(rest)

    async def _look(self) -> dict[Resource, Sequence[str]]:
        groups = {one.group for one in self._carried}
        served = {group: await self._client.served_versions(group) for group in sorted(groups)}
        return {one: served[one.group].get(one.plural, ()) for one in self._carried}

    def fields(self) -> Unstructured:
        """Return ``syncedResources`` and ``supportedResourceVersions``; nothing before a look."""
        served = self._served
        if served is None:
            return {}
        return {
            "syncedResources": [
                {
                    "group": one.group,
                    "resource": one.plural,
                    "versions": [one.version],
                    "state": self._state(one, served[one]),
                }
                for one in self._carried
            ],
            "supportedResourceVersions": {
                one.group_resource: ",".join(served[one]) for one in self._carried if served[one]
            },
        }

    def _state(self, resource: Resource, versions: Sequence[str]) -> str:
        if resource not in self._upstream:
            return "Pending"
        return "Accepted" if resource.version in versions else "Incompatible"
