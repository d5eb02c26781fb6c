"""Controllers that come and go with the resources that a server has (KCP-31)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kcpctl.apis.resource import Resource
from kcpctl.controller.controller import Controller
from kcpctl.informers import ResourceSubscriber, SharedInformer
from kcpctl.runtime import SYSTEM_CLOCK, BlockingPool, Clock, IOLoop, TaskSet, get_logger
from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["ResourceControllers"]

_log = get_logger(__name__)

_POLL_SECONDS: Final = 0.1


class ResourceControllers(ResourceSubscriber):
    """Runs a controller for each resource that :class:`DiscoveringInformers` finds.

    One starts when what it watches has synced. When its resource goes, its keys leave the queue,
    ready or waiting, the reconciles under way end, and so does the controller: a resource that
    comes back has a new one. ``close`` blocks, and lets what is queued finish.

    Parameters
    ----------
    make: makes the controller of a resource, which watches the informer; not started. None where
        none is wanted.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        make: Callable[[Resource, SharedInformer[Any]], Controller | None],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._io_loop = io_loop
        self._make = make
        self._clock = clock
        self._tasks = TaskSet("controllers of resources")
        self._pool = BlockingPool("kcpctl-resource-controllers", threads=1)
        # The I/O thread's own; replaced as a whole, so any thread may read it.
        self._controllers: dict[Resource, Controller] = {}

    @property
    def controllers(self) -> dict[Resource, Controller]:
        """The controllers there are now. Any thread."""
        return dict(self._controllers)

    def remove(self, cluster: str) -> None:
        """End all that there is of a logical cluster in each; see :meth:`Controller.remove`."""
        for controller in self.controllers.values():
            controller.remove(cluster)

    def close(self) -> None:
        """Stop every controller. May be called twice; nothing is started afterwards."""
        self._io_loop.run(self._tasks.close())
        controllers, self._controllers = self._controllers, {}
        for controller in controllers.values():
            controller.stop()
        self._pool.close()

    # The I/O thread.

    def on_start(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Make the controller of a resource, and start it when it can be."""
        controller = self._make(resource, informer)
        if controller is not None:
            self._controllers = {**self._controllers, resource: controller}
            self._tasks.spawn(self._start(resource, controller), name=controller.name)

    def on_stop(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Drop the keys of a resource that is gone, and end its controller."""
        controller = self._controllers.get(resource)
        if controller is not None:
            self._controllers = {
                other: its for other, its in self._controllers.items() if other != resource
            }
            snapshot = controller.queue.snapshot()
            keys = {*snapshot.queued, *snapshot.waiting, *snapshot.processing}
            for cluster in {cluster_of_key(key) for key in keys}:
                controller.remove(cluster)
            self._tasks.spawn(self._pool.run(controller.stop), name=f"end of {controller.name}")

    async def _start(self, resource: Resource, controller: Controller) -> None:
        while not controller.synced:
            await self._clock.asleep(_POLL_SECONDS)
            if self._controllers.get(resource) is not controller:
                return
        controller.start()
