"""The caches of one side of a syncer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import NAMESPACES, Resource
from kcpctl.client import Client
from kcpctl.informers import InformerFactory, SharedInformer
from kcpctl.runtime import Clock, Metrics
from kcpctl.syncer.side import Side

__all__ = ["Caches"]


class Caches:
    """The informers of one side: its namespaces and the synced types, not started yet.

    ``side`` is what they hold, for those who work with it.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        selector: str,
        resources: Sequence[Resource],
        *,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics | None,
    ) -> None:
        self.factory = InformerFactory(
            client.aio, client.loop, name=name, clock=clock, rng=rng, metrics=metrics
        )
        self.namespaces = self.factory.informer(NAMESPACES, label_selector=selector)
        self.objects: Mapping[Resource, SharedInformer[Unstructured]] = {
            resource: self.factory.informer(resource, label_selector=selector)
            for resource in resources
        }
        self.side = Side(
            client,
            self.namespaces.lister,
            {resource: informer.lister for resource, informer in self.objects.items()},
        )

    @property
    def synced(self) -> bool:
        """Whether all of them have."""
        return self.namespaces.synced and all(one.synced for one in self.objects.values())
