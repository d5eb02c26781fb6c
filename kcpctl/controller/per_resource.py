"""Controllers that come and go with the resources that a server has (KCP-31)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any, Final

from kcpctl.apis.resource import Resource
from kcpctl.controller.controller import Controller
from kcpctl.informers import DiscoveringInformers, ResourceSubscriber, SharedInformer
from kcpctl.runtime import SYSTEM_CLOCK, Clock, TaskSet, start_thread
from kcpctl.workqueue import QueueSnapshot
from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["ResourceControllers"]

_POLL_SECONDS: Final = 0.1


class ResourceControllers(ResourceSubscriber):
    """Runs a controller for each resource that there is; to a manager they are one controller.

    One starts when what it watches has synced. When its resource goes, its keys leave the queue,
    ready or waiting, the reconciles under way end, and so does the controller: a resource that
    comes back has a new one. ``start`` and ``stop`` block, and do not belong on the I/O thread;
    ``remove`` may be called from any.

    Parameters
    ----------
    make: makes the controller of a resource, which watches the informer; not started. None where
        none is wanted. Called on the I/O thread.
    """

    def __init__(
        self,
        name: str,
        discovering: DiscoveringInformers,
        make: Callable[[Resource, SharedInformer[Any]], Controller | None],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self._discovering = discovering
        self._make = make
        self._clock = clock
        self._tasks = TaskSet(f"controllers of {name}")
        # Written on the I/O thread, and replaced as a whole.
        self._controllers: dict[Resource, Controller] = {}
        self._ending: list[threading.Thread] = []
        self._admits: Callable[[str], bool] | None = None
        self._started = False
        self._stopped = False

    @property
    def controllers(self) -> dict[Resource, Controller]:
        """The controllers there are now. Any thread."""
        return dict(self._controllers)

    def snapshots(self) -> dict[str, QueueSnapshot[str]]:
        """Return what the queue of each controller holds right now."""
        return {one.name: one.queue.snapshot() for one in self.controllers.values()}

    @property
    def waiting_for(self) -> list[str]:
        """Nothing: each waits for its own informers."""
        return []

    @property
    def running(self) -> bool:
        """Whether controllers come and go."""
        return self._started and not self._stopped

    def start(self) -> None:
        """Begin with the resources there are. Raises RuntimeError for a second start."""
        if self._started or self._stopped:
            raise RuntimeError(f"the controllers of {self.name!r} were started or stopped already")
        self._started = True
        self._discovering.subscribe(self)

    def admit_only(self, admits: Callable[[str], bool]) -> None:
        """Give each the same gate; see :meth:`Controller.admit_only`."""
        self._admits = admits

    def resume(self, cluster: str) -> None:
        """Reconcile what was kept waiting of a logical cluster in each."""
        for controller in self.controllers.values():
            controller.resume(cluster)

    def remove(self, cluster: str) -> None:
        """End all that there is of a logical cluster in each; see :meth:`Controller.remove`."""
        self.remove_all({cluster})

    def remove_all(self, clusters: Collection[str]) -> None:
        """End all that there is of several in each; see :meth:`Controller.remove_all`."""
        for controller in self.controllers.values():
            controller.remove_all(clusters)

    def stop(self, timeout_seconds: float = 30.0) -> bool:
        """Stop every controller, side by side; see :meth:`Controller.stop`. May be called twice."""
        self._discovering.io_loop.run(self._close())
        deadline = self._clock.monotonic() + timeout_seconds
        clean: list[bool] = []

        def end(controller: Controller) -> None:
            clean.append(controller.stop(timeout_seconds))

        controllers, self._controllers = self._controllers, {}
        for controller in controllers.values():
            self._end(controller, end)
        for thread in self._ending:
            thread.join(max(deadline - self._clock.monotonic(), 0.1))
        return all(clean) and not any(thread.is_alive() for thread in self._ending)

    # The I/O thread.

    def on_start(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Make the controller of a resource, and start it when it can be."""
        controller = None if self._stopped else self._make(resource, informer)
        if controller is not None:
            if self._admits is not None:
                controller.admit_only(self._admits)
            self._controllers = {**self._controllers, resource: controller}
            self._tasks.spawn(self._start(resource, controller), name=controller.name)

    def on_stop(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        """Drop the keys of a resource that is gone, and end its controller."""
        controller = self._controllers.get(resource)
        if controller is None:
            return
        self._controllers = {
            other: its for other, its in self._controllers.items() if other != resource
        }
        snapshot = controller.queue.snapshot()
        keys = {*snapshot.queued, *snapshot.waiting, *snapshot.processing}
        for cluster in {cluster_of_key(key) for key in keys}:
            controller.remove(cluster)
        self._end(controller, Controller.stop)

    async def _start(self, resource: Resource, controller: Controller) -> None:
        while not controller.synced:
            await self._clock.asleep(_POLL_SECONDS)
            if self._controllers.get(resource) is not controller:
                return
        controller.start()

    async def _close(self) -> None:
        self._stopped = True
        self._discovering.unsubscribe(self)
        await self._tasks.close()

    def _end(self, controller: Controller, end: Callable[[Controller], object]) -> None:
        def run() -> None:
            end(controller)

        thread = start_thread(run, name=f"stop {controller.name}")
        self._ending = [*(one for one in self._ending if one.is_alive()), thread]
