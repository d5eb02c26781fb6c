"""Discovery: an informer for each custom resource, for as long as it is served (KCP-30)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CRDS, Resource
from kcpctl.informers.factory import InformerFactory
from kcpctl.informers.handlers import HandlerFuncs
from kcpctl.informers.indexes import CLUSTER_INDEX
from kcpctl.informers.informer import SharedInformer
from kcpctl.runtime import SYSTEM_CLOCK, Clock, IOLoop, TaskSet, get_logger

__all__ = ["DiscoveringInformers", "ResourceSubscriber", "resource_of"]

_log = get_logger(__name__)

# What installs an operator brings dozens of definitions, and each of them changes several times
# until it is served.
_BATCH_SECONDS: Final = 1.0
_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")

_Informer = SharedInformer[Any]


class ResourceSubscriber(Protocol):
    """Who hears of resources that come and go. Called on the I/O thread; must not block."""

    def on_start(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Hear of a resource that is served from now on: the time to add handlers.

        The informer starts after that, unless it runs already when one subscribes.
        """

    def on_stop(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Hear of one that is not served any more, and whose informer has ended.

        Deletes of all its objects have been delivered. What still waits in queues is in vain, and
        can be dropped (KCP-31).
        """


class DiscoveringInformers:
    """Keeps an informer running for each resource that a CustomResourceDefinition serves.

    In the version that Kubernetes prefers, from when the definition is established until it is
    gone; over all logical clusters until the last one has dropped it. Changes are taken together,
    at most once a second (KCP-30). The informers are the factory's; resources that are built in
    never come or go, and are asked of it directly.

    ``start`` and ``close`` block, and raise RuntimeError on the I/O thread; all else may be called
    from any thread. ``close`` ends the informers and tells no one. What a subscriber raises is
    logged, and hurts nobody else.

    Parameters
    ----------
    make: asks the factory for the informer of a resource; None where none is wanted. When it raises
        that is logged, and there is none.
    """

    def __init__(
        self,
        factory: InformerFactory,
        io_loop: IOLoop,
        *,
        make: Callable[[Resource], SharedInformer[Any] | None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._factory = factory
        self._io_loop = io_loop
        self._make: Callable[[Resource], _Informer | None] = make or factory.informer
        self._clock = clock
        self._definitions = factory.informer(CRDS, transform=_essentials)
        self._definitions.add_handler(
            HandlerFuncs(on_add=self._note, on_update=self._note_update, on_delete=self._note)
        )
        self._tasks = TaskSet("discovering informers")
        self._changed = asyncio.Event()
        # The I/O thread's own; the first is replaced as a whole, so any thread may read it.
        self._informers: dict[Resource, _Informer | None] = {}
        self._subscribers: list[ResourceSubscriber] = []

    @property
    def informers(self) -> Mapping[Resource, SharedInformer[Any]]:
        """The informers that run now."""
        there = self._informers.items()
        return {resource: informer for resource, informer in there if informer is not None}

    @property
    def waiting_for(self) -> list[str]:
        """The informer of the definitions with its last error, until it has synced."""
        definitions = self._definitions
        if definitions.synced:
            return []
        return [f"{definitions.description}: {definitions.last_error or 'no answer yet'}"]

    @property
    def io_loop(self) -> IOLoop:
        """The loop on which subscribers are told."""
        return self._io_loop

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster in every informer of the factory."""
        self._factory.remove(cluster)

    def all_informers(self) -> list[SharedInformer[Any]]:
        """Return the informers of the factory."""
        return self._factory.all_informers()

    def subscribe(self, subscriber: ResourceSubscriber) -> None:
        """Tell ``subscriber`` soon of what runs, and then of what comes and goes."""
        self._io_loop.call(lambda: self._subscribe(subscriber))

    def unsubscribe(self, subscriber: ResourceSubscriber) -> None:
        """Tell ``subscriber`` nothing more; on the I/O thread, or soon."""
        if self._io_loop.on_loop_thread:
            self._unsubscribe(subscriber)
        else:
            self._io_loop.call(lambda: self._unsubscribe(subscriber))

    def start(self) -> None:
        """Watch the definitions. Once more does nothing."""
        self._io_loop.run(self._start())

    def close(self) -> None:
        """End the informers and that of the definitions. May be called twice."""
        self._io_loop.run(self._close())

    # The I/O thread.

    async def _start(self) -> None:
        if not len(self._tasks):
            self._tasks.spawn(self._run(), name="resources")
        await self._factory.begin(self._definitions)

    async def _close(self) -> None:
        await self._tasks.close()
        self._subscribers = []
        for informer in (*self.informers.values(), self._definitions):
            await self._factory.end(informer)
        self._informers = {}

    def _subscribe(self, subscriber: ResourceSubscriber) -> None:
        self._subscribers.append(subscriber)
        for resource, informer in self.informers.items():
            _tell(subscriber.on_start, resource, informer)

    def _unsubscribe(self, subscriber: ResourceSubscriber) -> None:
        self._subscribers = [one for one in self._subscribers if one is not subscriber]

    def _note(self, _: object) -> None:
        self._changed.set()

    def _note_update(self, _: object, __: object) -> None:
        self._changed.set()

    async def _run(self) -> None:
        await self._definitions.wait_for_sync()
        while True:
            self._changed.clear()
            served = {
                resource
                for definition in self._definitions.lister.list()
                if (resource := resource_of(definition)) is not None
            }
            for resource in self._informers.keys() - served:
                await self._drop(resource)
            for resource in served - self._informers.keys():
                await self._take(resource)
            await self._clock.asleep(_BATCH_SECONDS)
            await self._changed.wait()

    async def _take(self, resource: Resource) -> None:
        try:
            informer = self._make(resource)
        except Exception as error:  # noqa: BLE001 - of this resource only
            _log.error("No informer", resource=resource.group_resource, exc_info=error)
            informer = None
        self._informers = {**self._informers, resource: informer}
        if informer is not None:
            _log.debug("Resource appeared", resource=resource.group_resource)
            for subscriber in tuple(self._subscribers):
                _tell(subscriber.on_start, resource, informer)
            await self._factory.begin(informer)

    async def _drop(self, resource: Resource) -> None:
        informer = self._informers[resource]
        if informer is not None:
            _log.debug("Resource disappeared", resource=resource.group_resource)
            # What the watch did not see deleted is gone all the same.
            for cluster in informer.lister.index_values(CLUSTER_INDEX):
                informer.remove(cluster)
            await self._factory.end(informer)
        self._informers = {one: its for one, its in self._informers.items() if one != resource}
        if informer is not None:
            for subscriber in tuple(self._subscribers):
                _tell(subscriber.on_stop, resource, informer)


def resource_of(definition: Unstructured) -> Resource | None:
    """Return what a CustomResourceDefinition serves, in the preferred version; None for nothing."""
    spec = definition["spec"]
    conditions = (definition.get("status") or {}).get("conditions") or ()
    established = any(
        one.get("type") == "Established" and one.get("status") == "True" for one in conditions
    )
    versions = [one["name"] for one in spec.get("versions") or () if one.get("served")]
    if not established or not versions:
        return None
    return Resource(
        spec["group"],
        min(versions, key=_priority),
        spec["names"]["plural"],
        spec["names"]["kind"],
        namespaced=spec.get("scope") == "Namespaced",
    )


def _priority(version: str) -> tuple[int, int, int, str]:
    """Sort key: v2 before v1 before v1beta2 before v1beta1 before v1alpha1, then by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")


def _essentials(definition: Unstructured) -> Unstructured:
    """Leave the schemas out, which are nearly all of a definition."""
    spec = definition["spec"]
    definition["spec"] = {
        "group": spec["group"],
        "scope": spec.get("scope"),
        "names": {"plural": spec["names"]["plural"], "kind": spec["names"]["kind"]},
        "versions": [
            {"name": one["name"], "served": one.get("served")} for one in spec.get("versions") or ()
        ],
    }
    return definition


def _tell(
    call: Callable[[Resource, _Informer], None], resource: Resource, informer: _Informer
) -> None:
    try:
        call(resource, informer)
    except Exception as error:  # noqa: BLE001 - a subscriber hurts nobody else
        _log.error("Subscriber failed", resource=resource.group_resource, exc_info=error)
