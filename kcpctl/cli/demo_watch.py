"""Watching the demo: informers of its own, upstream and on each cluster."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import yaml

from kcpctl.apis.naming import CLUSTER_LABEL
from kcpctl.apis.resource import DEPLOYMENTS, Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.demo import DemoTracker, Observation
from kcpctl.client import AsyncClient, Client, config_from_kubeconfig
from kcpctl.informers import CachedObject, HandlerFuncs, InformerFactory
from kcpctl.runtime import IOLoop

__all__ = ["DemoWatch"]


class DemoWatch:
    """Shows what becomes of the demo's objects, as (subject, text) lines.

    ``workspace`` is bound to the demo's logical cluster; ``kubeconfigs`` has each cluster's.
    The informers only put what they see into a queue; ``lines`` is for the main thread.
    """

    def __init__(self, workspace: Client, kubeconfigs: Mapping[str, Mapping[str, Any]]) -> None:
        self._seen: queue.SimpleQueue[Observation] = queue.SimpleQueue()
        self._stack = ExitStack()
        self.tracker = DemoTracker(list(kubeconfigs))
        self._watch("SyncTarget", workspace.aio, workspace.loop, SYNCTARGETS)
        self._watch("Deployment", workspace.aio, workspace.loop, DEPLOYMENTS)
        for name, kubeconfig in kubeconfigs.items():
            text = yaml.safe_dump(dict(kubeconfig)).encode()
            client = AsyncClient.plain(config_from_kubeconfig(text, source=f"cluster {name}"))
            self._stack.callback(workspace.loop.run, client.close())
            self._watch(name, client, workspace.loop, DEPLOYMENTS, label_selector=CLUSTER_LABEL)

    def _watch(
        self,
        kind: str,
        client: AsyncClient,
        loop: IOLoop,
        resource: Resource,
        *,
        label_selector: str = "",
    ) -> None:
        factory = InformerFactory(client, loop, name="demo")
        self._stack.callback(factory.close)

        def see(obj: CachedObject) -> None:
            self._seen.put((kind, obj.meta.name, obj.decode()))

        factory.informer(resource, label_selector=label_selector).add_handler(
            HandlerFuncs(
                on_add=see,
                on_update=lambda _, new: see(new),
            )
        )
        factory.start()

    def lines(self, wait_seconds: float) -> list[tuple[str, str]]:
        """Wait a little for something to be seen, and return the lines of all that was."""
        lines = []
        try:
            observation = self._seen.get(timeout=wait_seconds)
            while True:
                lines += self.tracker.observe(observation)
                observation = self._seen.get_nowait()
        except queue.Empty:
            return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
